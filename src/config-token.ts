// The token policy of a route: whose credential the upstream gets, and for which API.
import * as z from 'zod'
import { absoluteUri, text } from './config-values.ts'

/** The kinds that can be written as a word alone. */
const words = ['none', 'user', 'user-or-none', 'client', 'user-or-client'] as const

const api = {
  resource: absoluteUri.optional().describe('Resource indicator of the API (RFC 8707).'),
  audience: text
    .optional()
    .describe('`audience` of the API, for authorization servers that take that instead of a resource.'),
  scope: text.optional().describe('Scopes of the token, separated by spaces.'),
}

const providerId = text
  .optional()
  .describe('Which of `providers` issues the token of the application itself; the first by default.')

/** Header fields that are coatcheck's or the connection's own. */
const reservedHeaders =
  /^(host|content-(length|type|encoding)|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|cookie2?|via|date|forwarded|x-forwarded-.*|proxy-.*|sec-.*|traceparent|tracestate|dpop)$/

const credentialHeader = z
  .string('must be a string')
  .regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, 'must be the name of a header, such as "x-api-key"')
  .transform((name) => name.toLowerCase())
  .refine((name) => !reservedHeaders.test(name), 'must not be a header that coatcheck or the connection sets itself')

const objects = z.discriminatedUnion(
  'kind',
  [
    z.strictObject({ kind: z.literal('none') }),
    z.strictObject({ kind: z.enum(['user', 'user-or-none']), ...api }),
    z.strictObject({ kind: z.enum(['client', 'user-or-client']), ...api, provider: providerId }),
    z.strictObject({
      kind: z
        .literal('exchange')
        .describe("The user's token is exchanged for one of this API (RFC 8693), and that is kept until it expires."),
      ...api,
      requestedTokenType: z
        .enum(['urn:ietf:params:oauth:token-type:access_token', 'urn:ietf:params:oauth:token-type:jwt'])
        .default('urn:ietf:params:oauth:token-type:access_token')
        .describe('`requested_token_type`; the answer must be of this type.'),
    }),
    z.strictObject({
      kind: z.literal('static').describe('An API key, which only signed-in users may spend.'),
      value: z
        .string('must be a string')
        .regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, 'must be what a header can carry: printable ASCII')
        .describe('The key.'),
      header: credentialHeader.default('authorization').describe('Header that carries it.'),
      scheme: z
        .string('must be a string')
        .regex(/^[A-Za-z][A-Za-z0-9-]*$|^$/, 'must be an authentication scheme such as "Bearer", or empty')
        .optional()
        .describe('What stands before the key; `Bearer` in the header `authorization`, nothing in any other.'),
    }),
  ],
  {
    error:
      'must have a kind: none, user, user-or-none, client, user-or-client, exchange or static (a route without a token policy is refused)',
  },
)

/** What a token policy is once read: always the long form. */
export type TokenPolicy = z.output<typeof objects>

/** `token` of a route. */
export const tokenPolicy = z
  .union([z.enum(words), objects], {
    error: `must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}, or an object with a kind (a route without a token policy is refused)`,
  })
  .transform((policy): TokenPolicy => (typeof policy === 'string' ? { kind: policy } : policy))

/** The kind of a policy as it stands in the document or once read: rules see either. */
export function kindOf(token: unknown): string | undefined {
  if (typeof token === 'string') return token
  const kind = (token as { kind?: unknown } | null | undefined)?.kind
  return typeof kind === 'string' ? kind : undefined
}

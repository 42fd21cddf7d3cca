// The setting of a route that callers with an access token of their own may use: whose tokens, for whom, and how they are checked.
import * as z from 'zod'
import { kindOf } from './config-token.ts'
import { duration, flag, signatureAlgorithms, text } from './config-values.ts'

const introspection = z.strictObject({
  tokens: z
    .enum(['opaque', 'all'], 'must be opaque or all')
    .default('opaque')
    .describe(
      'Which tokens are introspected: those that are no JWTs, or all of them, so that a revoked JWT is noticed too.',
    ),
  cacheFor: duration
    .refine((ms) => ms >= 1_000 && ms <= 600_000, 'must be from 1s to 10m')
    .prefault('60s')
    .describe(
      'How long an answer is believed, and never beyond the `exp` of the token. So long does a revoked one work.',
    ),
  anyAudience: flag
    .default(false)
    .describe(
      'Accepts answers without `aud`, for servers that tell us only of tokens we may see. An `aud` that is there must fit all the same.',
    ),
})

/** Introspection as `true` has it. */
const usualIntrospection = introspection.parse({})

export const bearer = z.strictObject({
  provider: text.optional().describe('Which of `providers` issues the tokens; the first by default.'),
  audience: z
    .union([text, z.array(text, 'must be a list of strings').min(1, 'must name at least one audience')], {
      error: 'must be a string or a list of strings',
    })
    .transform((audience) => (typeof audience === 'string' ? [audience] : audience))
    .describe('`aud` that a token must have: the name of the API, never a `clientId`. Of a list any one will do.'),
  algs: z
    .array(z.enum(signatureAlgorithms, `must be one of ${signatureAlgorithms.join(', ')}`), 'must be a list')
    .min(1, 'must name at least one algorithm')
    .optional()
    .describe(
      'Algorithms that JWTs may be signed with; by default those of `id_token_signing_alg_values_supported` of the provider that are asymmetric and not broken.',
    ),
  anyType: flag
    .default(false)
    .describe(
      'Accepts JWTs with the header `typ: JWT`, or without one, from servers older than RFC 9068. ID tokens are then told by their claims.',
    ),
  introspection: z
    .union([z.literal(true), introspection], 'must be true or an object')
    .transform((setting) => (setting === true ? usualIntrospection : setting))
    .optional()
    .describe('Asks the provider about tokens that cannot be verified here (RFC 7662); without it those are refused.'),
})

/** How tokens that callers bring to a route are checked. */
export type BearerConfig = z.output<typeof bearer>

/** Kinds of token under which what a caller brings can go up as it is. */
const kinds = new Set(['user', 'user-or-none', 'user-or-client'])

/** What must hold between `bearer` and the other settings of a route. */
export const bearerRules = [
  {
    path: ['bearer'],
    error:
      'must be on a route whose token is user, user-or-none or user-or-client: the token that a caller brings goes up as it is, and buys nothing else',
    broken: ({ token, bearer }: { token: unknown; bearer?: unknown }) =>
      bearer !== undefined && !kinds.has(kindOf(token) ?? 'user'),
  },
]

/**
 * Mistakes of `routes[].bearer` that only show beside `providers`, from the document as it stands.
 * @returns pairs of path inside the route and what is wrong
 */
export function bearerContradictions(
  route: unknown,
  providers: readonly { id?: unknown; clientId?: unknown; profile?: unknown }[],
): [string, string][] {
  const { bearer } = (route ?? {}) as { bearer?: { provider?: unknown; audience?: unknown } | null }
  if (typeof bearer !== 'object' || bearer === null) return []
  const { provider: id, audience } = bearer
  if (typeof id === 'string' && !providers.some((one) => one?.id === id)) {
    return [['bearer.provider', 'must be the id of one of providers']]
  }
  const provider = id === undefined ? providers[0] : providers.find((one) => one?.id === id)
  if (provider?.profile === 'fapi2') {
    return [
      ['bearer', 'must not be there for a provider with profile fapi2: its tokens are bound to keys of their callers'],
    ]
  }
  const named = Array.isArray(audience) ? audience : [audience]
  if (typeof provider?.clientId !== 'string' || !named.includes(provider.clientId)) return []
  return [['bearer.audience', 'must not be the clientId: that is the audience of ID tokens, which open no API']]
}

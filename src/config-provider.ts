// The settings of one authorization server.
import * as z from 'zod'
import { flag, isHttp, issuer, notYet, rule, text } from './config-values.ts'

/** How a PKCS #8 key of the right kind says what it is (RFC 5208, section 5): object identifiers, in hexadecimal. */
const keyTypes = {
  PS256: '06092a864886f70d010101',
  RS256: '06092a864886f70d010101',
  ES256: '06082a8648ce3d030107',
  EdDSA: '06032b6570',
} as const

const privateKeyJwt = rule(
  z.strictObject({
    method: z.literal('private_key_jwt'),
    key: text.describe('Private key, PKCS #8 PEM.'),
    alg: z.enum(['PS256', 'ES256', 'EdDSA', 'RS256']).default('ES256'),
    kid: text.optional().describe('`kid` under which the authorization server knows the key.'),
  }),
  ['key'],
  'must be a private key of the kind that alg needs, as PKCS #8 PEM: -----BEGIN PRIVATE KEY-----',
  ({ key, alg = 'ES256' }) => typeof key === 'string' && !isKeyFor(key, keyTypes[alg]),
)

function isKeyFor(pem: string, type: string | undefined): boolean {
  const body = /^\s*-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*$/.exec(pem)?.[1]
  if (body === undefined || type === undefined) return false
  try {
    const hex = Array.from(atob(body.replace(/\s/g, '')), (char) => char.charCodeAt(0).toString(16).padStart(2, '0'))
    return hex.slice(0, 60).join('').includes(type)
  } catch {
    return false
  }
}

const clientAuth = z.discriminatedUnion(
  'method',
  [
    z.strictObject({ method: z.literal('client_secret_basic'), secret: text }),
    z.strictObject({ method: z.literal('client_secret_post'), secret: text }),
    privateKeyJwt,
  ],
  { error: 'must have a method: client_secret_basic, client_secret_post or private_key_jwt' },
)

/** One of `providers`. */
export const provider = rule(
  z.strictObject({
    id: z
      .string('must be a string')
      .regex(/^[A-Za-z0-9_-]{1,32}$/, 'must be letters, digits, "-" and "_", at most 32')
      .describe('Name of this provider in `/auth/login?provider=` and in logs.'),
    issuer: issuer.describe('Issuer identifier of the authorization server, exactly as its metadata says it.'),
    clientId: text.describe('`client_id` registered there.'),
    clientAuth: clientAuth.describe('How coatcheck authenticates at the token, revocation and PAR endpoints.'),
    scope: z
      .string('must be a string')
      .refine((scope) => scope.split(' ').includes('openid'), 'must contain openid')
      .default('openid profile email offline_access')
      .describe('Scopes asked for at sign-in.'),
    optionalScope: text
      .optional()
      .describe(
        'Further scopes, separated by spaces, that `/auth/login?scope=` may ask for when a call needs them. Those in `require.scope` of a route may be asked for anyway.',
      ),
    par: z
      .union([z.literal('auto'), flag], 'must be "auto", true or false')
      .default('auto')
      .describe('Pushed authorization requests (RFC 9126): `auto` uses them where the server offers them.'),
    jar: notYet(false, 'jar').default(false).describe('Signed request objects (RFC 9101).'),
    dpop: flag
      .default(false)
      .describe('Binds tokens to a key of each session (RFC 9449): who steals one cannot use it.'),
    profile: notYet('default', 'profile "fapi2"').default('default').describe('Security profile to enforce.'),
    authorizationParams: z
      .record(z.string(), z.string('must be a string'), 'must be an object of strings')
      .refine((params) => !Object.keys(params).some((name) => reservedParams.has(name)), {
        error: `must not set ${[...['response_type', 'state', 'nonce', 'redirect_uri']].join(', ')} or any other parameter that coatcheck sets itself`,
      })
      .refine(({ max_age = '0' }) => /^\d{1,9}$/.test(max_age), 'must have max_age in whole seconds')
      .default({})
      .describe(
        'Further parameters for every authorization request, such as `{"audience":"..."}`. They win over those of `/auth/login`.',
      ),
    userinfo: z
      .union([z.literal('auto'), flag], 'must be "auto", true or false')
      .default('auto')
      .describe(
        'Whether userinfo is asked for claims: `auto` when a claim of `session.claims` is not in the ID token.',
      ),
    idTokenHint: flag
      .default(false)
      .describe(
        'Sends the ID token as `id_token_hint` at sign-out, so that the server need not ask. It then passes through the browser, and takes room in the cookie; without it `client_id` is sent.',
      ),
    backchannelLogout: z
      .strictObject({
        anyType: flag
          .default(false)
          .describe('Accepts logout tokens without the header `typ: logout+jwt`, as older servers send them.'),
      })
      .prefault({})
      .describe('How this server may say that a session is over, at `/auth/backchannel-logout`.'),
    allowInsecureRequests: flag.default(false).describe('Accepts an http issuer; on loopback only.'),
  }),
  ['issuer'],
  'must be https (for an http issuer on loopback set allowInsecureRequests)',
  ({ issuer, allowInsecureRequests }) => isHttp(issuer) && !allowInsecureRequests,
)

const reservedParams = new Set(
  'response_type client_id redirect_uri scope state nonce code_challenge code_challenge_method response_mode request request_uri'.split(
    ' ',
  ),
)

// The settings of one authorization server.
import * as z from 'zod'
import { clientAuth, clientKey } from './config-client.ts'
import { flag, isHttp, issuer, origin, rule, text } from './config-values.ts'

/** One of `providers`. */
export const provider = rule(
  z.strictObject({
    id: z
      .string('must be a string')
      .regex(/^[A-Za-z0-9_-]{1,32}$/, 'must be letters, digits, "-" and "_", at most 32')
      .describe('Name of this provider in `/auth/login?provider=` and in logs.'),
    name: text.optional().describe('What users know it by, where they choose; `id` by default.'),
    publicUrls: z
      .array(origin, 'must be a list')
      .min(1, 'must have at least one address')
      .optional()
      .describe(
        'Public addresses where users may sign in with this provider; `publicUrl` alone by default. Each has sessions of its own, and the same APIs. All are https, or all http on loopback.',
      ),
    issuer: issuer.describe('Issuer identifier of the authorization server, exactly as its metadata says it.'),
    clientId: text.describe('`client_id` registered there.'),
    clientAuth: clientAuth.describe('How coatcheck authenticates at the token, revocation and PAR endpoints.'),
    keys: z
      .array(clientKey, 'must be a list of keys')
      .refine((keys) => areDifferent(keys.map(({ kid }) => kid)), 'must not use one kid twice')
      .default([])
      .describe(
        'Private keys of this client. The first signs (that of `clientAuth`, if there is one there), the public halves of all are at `/auth/jwks.json`: put a new key second, wait until the server has seen it, then put it first.',
      ),
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
    jar: flag
      .default(false)
      .describe(
        'Signs the authorization request with the first of the keys (RFC 9101), pushed or not. Servers that require it get it anyway.',
      ),
    responseMode: z
      .enum(['query', 'jwt', 'query.jwt'], 'must be query, jwt or query.jwt')
      .default('query')
      .describe(
        'How the answer to a sign-in comes: `jwt` and `query.jwt` (the same, by its long name) ask for a signed one (JARM), and any other is refused.',
      ),
    authorizationDetails: z
      .array(
        z.looseObject({ type: text.describe('Kind of right, as the authorization server calls it.') }),
        'must be a list of objects with a type',
      )
      .min(1, 'must have at least one entry')
      .optional()
      .describe('Rights asked for at every sign-in besides scopes (`authorization_details`, RFC 9396).'),
    dpop: flag
      .optional()
      .describe(
        'Binds tokens to a key of each session (RFC 9449): who steals one cannot use it. Off unless set, but with `profile` `fapi2`.',
      ),
    profile: z
      .enum(['default', 'fapi2'], 'must be default or fapi2')
      .default('default')
      .describe(
        'Security profile to enforce. `fapi2`, the FAPI 2.0 Security Profile: pushed requests, a client that proves itself by key or certificate, tokens bound to it, `iss` in every answer, signatures with PS256, ES256 or EdDSA only, https only. A setting that contradicts it is a mistake.',
      ),
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
    frontchannelLogout: flag
      .default(false)
      .describe(
        'Serves `/auth/frontchannel-logout` for this server, which ends the session with the `sid` it names. Whoever knows a `sid` can end that session; the back channel is better in every way.',
      ),
    allowInsecureRequests: flag.default(false).describe('Accepts an http issuer; on loopback only.'),
  }),
  ['issuer'],
  'must be https (for an http issuer on loopback set allowInsecureRequests)',
  ({ issuer, allowInsecureRequests }) => isHttp(issuer) && !allowInsecureRequests,
)

/** What coatcheck sets itself, and what would become a claim of a request object. */
const reservedParams = new Set(
  `response_type client_id redirect_uri scope state nonce code_challenge code_challenge_method response_mode request
   request_uri response authorization_details dpop_jkt client_secret client_assertion client_assertion_type
   iss sub aud exp nbf iat jti`.split(/\s+/),
)

function areDifferent(names: readonly (string | undefined)[]): boolean {
  const given = names.filter((name) => name !== undefined)
  return new Set(given).size === given.length
}

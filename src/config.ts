// Every setting once: name, type, default, unit, meaning. The JSON Schema and docs/configuration.md are made from this.
import * as z from 'zod'
import {
  duration,
  isLoopback,
  issuer,
  localPath,
  network,
  origin,
  positiveDuration,
  routePath,
  sessionKey,
  size,
  upstreamUrl,
} from './config-values.ts'

const text = z.string('must be a string').min(1, 'must not be empty')
const texts = z.array(text, 'must be a list of strings')
const flag = z.boolean('must be true or false')

/** A setting that exists in the contract and that this version does not do yet: only its neutral value passes. */
function notYet<const T>(value: T, what: string) {
  return z.literal(value as never, { error: `${what} is not available in this version` }) as unknown as z.ZodType<T, T>
}

/**
 * A rule between settings of one object, checked even when other settings of it are wrong, so that every mistake is
 * told at once. `broken` sees the values as read where they could be read, else as they stand in the document.
 */
function rule<T extends z.ZodType>(
  schema: T,
  path: PropertyKey[],
  error: string,
  broken: (value: z.output<T>) => boolean,
): T {
  const isObject = (value: unknown) => typeof value === 'object' && value !== null
  return schema.refine((value) => !broken(value as z.output<T>), { when: ({ value }) => isObject(value), path, error })
}

const listen = z.strictObject({
  host: text.default('127.0.0.1').describe('Address to listen on.'),
  port: z.int('must be a whole number').min(0).max(65_535).default(3000).describe('TCP port; 0 takes a free one.'),
})

const session = rule(
  z.strictObject({
    keys: z
      .array(sessionKey, 'must be a list of keys')
      .min(1, 'must have at least one key; make one with `coatcheck keys`')
      .refine((keys) => new Set(keys.map((key) => key.id)).size === keys.length, 'must not use one number twice')
      .describe(
        'Keys that seal cookies, newest first: `number:base64url of 32 random bytes`. The first seals, all open.',
      ),
    storage: z
      .enum(['cookie'], 'must be cookie; "store" is not available in this version')
      .default('cookie')
      .describe('Where tokens are kept: sealed in the cookie, or in the store with a handle in the cookie.'),
    idleTimeout: positiveDuration.prefault('30m').describe('A session without API calls for this long is over.'),
    absoluteTimeout: positiveDuration.prefault('12h').describe('A session this old is over, however busy.'),
    cookieName: z
      .string('must be a string')
      .regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/, 'must be letters, digits and hyphens, at most 32')
      .default('coatcheck')
      .describe('Name of the session cookie, before the prefix `__Host-Http-` that https adds.'),
    sameSite: z
      .enum(['Strict', 'Lax', 'None'])
      .default('Strict')
      .describe('`SameSite` of the session cookie. `None` needs `embedding`.'),
    embedding: flag.default(false).describe('Says that the application is meant to run inside frames of other sites.'),
    claims: texts
      .default(['sub', 'name', 'email', 'picture'])
      .describe('Claims of the ID token or userinfo that `/auth/session` shows to the page.'),
  }),
  ['sameSite'],
  'must not be None unless session.embedding is true',
  ({ sameSite, embedding }) => sameSite === 'None' && !embedding,
)

const store = z
  .discriminatedUnion('type', [z.strictObject({ type: z.literal('memory') })], {
    error: 'must be {"type":"memory"}; other stores are not available in this version',
  })
  .prefault({ type: 'memory' })

const refresh = z.strictObject({
  lead: duration
    .prefault('60s')
    .describe('How long before an access token expires it is renewed; at most a quarter of its lifetime.'),
  replayWindow: duration
    .prefault('120s')
    .describe('How long a browser that still holds the old cookie after a refresh is handed the new one.'),
  timeout: positiveDuration
    .refine((ms) => ms <= 60_000, 'must be at most 60s')
    .prefault('10s')
    .describe('Longest wait for one answer of the authorization server.'),
})

const clientAuth = z.discriminatedUnion(
  'method',
  [
    z.strictObject({ method: z.literal('client_secret_basic'), secret: text }),
    z.strictObject({ method: z.literal('client_secret_post'), secret: text }),
    z.strictObject({
      method: z.literal('private_key_jwt'),
      key: text.describe('Private key, PKCS #8 PEM.'),
      alg: z.enum(['PS256', 'ES256', 'EdDSA', 'RS256']).default('ES256'),
      kid: text.optional(),
    }),
  ],
  { error: 'must have a method: client_secret_basic, client_secret_post or private_key_jwt' },
)

const provider = rule(
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
    par: z
      .union([z.literal('auto'), flag], 'must be "auto", true or false')
      .default('auto')
      .describe('Pushed authorization requests (RFC 9126): `auto` uses them where the server offers them.'),
    jar: notYet(false, 'jar').default(false).describe('Signed request objects (RFC 9101).'),
    dpop: notYet(false, 'dpop').default(false).describe('Sender-constrained tokens (RFC 9449).'),
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
    allowInsecureRequests: flag.default(false).describe('Accepts an http issuer; on loopback only.'),
  }),
  ['issuer'],
  'must be https (for an http issuer on loopback set allowInsecureRequests)',
  ({ issuer, allowInsecureRequests }) => isHttp(issuer) && !allowInsecureRequests,
)

const reservedParams = new Set(
  'response_type client_id redirect_uri state nonce code_challenge code_challenge_method response_mode request request_uri'.split(
    ' ',
  ),
)

/** A URL as it stands in the document or once read: refinements see either. */
function isHttp(url: unknown): boolean {
  const value = url instanceof URL ? url.href : url
  return typeof value === 'string' && value.startsWith('http:')
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

const plainRoute = z.strictObject({
  path: routePath.describe('Prefix of the paths this route serves, on a segment boundary; the longest prefix wins.'),
  upstream: upstreamUrl.describe('What replaces the prefix: `/api/orders/7?x=1` becomes `<upstream>/7?x=1`.'),
  allowInsecureUpstream: flag
    .default(false)
    .describe('Accepts an http upstream beyond loopback. Access tokens then cross that network in the clear.'),
  methods: z
    .array(z.enum(methods, `must be one of ${methods.join(', ')}`), 'must be a list of methods')
    .min(1, 'must name at least one method')
    .default([...methods])
    .describe('Methods that are forwarded.'),
  token: z
    .enum(['none', 'user', 'user-or-none'], {
      error: 'must be none, user or user-or-none (a route without a token policy is refused)',
    })
    .describe('Whose access token the upstream gets.'),
  require: z
    .strictObject({
      scope: texts.default([]).describe('Scopes the session must have been granted.'),
      claims: z
        .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]), 'must be an object')
        .default({})
        .describe('Claims the user must have. A list means any one of them.'),
      acr: texts.default([]).describe('Authentication context classes, any one of which will do.'),
    })
    .prefault({})
    .describe('What the session must have, besides being alive.'),
  csrf: z
    .enum(['fetch-metadata', 'header'])
    .default('fetch-metadata')
    .describe('How a request proves that a page of the application sent it; `header` asks for `X-CSRF: 1` always.'),
  timeout: positiveDuration.prefault('30s').describe("Longest wait for the head of the upstream's answer."),
  bodyLimit: size.prefault('10MB').describe('Largest request body.'),
  websocket: notYet(false, 'websocket').default(false).describe('Whether WebSocket upgrades are forwarded.'),
  rateLimit: z
    .strictObject({
      per: z.enum(['session', 'user', 'address']),
      requests: z.int('must be a whole number').min(1, 'must be at least 1'),
      window: positiveDuration,
    })
    .optional()
    .describe('At most `requests` in each `window`, counted per session, user or client address.'),
  allowIps: z.array(network, 'must be a list').default([]).describe('Only these networks may call; empty allows all.'),
  denyIps: z.array(network, 'must be a list').default([]).describe('These networks may not call.'),
})

const route = [
  {
    path: ['upstream'],
    error: 'must be https (http on loopback, or with allowInsecureUpstream)',
    broken: ({ upstream, allowInsecureUpstream }: z.output<typeof plainRoute>) =>
      upstream instanceof URL && isHttp(upstream) && !isLoopback(upstream.hostname) && !allowInsecureUpstream,
  },
  {
    path: ['path'],
    error: "must not be under /auth, /healthz or /readyz: those are coatcheck's own",
    broken: ({ path }: z.output<typeof plainRoute>) => /^\/(auth|healthz|readyz)(\/|$)/.test(path),
  },
  {
    path: ['rateLimit', 'per'],
    error: 'must be address on a route without sessions',
    broken: ({ token, rateLimit }: z.output<typeof plainRoute>) =>
      token === 'none' && rateLimit !== undefined && rateLimit.per !== 'address',
  },
].reduce((schema, { path, error, broken }) => rule(schema, path, error, broken), plainRoute)

const spa = z.strictObject({
  dir: text.describe('Folder with the built application, relative to the configuration file.'),
  fallback: text.default('index.html').describe('File that answers navigations to paths without a file.'),
  immutable: z
    .array(localPath, 'must be a list of paths')
    .default([])
    .describe('Path prefixes of files whose name changes with their content; browsers may keep these for good.'),
  csp: text.default("default-src 'self'").describe("Content-Security-Policy of the application's documents."),
})

const admin = z.strictObject({
  listen: listen.prefault({ port: 3001 }),
  token: text.min(16, 'must have at least 16 characters').describe('Bearer token that every admin request must bring.'),
})

export const configSchema = z.strictObject({
  $schema: z.string().optional().describe('Where an editor finds the JSON Schema of this document.'),
  publicUrl: origin.describe(
    'Origin the browser sees. Redirect URIs, origin checks and cookie prefixes come from here.',
  ),
  listen: listen.prefault({}).describe('Where `coatcheck serve` listens (Node only).'),
  trustedProxies: z
    .array(network, 'must be a list')
    .default([])
    .describe('Networks whose `X-Forwarded-For` and `-Proto` are believed.'),
  session: session.describe('The browser session.'),
  store: store.describe('Shared state: refresh coordination, ended sessions, used logins.'),
  refresh: refresh.prefault({}).describe('How access tokens are renewed.'),
  providers: z
    .array(provider, 'must be a list of providers')
    .min(1, 'must name at least one provider')
    .describe('Authorization servers.'),
  routes: z.array(route, 'must be a list of routes').default([]).describe('APIs to forward to.'),
  spa: spa.optional().describe('The single-page application, if coatcheck serves it.'),
  logout: z
    .strictObject({ returnTo: localPath.default('/').describe('Page that follows a sign-out.') })
    .prefault({})
    .describe('What happens after a sign-out.'),
  log: z
    .strictObject({
      level: z
        .enum(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .describe('Least severe event that is written.'),
    })
    .prefault({})
    .describe('Logging.'),
  admin: admin.optional().describe('Listener for metrics (Node only).'),
})

/** The configuration document as it is written. */
export type ConfigInput = z.input<typeof configSchema>
/** The configuration once read: defaults filled in, durations in milliseconds, sizes in bytes. */
export type Config = z.output<typeof configSchema>
export type ProviderConfig = Config['providers'][number]
export type RouteConfig = Config['routes'][number]

/** Gives editors the type of a configuration written in TypeScript or JavaScript; returns it unchanged. */
export function defineConfig(config: ConfigInput): ConfigInput {
  return config
}

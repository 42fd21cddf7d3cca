// The settings of one route: an upstream, whose token it gets, and who may call.
import * as z from 'zod'
import { bearer, bearerRules } from './config-bearer.ts'
import { kindOf, tokenPolicy } from './config-token.ts'
import {
  certificates,
  flag,
  hostName,
  isHttp,
  isLoopback,
  isOwnPath,
  network,
  notYet,
  privateKey,
  routePath,
  rule,
  size,
  text,
  texts,
  timerDuration,
  upstreamUrl,
} from './config-values.ts'

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** Kinds of token that nobody gets who is not signed in. */
const servesOnlyUsers = new Set(['user', 'exchange', 'static'])
/** Kinds of token for which nobody looks for a session. */
const sessionless = new Set(['none', 'client'])
const upstreamTls = z.strictObject({
  ca: certificates
    .optional()
    .describe('Certificate authorities to trust instead of those of the machine: PEM text, any number (Node only).'),
  cert: certificates
    .optional()
    .describe('Client certificate, followed by its chain: PEM text. Nobody but this upstream sees it (Node only).'),
  key: privateKey.optional().describe('Private key of `cert`: PEM text without a passphrase (Node only).'),
  serverName: hostName
    .optional()
    .describe("Name that the upstream's certificate must have, if it is not the host of `upstream` (Node only)."),
  binding: text
    .optional()
    .describe('Binding of an mTLS certificate, or of a service, through which calls go (Workers only).'),
})

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
  token: tokenPolicy.describe(
    'Whose credential the upstream gets: none, user, user-or-none, client, user-or-client, or an object with a `kind`.',
  ),
  bearer: bearer
    .optional()
    .describe(
      'Lets callers without cookies, such as mobile apps and services, in with an access token of their own, which then goes up as it is.',
    ),
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
  timeout: timerDuration
    .prefault('30s')
    .describe("Longest wait for the head of the upstream's answer, waiting for a free connection included."),
  stallTimeout: timerDuration
    .prefault('60s')
    .describe(
      'Longest time in which nothing of a body moves: a browser that stops sending or reading, an upstream that stops inside an answer of announced length. Streams without a length may be silent for ever. On Workers it counts for request bodies only.',
    ),
  http2: flag
    .default(true)
    .describe('Whether HTTP/2 is offered to an https upstream, which then chooses (ALPN; Node only).'),
  tls: upstreamTls.optional().describe('TLS to this upstream: a private authority, a client certificate, a name.'),
  bodyLimit: size.prefault('10MB').describe('Largest request body.'),
  websocket: notYet(false, 'websocket').default(false).describe('Whether WebSocket upgrades are forwarded.'),
  rateLimit: z
    .strictObject({
      per: z
        .enum(['session', 'user', 'address'])
        .describe(
          'Whose calls are counted together. An IPv6 address is its /64; whoever has no session is counted by address.',
        ),
      requests: z
        .int('must be a whole number')
        .min(1, 'must be at least 1')
        .describe('Calls that are forwarded; further ones are answered 429.'),
      window: timerDuration.describe('Begins with the first call, and then all begins anew.'),
    })
    .optional()
    .describe(
      'At most `requests` in each `window`, for this route alone. Instances count together in their `store`, with `memory` each for itself.',
    ),
  allowIps: z.array(network, 'must be a list').default([]).describe('Only these networks may call; empty allows all.'),
  denyIps: z.array(network, 'must be a list').default([]).describe('These networks may not call.'),
})

/** One of `routes`. */
export const route = [
  {
    path: ['upstream'],
    error: 'must be https (http on loopback, or with allowInsecureUpstream)',
    broken: ({ upstream, allowInsecureUpstream }: z.output<typeof plainRoute>) =>
      upstream instanceof URL && isHttp(upstream) && !isLoopback(upstream.hostname) && !allowInsecureUpstream,
  },
  {
    path: ['upstream'],
    error: 'must not have ";" or an empty segment in its path: upstreams disagree about what that means',
    broken: ({ upstream }: z.output<typeof plainRoute>) =>
      upstream instanceof URL && /\/\/|;|%3b/i.test(upstream.pathname),
  },
  {
    path: ['tls'],
    error: 'must not be there for an http upstream',
    broken: ({ upstream, tls }: z.output<typeof plainRoute>) => tls !== undefined && isHttp(upstream),
  },
  {
    path: ['tls', 'key'],
    error: 'must be there: cert is of no use without its key',
    broken: ({ tls }: z.output<typeof plainRoute>) => tls?.cert !== undefined && tls.key === undefined,
  },
  {
    path: ['tls', 'cert'],
    error: 'must be there: key is of no use without its certificate',
    broken: ({ tls }: z.output<typeof plainRoute>) => tls?.key !== undefined && tls.cert === undefined,
  },
  {
    path: ['require'],
    error: 'must not be there on a route that serves whoever is not signed in',
    broken: ({ token, require: { scope = [], claims = {}, acr = [] } = {} as never }: z.output<typeof plainRoute>) =>
      !servesOnlyUsers.has(kindOf(token) ?? 'user') && scope.length + Object.keys(claims).length + acr.length > 0,
  },
  {
    path: ['path'],
    error: "must not be under /auth, /healthz or /readyz: those are coatcheck's own",
    broken: ({ path }: z.output<typeof plainRoute>) => isOwnPath(path),
  },
  {
    path: ['rateLimit', 'per'],
    error: 'must be address on a route without sessions',
    broken: ({ token, rateLimit }: z.output<typeof plainRoute>) =>
      sessionless.has(kindOf(token) ?? 'user') && rateLimit !== undefined && rateLimit.per !== 'address',
  },
  ...bearerRules,
].reduce((schema, { path, error, broken }) => rule(schema, path, error, broken), plainRoute)

// Every setting once: name, type, default, unit, meaning. The JSON Schema and docs/configuration.md are made from this.
import * as z from 'zod'
import { provider } from './config-provider.ts'
import { route } from './config-route.ts'
import {
  duration,
  flag,
  localPath,
  network,
  origin,
  portNumber,
  positiveDuration,
  redisUrl,
  rule,
  sessionKey,
  text,
  texts,
} from './config-values.ts'

const listenOn = (port: number) =>
  z.strictObject({
    host: text.default('127.0.0.1').describe('Address to listen on.'),
    port: portNumber.default(port).describe('TCP port; 0 takes a free one. A string of digits will do: `"${PORT}"`.'),
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
      .enum(['cookie', 'store'], 'must be cookie or store')
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
  .discriminatedUnion(
    'type',
    [
      z.strictObject({ type: z.literal('memory').describe('In one process or Workers isolate; gone with a restart.') }),
      z.strictObject({
        type: z.literal('sqlite').describe('In a file: for all processes of one machine, over restarts (Node only).'),
        path: text.describe(
          'The file, relative to the configuration file. It is made when it is missing, its folder is not. On a disk of this machine, not on a network.',
        ),
      }),
      z.strictObject({
        type: z
          .literal('redis')
          .describe('In Redis 6.2 or Valkey: for many machines (Node only; `npm install redis`).'),
        url: redisUrl.describe(
          'Where it is, with credentials and database if need be; `rediss:` for TLS. It should not evict: `maxmemory-policy noeviction`.',
        ),
        prefix: z
          .string('must be a string')
          .regex(/^[\w.:-]{1,64}$/, 'must be letters, digits, ".", ":", "_" and "-", at most 64')
          .default('coatcheck')
          .describe('What all names in Redis begin with. Applications that share a Redis need one each.'),
      }),
      z.strictObject({
        type: z.literal('durable-object').describe('In Durable Objects: for all Workers isolates (Workers only).'),
        binding: text.describe('Binding of the class `SessionObject`, which must be among `new_sqlite_classes`.'),
      }),
    ],
    { error: 'must be memory, sqlite, redis or durable-object' },
  )
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

const spa = z.strictObject({
  dir: text.describe('Folder with the built application, relative to the configuration file.'),
  fallback: text.default('index.html').describe('File that answers navigations to paths without a file.'),
  immutable: z
    .array(localPath, 'must be a list of paths')
    .default([])
    .describe('Path prefixes of files whose name changes with their content; browsers may keep these for good.'),
  csp: text
    .regex(/^[\x20-\x7e]*$/, 'must be one line of ASCII: a header cannot carry anything else')
    .default("default-src 'self'")
    .describe("Content-Security-Policy of the application's documents."),
})

const admin = z.strictObject({
  listen: listenOn(3001).prefault({}),
  token: text.min(16, 'must have at least 16 characters').describe('Bearer token that every admin request must bring.'),
})

export const configSchema = z.strictObject({
  $schema: z.string().optional().describe('Where an editor finds the JSON Schema of this document.'),
  publicUrl: origin.describe(
    'Origin the browser sees. Redirect URIs, origin checks and cookie prefixes come from here. With further addresses (`providers[].publicUrls`) it is the main one.',
  ),
  listen: listenOn(3000).prefault({}).describe('Where `coatcheck serve` listens (Node only).'),
  trustedProxies: z
    .array(network, 'must be a list')
    .default([])
    .describe(
      'Networks whose `X-Forwarded-For` and `-Proto` are believed. Ports in it are left out; what is no address is on no list of addresses, and `allowIps` and `denyIps` refuse it.',
    ),
  session: session.describe('The browser session.'),
  store: store.describe('Shared state: refresh coordination, ended sessions, used logins.'),
  refresh: refresh.prefault({}).describe('How access tokens are renewed.'),
  providers: z
    .array(provider, 'must be a list of providers')
    .min(1, 'must name at least one provider')
    .describe('Authorization servers.'),
  routes: z.array(route, 'must be a list of routes').default([]).describe('APIs to forward to.'),
  spa: spa.optional().describe('The single-page application, if coatcheck serves it.'),
  login: z
    .strictObject({
      chooser: flag
        .default(false)
        .describe(
          'With several providers at an address, asks the user which; else `/auth/login` without `provider` means the first there.',
        ),
      thirdPartyInitiated: flag
        .default(false)
        .describe(
          'Serves `/auth/initiate-login`, where another site may ask for a sign-in (OpenID Connect Core, section 4). The user is asked first.',
        ),
    })
    .prefault({})
    .describe('How a sign-in begins.'),
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

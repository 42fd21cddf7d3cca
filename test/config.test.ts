import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createCoatcheck } from '../src/app.ts'
import type { ConfigInput } from '../src/config.ts'
import { ConfigError, readConfig } from '../src/config-reader.ts'
import { selfSigned } from './support/certificate.ts'
import { sessionKey } from './support/coatcheck.ts'

const good = (): ConfigInput => ({
  publicUrl: 'https://app.example.com',
  session: { keys: [sessionKey()] },
  providers: [
    {
      id: 'main',
      issuer: 'https://as.example.com',
      clientId: 'app',
      clientAuth: { method: 'client_secret_basic', secret: 'secret' },
    },
  ],
  routes: [{ path: '/api/orders', upstream: 'https://orders.internal/v1', token: 'user' }],
})

/** The mistakes in a configuration that is good but for what `change` does to it. */
function mistakes(change: (config: any) => void, env: Record<string, unknown> = {}): readonly string[] {
  const config = good()
  change(config)
  try {
    readConfig(config, env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes
    throw error
  }
}

describe('readConfig()', () => {
  test('fills in the defaults of the contract', () => {
    const config = readConfig(good())
    expect(config).toMatchObject({
      publicUrl: 'https://app.example.com',
      listen: { host: '127.0.0.1', port: 3000 },
      trustedProxies: [],
      session: {
        storage: 'cookie',
        idleTimeout: 1_800_000,
        absoluteTimeout: 43_200_000,
        cookieName: 'coatcheck',
        sameSite: 'Strict',
      },
      store: { type: 'memory' },
      refresh: { lead: 60_000, replayWindow: 120_000, timeout: 10_000 },
    })
    expect(config.session.claims).toEqual(['sub', 'name', 'email', 'picture'])
    expect(config.providers[0]).toMatchObject({
      scope: 'openid profile email offline_access',
      par: 'auto',
      jar: false,
    })
    expect(config.routes[0]).toMatchObject({
      methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
      csrf: 'fetch-metadata',
      timeout: 30_000,
      bodyLimit: 10_485_760,
    })
  })

  test.each<[ConfigInput['store'], object]>([
    [
      { type: 'sqlite', path: 'store.db' },
      { type: 'sqlite', path: 'store.db' },
    ],
    [
      { type: 'redis', url: 'rediss://user:p%40ss@redis.internal:6380/2' },
      { type: 'redis', url: 'rediss://user:p%40ss@redis.internal:6380/2', prefix: 'coatcheck' },
    ],
    [
      { type: 'redis', url: 'redis://[::1]:6379', prefix: 'team:app' },
      { type: 'redis', url: 'redis://[::1]:6379', prefix: 'team:app' },
    ],
    [
      { type: 'durable-object', binding: 'SESSIONS' },
      { type: 'durable-object', binding: 'SESSIONS' },
    ],
  ])('reads the store %j', (store, expected) => {
    expect(readConfig({ ...good(), store }).store).toEqual(expected)
  })

  test('reads TLS to an upstream, with its secrets from the environment', () => {
    const { cert, key } = selfSigned('localhost')
    const config = good()
    const tls = { ca: cert + cert, cert: '${CERT}', key: '${KEY}', serverName: 'orders.internal' }
    config.routes?.push({
      path: '/tls',
      upstream: 'https://10.0.0.1',
      token: 'none',
      tls,
      stallTimeout: '5s',
      http2: false,
    })
    expect(readConfig(config, { CERT: cert, KEY: key }).routes[1]).toMatchObject({
      tls: { ca: cert + cert, cert, key, serverName: 'orders.internal' },
      stallTimeout: 5_000,
      http2: false,
    })
    expect(readConfig(good()).routes[0]).toMatchObject({ stallTimeout: 60_000, http2: true })
  })

  describe('refuses TLS to an upstream that cannot work:', () => {
    const { cert, key } = selfSigned('localhost')
    const body = cert.split('\n').slice(1, -2).join('\n')
    test.each<[string, object, string]>([
      [
        'garbage for an authority',
        { ca: 'garbage' },
        'ca: must be certificates as PEM text: -----BEGIN CERTIFICATE-----',
      ],
      [
        'the name of a file',
        { ca: '/etc/ca.pem' },
        'ca: must be certificates as PEM text: -----BEGIN CERTIFICATE-----',
      ],
      ['a key for an authority', { ca: key }, 'ca: must be certificates as PEM text: -----BEGIN CERTIFICATE-----'],
      [
        'a certificate that is cut off',
        { ca: `-----BEGIN CERTIFICATE-----\n${body.slice(0, 100)}\n-----END CERTIFICATE-----` },
        'ca: must be certificates as PEM text: -----BEGIN CERTIFICATE-----',
      ],
      ['a certificate without its key', { cert }, 'key: must be there: cert is of no use without its key'],
      ['a key without its certificate', { key }, 'cert: must be there: key is of no use without its certificate'],
      [
        'a certificate for a key',
        { cert, key: cert },
        'key: must be a private key as PEM text: -----BEGIN PRIVATE KEY-----',
      ],
      [
        'a key with a passphrase',
        { cert, key: key.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE') },
        'key: must be a private key without a passphrase',
      ],
      ['a URL for a name', { serverName: 'https://orders' }, 'serverName: must be a host name'],
      ['an address for a name', { serverName: '10.0.0.1' }, 'serverName: must be a host name'],
      ['a way around verification', { rejectUnauthorized: false }, 'rejectUnauthorized: is not a setting'],
    ])('%s', (_, tls, mistake) => {
      expect(mistakes((config) => (config.routes[0].tls = tls))).toEqual([`routes[0].tls.${mistake}`])
    })

    test('on an http upstream', () => {
      expect(
        mistakes((config) => Object.assign(config.routes[0], { upstream: 'http://127.0.0.1:1', tls: { ca: cert } })),
      ).toEqual(['routes[0].tls: must not be there for an http upstream'])
    })
  })

  test('names every mistake at once, each with its path', () => {
    const found = mistakes((config) => {
      config.publicUrl = 'http://app.example.com'
      config.session.keys = ['1:short']
      config.providers[0].clientId = undefined
      config.routes[0].upstream = 'orders'
      config.routes.push(
        { path: '/api/2', upstream: 'https://x.example' },
        { path: '/api/3', token: 'user', upstream: 'https://x', nope: 1 },
      )
    })
    expect(found).toEqual([
      'publicUrl: must be https (http only on loopback)',
      'session.keys[0]: must be 32 random bytes in base64url; make a key with `coatcheck keys`',
      'providers[0].clientId: is required',
      'routes[0].upstream: must be an absolute https URL',
      'routes[1].token: must be none, user, user-or-none, client or user-or-client, or an object with a kind (a route without a token policy is refused)',
      'routes[2].nope: is not a setting',
    ])
  })

  test.each<[string, (config: any) => void, string]>([
    ['an unknown setting', (c) => (c.colour = 'red'), 'colour: is not a setting'],
    [
      'a duration without a unit',
      (c) => (c.session.idleTimeout = '30'),
      'session.idleTimeout: must be a duration with a unit, such as "30s" or "15m"',
    ],
    ['a duration that is a number', (c) => (c.session.idleTimeout = 30), 'session.idleTimeout: must be a string'],
    [
      'a duration of nothing',
      (c) => (c.session.idleTimeout = '0s'),
      'session.idleTimeout: must be longer than nothing',
    ],
    [
      'a size with an unknown unit',
      (c) => (c.routes[0].bodyLimit = '10TB'),
      'routes[0].bodyLimit: must be a size with a unit, such as "64KB" or "10MB"',
    ],
    [
      'a token policy of an unknown kind',
      (c) => (c.routes[0].token = { kind: 'admin' }),
      'routes[0].token.kind: must have a kind: none, user, user-or-none, client, user-or-client, exchange or static (a route without a token policy is refused)',
    ],
    [
      'a token policy with a setting of another kind',
      (c) => (c.routes[0].token = { kind: 'user', value: 'x' }),
      'routes[0].token.value: is not a setting',
    ],
    [
      'a resource with a fragment',
      (c) => (c.routes[0].token = { kind: 'user', resource: 'https://api.example/#x' }),
      'routes[0].token.resource: must be an absolute URI without a fragment',
    ],
    [
      'an API key that no header can carry',
      (c) => (c.routes[0].token = { kind: 'static', value: 'line\nbreak' }),
      'routes[0].token.value: must be what a header can carry: printable ASCII',
    ],
    [
      'an API key in a header of the connection',
      (c) => (c.routes[0].token = { kind: 'static', value: 'x', header: 'Transfer-Encoding' }),
      'routes[0].token.header: must not be a header that coatcheck or the connection sets itself',
    ],
    [
      'a token of a provider that is not configured',
      (c) => (c.routes[0].token = { kind: 'client', provider: 'other' }),
      'routes[0].token.provider: must be the id of one of providers',
    ],
    [
      'requirements of a user where the application calls',
      (c) => Object.assign(c.routes[0], { token: 'client', require: { scope: ['x'] } }),
      'routes[0].require: must not be there on a route that serves whoever is not signed in',
    ],
    [
      'a public URL with a path',
      (c) => (c.publicUrl = 'https://app.example.com/app'),
      'publicUrl: must be an origin: no path and no query',
    ],
    [
      'a public URL with a password',
      (c) => (c.publicUrl = 'https://me:pw@app.example.com'),
      'publicUrl: must not contain a user name or password',
    ],
    [
      'an http issuer',
      (c) => (c.providers[0].issuer = 'http://as.example.com'),
      'providers[0].issuer: must be https (http only on loopback)',
    ],
    [
      'an http issuer on loopback without saying so',
      (c) => (c.providers[0].issuer = 'http://127.0.0.1:9'),
      'providers[0].issuer: must be https (for an http issuer on loopback set allowInsecureRequests)',
    ],
    [
      'an http upstream beyond loopback',
      (c) => (c.routes[0].upstream = 'http://orders.internal'),
      'routes[0].upstream: must be https (http on loopback, or with allowInsecureUpstream)',
    ],
    [
      'an upstream with a query',
      (c) => (c.routes[0].upstream = 'https://x/?a'),
      'routes[0].upstream: must not have a query',
    ],
    [
      'SameSite=None without embedding',
      (c) => (c.session.sameSite = 'None'),
      'session.sameSite: must not be None unless session.embedding is true',
    ],
    [
      'two providers with one issuer',
      (c) => c.providers.push({ ...c.providers[0], id: 'other' }),
      'providers[1].issuer: must not be the issuer of providers[0]',
    ],
    [
      'two routes with one path',
      (c) => c.routes.push(c.routes[0]),
      'routes[1].path: must not be the path of routes[0]',
    ],
    [
      'a route over our own endpoints',
      (c) => (c.routes[0].path = '/auth/login'),
      "routes[0].path: must not be under /auth, /healthz or /readyz: those are coatcheck's own",
    ],
    [
      'a route that is no plain path',
      (c) => (c.routes[0].path = '/api/../x'),
      'routes[0].path: must not contain dot segments',
    ],
    [
      'a key of zeros',
      (c) => (c.session.keys = [`1:${'A'.repeat(43)}`]),
      'session.keys[0]: must be random; make a key with `coatcheck keys`',
    ],
    [
      'a key number used twice',
      (c) => (c.session.keys = [sessionKey(1), sessionKey(1)]),
      'session.keys: must not use one number twice',
    ],
    [
      'no key',
      (c) => (c.session.keys = []),
      'session.keys: must have at least one key; make one with `coatcheck keys`',
    ],
    ['no provider', (c) => (c.providers = []), 'providers: must name at least one provider'],
    ['a scope without openid', (c) => (c.providers[0].scope = 'profile'), 'providers[0].scope: must contain openid'],
    [
      'a network that is none',
      (c) => (c.trustedProxies = ['10.0.0.0/99']),
      'trustedProxies[0]: must be an address or network such as "10.0.0.0/8"',
    ],
    ['a wait that no timer can do', (c) => (c.routes[0].timeout = '30d'), 'routes[0].timeout: must be at most 24d'],
    [
      'a window that no timer can do',
      (c) => (c.routes[0].rateLimit = { per: 'address', requests: 1, window: '30d' }),
      'routes[0].rateLimit.window: must be at most 24d',
    ],
    [
      'a policy that no header can carry',
      (c) => (c.spa = { dir: 'x', csp: "default-src 'self';\n script-src 'self'" }),
      'spa.csp: must be one line of ASCII: a header cannot carry anything else',
    ],
    [
      'a private key that is none',
      (c) => (c.providers[0].clientAuth = { method: 'private_key_jwt', key: 'garbage' }),
      'providers[0].clientAuth.key: must be a private key of the kind that alg needs, as PKCS #8 PEM: -----BEGIN PRIVATE KEY-----',
    ],
    [
      'a private key of another kind',
      (c) => {
        const { privateKey } = generateKeyPairSync('ed25519')
        const key = privateKey.export({ type: 'pkcs8', format: 'pem' })
        c.providers[0].clientAuth = { method: 'private_key_jwt', key, alg: 'ES256' }
      },
      'providers[0].clientAuth.key: must be a private key of the kind that alg needs, as PKCS #8 PEM: -----BEGIN PRIVATE KEY-----',
    ],
    [
      'an RSA key that is too short',
      (c) => {
        const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
        c.providers[0].keys = [{ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), alg: 'PS256' }]
      },
      'providers[0].keys[0].key: must be an RSA key of at least 2048 bits',
    ],
    [
      'a client that signs, without a key',
      (c) => (c.providers[0].clientAuth = { method: 'private_key_jwt' }),
      'providers[0].clientAuth.key: is required, unless the provider has keys',
    ],
    [
      'signed requests without a key',
      (c) => (c.providers[0].jar = true),
      'providers[0].jar: needs a key to sign with: set keys',
    ],
    [
      'rights of no type',
      (c) => (c.providers[0].authorizationDetails = [{ actions: ['read'] }]),
      'providers[0].authorizationDetails[0].type: is required',
    ],
    [
      'a response mode that a cookie would not survive',
      (c) => (c.providers[0].responseMode = 'form_post.jwt'),
      'providers[0].responseMode: must be query, jwt or query.jwt',
    ],
    [
      'a certificate without its key',
      (c) => (c.providers[0].clientAuth = { method: 'tls_client_auth', key: '-----BEGIN PRIVATE KEY-----' }),
      'providers[0].clientAuth: must have cert and key (Node), or a binding (Cloudflare Workers)',
    ],
    [
      'a certificate that is none',
      (c) => {
        const clientAuth = { method: 'tls_client_auth', cert: 'file.pem', key: '-----BEGIN PRIVATE KEY-----' }
        c.providers[0].clientAuth = clientAuth
      },
      'providers[0].clientAuth.cert: must be a certificate in PEM',
    ],
    [
      'two keys of one name',
      (c) => {
        const key = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
        const pem = () => key().export({ type: 'pkcs8', format: 'pem' })
        c.providers[0].keys = [1, 2].map(() => ({ key: pem(), kid: 'one' }))
      },
      'providers[0].keys: must not use one kid twice',
    ],
    [
      'an admin port that is taken by the public one',
      (c) => {
        c.listen = { port: 3001 }
        c.admin = { token: 'x'.repeat(16) }
      },
      'admin.listen.port: must not be the port of listen',
    ],
    [
      'an upstream that upstreams read in two ways',
      (c) => (c.routes[0].upstream = 'https://x.example/a;b'),
      'routes[0].upstream: must not have ";" or an empty segment in its path: upstreams disagree about what that means',
    ],
    [
      'requirements on a route for everybody',
      (c) => {
        c.routes[0].token = 'user-or-none'
        c.routes[0].require = { scope: ['x'] }
      },
      'routes[0].require: must not be there on a route that serves whoever is not signed in',
    ],
    [
      'callers with tokens of their own on a route that spends an API key',
      (c) => {
        c.routes[0].token = { kind: 'static', value: 'key' }
        c.routes[0].bearer = { audience: 'api' }
      },
      'routes[0].bearer: must be on a route whose token is user, user-or-none or user-or-client: the token that a caller brings goes up as it is, and buys nothing else',
    ],
    [
      'callers with tokens of their own on a route that exchanges them',
      (c) => {
        c.routes[0].token = { kind: 'exchange', audience: 'x' }
        c.routes[0].bearer = { audience: 'api' }
      },
      'routes[0].bearer: must be on a route whose token is user, user-or-none or user-or-client: the token that a caller brings goes up as it is, and buys nothing else',
    ],
    [
      'callers with tokens for anybody',
      (c) => (c.routes[0].bearer = {}),
      'routes[0].bearer.audience: must be a string or a list of strings',
    ],
    [
      'callers with tokens for one of none',
      (c) => (c.routes[0].bearer = { audience: [] }),
      'routes[0].bearer.audience: must name at least one audience',
    ],
    [
      'ID tokens for access tokens',
      (c) => (c.routes[0].bearer = { audience: ['api', c.providers[0].clientId] }),
      'routes[0].bearer.audience: must not be the clientId: that is the audience of ID tokens, which open no API',
    ],
    [
      'callers without proof where everybody proves a key',
      (c) => {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
        const key = privateKey.export({ type: 'pkcs8', format: 'pem' })
        c.providers[0].profile = 'fapi2'
        c.providers[0].dpop = true
        c.providers[0].clientAuth = { method: 'private_key_jwt', key }
        c.routes[0].bearer = { audience: 'api' }
      },
      'routes[0].bearer: must not be there for a provider with profile fapi2: its tokens are bound to keys of their callers',
    ],
    [
      'tokens of a provider that is not there',
      (c) => (c.routes[0].bearer = { audience: 'api', provider: 'other' }),
      'routes[0].bearer.provider: must be the id of one of providers',
    ],
    [
      'tokens signed with a shared secret',
      (c) => (c.routes[0].bearer = { audience: 'api', algs: ['HS256'] }),
      'routes[0].bearer.algs[0]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, ML-DSA-44, ML-DSA-65, ML-DSA-87',
    ],
    [
      'introspection that is believed for long',
      (c) => (c.routes[0].bearer = { audience: 'api', introspection: { cacheFor: '1h' } }),
      'routes[0].bearer.introspection.cacheFor: must be from 1s to 10m',
    ],
    ['a short admin token', (c) => (c.admin = { token: 'short' }), 'admin.token: must have at least 16 characters'],
    [
      'a store without a type',
      (c) => (c.store = { url: 'redis://localhost' }),
      'store.type: must be memory, sqlite, redis or durable-object',
    ],
    [
      'a store of an unknown type',
      (c) => (c.store = { type: 'mysql' }),
      'store.type: must be memory, sqlite, redis or durable-object',
    ],
    [
      'a setting of another type of store',
      (c) => (c.store = { type: 'memory', path: 'store.db' }),
      'store.path: is not a setting',
    ],
    ['an SQLite store without a file', (c) => (c.store = { type: 'sqlite' }), 'store.path: is required'],
    [
      'an SQLite store with an empty path',
      (c) => (c.store = { type: 'sqlite', path: '' }),
      'store.path: must not be empty',
    ],
    ['a Redis store without an address', (c) => (c.store = { type: 'redis' }), 'store.url: is required'],
    [
      'a Redis store at an address that is none',
      (c) => (c.store = { type: 'redis', url: 'localhost:6379' }),
      'store.url: must be a URL such as "rediss://redis.internal:6379"',
    ],
    [
      'a Redis store at an http address',
      (c) => (c.store = { type: 'redis', url: 'http://localhost:6379' }),
      'store.url: must be a URL such as "rediss://redis.internal:6379"',
    ],
    [
      'a Redis database that is no number',
      (c) => (c.store = { type: 'redis', url: 'redis://localhost:6379/sessions' }),
      'store.url: must have nothing but a database number as its path',
    ],
    [
      'a Redis address with a query',
      (c) => (c.store = { type: 'redis', url: 'redis://localhost:6379?tls=1' }),
      'store.url: must not have a query or fragment',
    ],
    [
      'a Redis password that is not URL-encoded',
      (c) => (c.store = { type: 'redis', url: 'redis://:100%sure@localhost' }),
      'store.url: must have its user name and password URL-encoded',
    ],
    [
      'a prefix that would change the slots of a Redis cluster',
      (c) => (c.store = { type: 'redis', url: 'redis://localhost', prefix: '{a}' }),
      'store.prefix: must be letters, digits, ".", ":", "_" and "-", at most 64',
    ],
    [
      'a store in Durable Objects without their binding',
      (c) => (c.store = { type: 'durable-object' }),
      'store.binding: is required',
    ],
    [
      'WebSockets on a route without GET',
      (c) => Object.assign(c.routes[0], { websocket: true, methods: ['POST'] }),
      'routes[0].websocket: must be false on a route without GET: a WebSocket begins with one',
    ],
    ...['0B', '101MB'].map((messageLimit): [string, (config: any) => void, string] => [
      `WebSocket messages of at most ${messageLimit}`,
      (c) => (c.routes[0].websocket = { messageLimit }),
      'routes[0].websocket.messageLimit: must be from "1B" to "100MB"',
    ]),
    [
      'WebSockets until whenever',
      (c) => (c.routes[0].websocket = { until: 'whenever' }),
      'routes[0].websocket.until: must be session or token',
    ],
    [
      'a security profile that nobody knows',
      (c) => (c.providers[0].profile = 'fapi1'),
      'providers[0].profile: must be default or fapi2',
    ],
  ])('refuses %s', (_, change, mistake) => {
    expect(mistakes(change)).toEqual([mistake])
  })

  test('refuses authorization parameters that are its own business', () => {
    for (const name of [
      'scope',
      'state',
      'nonce',
      'redirect_uri',
      'code_challenge',
      'request',
      'client_id',
      'authorization_details',
      'sub',
    ]) {
      const [mistake] = mistakes((config) => (config.providers[0].authorizationParams = { [name]: 'x' }))
      expect(mistake).toMatch(/^providers\[0\]\.authorizationParams: must not set/)
    }
  })

  test.each([undefined, null, [], 'text', 7])('refuses a document that is %j', (document) => {
    expect(() => readConfig(document)).toThrow('must be one JSON object')
  })

  test('takes ports from the environment, and gives the admin listener its own', () => {
    const document = {
      ...good(),
      listen: { port: '${PORT}' },
      admin: { listen: { host: '::1' }, token: 'x'.repeat(16) },
    }
    const { listen, admin } = readConfig(document, { PORT: '8080' })
    expect([listen.port, admin?.listen]).toEqual([8080, { host: '::1', port: 3001 }])
  })

  test('is not fooled by a __proto__ in the document', () => {
    const document = JSON.parse(`{"__proto__": {"publicUrl": "https://evil.example"}}`)
    expect(() => readConfig(document)).toThrow('__proto__: is not a setting')
  })

  describe('environment references', () => {
    test('are replaced inside any string', () => {
      const config = good()
      for (const provider of config.providers) provider.clientId = 'app-${STAGE}-${REGION}'
      const read = readConfig(config, { STAGE: 'prod', REGION: 'eu' })
      expect(read.providers[0]?.clientId).toBe('app-prod-eu')
    })

    test('that are missing or empty are mistakes at their place', () => {
      const found = mistakes(
        (config) => {
          config.session.keys = ['${COATCHECK_KEY}']
          config.providers[0].clientAuth.secret = '${CLIENT_SECRET}'
        },
        { CLIENT_SECRET: '' },
      )
      expect(found).toEqual([
        'session.keys[0]: environment variable COATCHECK_KEY is not set',
        'providers[0].clientAuth.secret: environment variable CLIENT_SECRET is empty',
      ])
    })

    test('do not reach into prototypes', () => {
      expect(mistakes((config) => (config.providers[0].clientId = '${constructor}'))).toEqual([
        'providers[0].clientId: environment variable constructor is not set',
      ])
    })
  })

  test('never repeats a value: it may be a secret', () => {
    const secret = 'S3CR3T-VALUE'
    const found = mistakes((config) => {
      config.session.keys = [`1:${secret}`]
      config.providers[0].clientAuth = { method: 'client_secret_basic', secret: 7, [secret.toLowerCase()]: 1 }
      config.providers[0].scope = secret
      config.publicUrl = `https://x:${secret}@y`
      config.admin = { token: secret, listen: secret }
      config.store = { type: 'redis', url: `redis://:${secret}@host/${secret}` }
      config.routes[0].upstream = `ftp://${secret}`
    })
    expect(found.length).toBeGreaterThan(4)
    expect(found.join()).not.toContain(secret)
  })
})

test('websocket: true is websocket: {}, and none is false', () => {
  const [route] = good().routes ?? []
  if (!route) throw new Error('There is a route')
  const read = (more: object) => readConfig({ ...good(), routes: [{ ...route, ...more }] }).routes[0]?.websocket
  expect(read({})).toBe(false)
  expect(read({ websocket: true })).toEqual({ messageLimit: 1_048_576, until: 'session', origin: 'page' })
  expect(read({ websocket: { idleTimeout: '5m' } })).toEqual({
    ...{ messageLimit: 1_048_576, until: 'session', origin: 'page' },
    idleTimeout: 300_000,
  })
})

test('createCoatcheck() without a platform refuses WebSockets', () => {
  const config = good()
  Object.assign(config.routes?.[0] ?? {}, { websocket: true })
  expect(() => createCoatcheck(config)).toThrow(
    'routes[0].websocket: createCoatcheck() without a platform has no WebSockets',
  )
})

test('createCoatcheck() without a platform refuses every store but memory', () => {
  const store = { type: 'redis', url: 'redis://localhost' } as const
  expect(() => createCoatcheck({ ...good(), store })).toThrow(
    'store.type: createCoatcheck() without a platform has no redis, only memory',
  )
})

describe('public addresses', () => {
  const main = 'https://app.example.com'
  const there = 'https://partners.example.com'
  /** Mistakes with these `publicUrls`, one list for each provider; `undefined` for one that has none. */
  const mistakesWith = (...lists: unknown[]) =>
    mistakes((config) => {
      const [provider] = config.providers
      config.providers = lists.map((publicUrls, index) => ({
        ...provider,
        id: `p${index}`,
        issuer: `https://as${index}.example.com`,
        ...(publicUrls === undefined ? {} : { publicUrls }),
      }))
    })

  test.each<[string, unknown[]]>([
    ['the main one alone, by default', [undefined]],
    ['the main one by its name', [[main]]],
    ['another beside the main one', [[main, there]]],
    ['one for each provider', [undefined, [there]]],
    ['the main one in another form', [['HTTPS://APP.example.com:443/'], [there]]],
    ['one of several providers', [undefined, [there], [there, main]]],
  ])('may be %s', (_, lists) => {
    expect(mistakesWith(...lists)).toEqual([])
  })

  test.each<[string, unknown[], string[]]>([
    ['no list', [main], ['providers[0].publicUrls: must be a list']],
    ['an empty list', [undefined, []], ['providers[1].publicUrls: must have at least one address']],
    ['a path', [[main, `${there}/x`]], ['providers[0].publicUrls[1]: must be an origin: no path and no query']],
    [
      'http beyond loopback',
      [[main, 'http://partners.example.com']],
      ['providers[0].publicUrls[1]: must be https (http only on loopback)'],
    ],
    [
      'http on loopback beside https',
      [[main, 'http://localhost:3000']],
      ['providers[0].publicUrls[1]: must be https or http as publicUrl is'],
    ],
    ['one address twice', [[main, there, `${there}:443/`]], ['providers[0].publicUrls[2]: must not be there twice']],
    [
      'one host at two ports',
      [[main, `${main}:8443`], [`${there}:1`], [`${there}:2`]],
      [
        'providers[0].publicUrls[1]: must not have the host of publicUrl: browsers send cookies to every port of a host',
        'providers[2].publicUrls[0]: must not have the host of providers[1].publicUrls[0]: browsers send cookies to every port of a host',
      ],
    ],
    [
      'nobody at the main one',
      [[there], ['https://x.example']],
      ['publicUrl: must be among publicUrls of at least one of providers'],
    ],
  ])('may not be %s', (_, lists, expected) => {
    expect(mistakesWith(...lists)).toEqual(expected)
  })

  test('are told of together with everything else', () => {
    const found = mistakes((config) => {
      config.publicUrl = 'nonsense'
      config.providers[0].publicUrls = [there, 7]
    })
    expect(found).toEqual(['publicUrl: must be an absolute https URL', 'providers[0].publicUrls[1]: must be a string'])
  })
})

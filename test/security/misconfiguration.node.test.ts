// Attack: none is needed where a setting is weak: short keys, http, a route that anybody may use with anybody's token.
// R038 R214 R215 R305 R611
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { ConfigError } from '../../src/config-reader.ts'
import { serve } from '../../src/node.ts'
import { sessionKey, startWorld } from '../support/coatcheck.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { expectNone } from '../support/corpus.ts'
import { freePort } from '../support/http-server.ts'

const secret = 'SECRET-of-the-client'
const good = (port = 0) => ({
  publicUrl: 'https://app.example',
  listen: { host: '127.0.0.1', port },
  session: { keys: [sessionKey()] },
  providers: [
    {
      id: 'main',
      issuer: 'https://as.example',
      clientId: 'app',
      clientAuth: { method: 'client_secret_basic', secret } as Record<string, unknown>,
    } as Record<string, unknown>,
  ],
  routes: [{ path: '/api', upstream: 'https://api.example', token: 'user' }] as Record<string, unknown>[],
})
type Document = ReturnType<typeof good> & Record<string, unknown>

/** The mistakes that are told of the good configuration after this change; `undefined` when it starts. */
async function mistakes(
  change: (config: Document) => void,
  env: Record<string, string> = {},
): Promise<string | undefined> {
  const config: Document = good()
  change(config)
  try {
    const server = await serve(config as unknown as ConfigInput, { env, log: () => {} })
    await server.close()
    return undefined
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message
  }
}

describe('R611 Keys', () => {
  test('that are not 32 random bytes in base64url are refused, with their path and without their value', async () => {
    const bytes = (length: number, fill = 0xab) => Buffer.alloc(length, fill)
    const weak = {
      none: [],
      empty: [''],
      'no number': [sessionKey().slice(2)],
      'number 0': [sessionKey().replace('1:', '0:')],
      '31 bytes': [`1:${Buffer.from(Array.from({ length: 31 }, (_, at) => at)).toString('base64url')}`],
      '33 bytes': [`1:${Buffer.from(Array.from({ length: 33 }, (_, at) => at)).toString('base64url')}`],
      '16 bytes': [`1:${Buffer.from(Array.from({ length: 16 }, (_, at) => at)).toString('base64url')}`],
      hexadecimal: [`1:${Buffer.from(Array.from({ length: 32 }, (_, at) => at)).toString('hex')}`],
      padded: [`${sessionKey()}=`],
      'a pass phrase': ['1:correct horse battery staple correct horse!'],
      'a pass phrase of the right length': [`1:${'changeme'.repeat(6).slice(0, 43)}`],
      zeros: [`1:${bytes(32, 0).toString('base64url')}`],
      'one byte repeated': [`1:${bytes(32).toString('base64url')}`],
      'one number twice': [sessionKey(1), sessionKey(1)],
      'a blank in front': [` ${sessionKey()}`],
      'a line end behind': [`${sessionKey()}\n`],
    }
    const wrong: string[] = []
    for (const [what, keys] of Object.entries(weak)) {
      const told = await mistakes((config) => (config.session.keys = keys))
      if (told === undefined) wrong.push(`${what}: starts`)
      else if (!/session\.keys/.test(told)) wrong.push(`${what}: ${told}`)
      for (const key of keys) if (key.length > 8 && told?.includes(key.slice(2))) wrong.push(`${what}: quotes the key`)
    }
    expectNone(wrong)
    expect(await mistakes(() => {})).toBeUndefined()
  })
})

describe('R611 Settings that would be unsafe', () => {
  const unsafe: Record<string, [change: (config: Document) => void, told: RegExp]> = {
    'R215 an http publicUrl beyond loopback': [
      (config) => (config.publicUrl = 'http://app.example'),
      /^ {2}publicUrl: must be https/m,
    ],
    'R215 a publicUrl with a path': [(config) => (config.publicUrl = 'https://app.example/x'), /publicUrl: /],
    'R215 a publicUrl with a user': [(config) => (config.publicUrl = 'https://a:b@app.example'), /publicUrl: /],
    'R214 SameSite=None without embedding': [
      (config) => Object.assign(config.session, { sameSite: 'None' }),
      /session\.sameSite/,
    ],
    'R038 two providers with one issuer': [
      (config) => config.providers.push({ ...config.providers[0], id: 'other' }),
      /providers\[1\]\.issuer/,
    ],
    'an http issuer': [
      (config) => Object.assign(config.providers[0] ?? {}, { issuer: 'http://as.example' }),
      /providers\[0\]\.issuer/,
    ],
    'an http issuer, allowed, beyond loopback': [
      (config) =>
        Object.assign(config.providers[0] ?? {}, { issuer: 'http://as.example', allowInsecureRequests: true }),
      /providers\[0\]\.issuer/,
    ],
    'an http issuer on a name that only looks like loopback': [
      (config) =>
        Object.assign(config.providers[0] ?? {}, { issuer: 'http://localhost.evil.test', allowInsecureRequests: true }),
      /providers\[0\]\.issuer/,
    ],
    'an http upstream beyond loopback': [
      (config) => Object.assign(config.routes[0] ?? {}, { upstream: 'http://api.example' }),
      /routes\[0\]\.upstream/,
    ],
    'an http upstream on a name that begins like loopback': [
      (config) => Object.assign(config.routes[0] ?? {}, { upstream: 'http://127.0.0.1.evil.test' }),
      /routes\[0\]\.upstream/,
    ],
    'an upstream with a user': [
      (config) => Object.assign(config.routes[0] ?? {}, { upstream: 'https://u:p@api.example' }),
      /routes\[0\]\.upstream/,
    ],
    'an upstream with a query': [
      (config) => Object.assign(config.routes[0] ?? {}, { upstream: 'https://api.example/?a=' }),
      /routes\[0\]\.upstream/,
    ],
    'an upstream of another scheme': [
      (config) => Object.assign(config.routes[0] ?? {}, { upstream: 'file:///etc' }),
      /routes\[0\]\.upstream/,
    ],
    'a route without a token policy': [(config) => delete config.routes[0]?.token, /routes\[0\]\.token/],
    'a route over our own endpoints': [
      (config) => Object.assign(config.routes[0] ?? {}, { path: '/auth' }),
      /routes\[0\]\.path/,
    ],
    'a route over an endpoint of ours': [
      (config) => Object.assign(config.routes[0] ?? {}, { path: '/auth/session' }),
      /routes\[0\]\.path/,
    ],
    'a route with dots': [
      (config) => Object.assign(config.routes[0] ?? {}, { path: '/api/../auth' }),
      /routes\[0\]\.path/,
    ],
    'a route with an encoding': [
      (config) => Object.assign(config.routes[0] ?? {}, { path: '/%61uth' }),
      /routes\[0\]\.path/,
    ],
    'a method that echoes': [
      (config) => Object.assign(config.routes[0] ?? {}, { methods: ['TRACE'] }),
      /routes\[0\]\.methods/,
    ],
    'a method that tunnels': [
      (config) => Object.assign(config.routes[0] ?? {}, { methods: ['CONNECT'] }),
      /routes\[0\]\.methods/,
    ],
    'a scope without openid': [
      (config) => Object.assign(config.providers[0] ?? {}, { scope: 'profile' }),
      /providers\[0\]\.scope/,
    ],
    'authorization parameters that undo the protocol': [
      (config) =>
        Object.assign(config.providers[0] ?? {}, {
          authorizationParams: { state: 'x', redirect_uri: 'https://evil.test' },
        }),
      /providers\[0\]\.authorizationParams/,
    ],
    'a cookie name with a prefix of its own': [
      (config) => Object.assign(config.session, { cookieName: '__Host-x' }),
      /session\.cookieName/,
    ],
    'a cookie name that ends the cookie': [
      (config) => Object.assign(config.session, { cookieName: 'a; Domain=evil.test' }),
      /session\.cookieName/,
    ],
    'a page after sign-out on another site': [
      (config) => Object.assign(config, { logout: { returnTo: '//evil.test' } }),
      /logout\.returnTo/,
    ],
    'an admin token that can be guessed': [
      (config) => Object.assign(config, { admin: { token: 'admin' } }),
      /admin\.token/,
    ],
    'R305 cross-origin grants, which do not exist': [
      (config) => Object.assign(config, { cors: { origins: ['*'] } }),
      /cors: is not a setting/,
    ],
    'a misspelt setting': [
      (config) => Object.assign(config.session, { idleTimout: '1m' }),
      /session\.idleTimout: is not a setting/,
    ],
    'a secret that is not there': [
      (config) => Object.assign(config.providers[0]?.clientAuth ?? {}, { secret: '${NOT_SET}' }),
      /NOT_SET/,
    ],
    'an empty secret': [
      (config) => Object.assign(config.providers[0]?.clientAuth ?? {}, { secret: '' }),
      /clientAuth\.secret/,
    ],
    'polluting keys': [
      (config) => Object.assign(config, JSON.parse('{"constructor":{"prototype":{"polluted":"yes"}}}')),
      /constructor: is not a setting/,
    ],
  }
  for (const [what, [change, told]] of Object.entries(unsafe)) {
    test(`${what}: refused before anything listens, by its path and without a secret`, async () => {
      const message = await mistakes(change)
      expect(message).toMatch(told)
      expect(message).not.toContain(secret)
    })
  }

  test('all of them are told at once', async () => {
    const message = await mistakes((config) => {
      config.publicUrl = 'http://app.example'
      config.session.keys = ['short']
      Object.assign(config.routes[0] ?? {}, { upstream: 'http://api.example', token: undefined })
    })
    for (const path of ['publicUrl', 'session.keys[0]', 'routes[0].upstream', 'routes[0].token'])
      expect(message).toContain(path)
  })
})

describe('R611 Secrets', () => {
  test('are not printed by a command that refuses a configuration, and it exits with 2', async () => {
    const key = sessionKey()
    const config = { ...good(), publicUrl: 'http://app.example', session: { keys: ['${KEY}', '${SHORT}'] } }
    const file = await fileWith(JSON.stringify(config))
    for (const command of ['serve', 'check']) {
      const run = coatcheck([command, '--config', file], { KEY: key, SHORT: '2:SECRET-too-short' })
      expect(await run.exit, command).toBe(2)
      const printed = run.stdout() + run.stderr()
      expect(printed).toContain('publicUrl')
      expect(printed).not.toMatch(/SECRET/)
      expect(printed).not.toContain(key.slice(2))
    }
  })

  test('cannot be given as arguments, where every process could read them', async () => {
    for (const option of ['--key', '--secret', '--session-key', '--client-secret']) {
      const run = coatcheck(['serve', option, 'SECRET'])
      expect(await run.exit, option).toBe(2)
    }
  })

  test('are in no answer about health, readiness or a session', async () => {
    const world = await startWorld()
    const user = world.browser()
    await user.signIn()
    const { keys = [] } = world.config.session
    const secrets = [...keys.map((key) => key.slice(2)), world.as.clientSecret, 'redirectUri', 'clientAuth']
    for (const path of [
      '/healthz',
      '/readyz',
      '/auth/session',
      '/metrics',
      '/config',
      '/.env',
      '/auth/config',
      '/debug',
      '/auth/nothing',
    ]) {
      const { text, headers } = await user.fetch(path)
      const told = text + JSON.stringify([...headers])
      expectNone(
        secrets.filter((one) => told.includes(one)),
        path,
      )
    }
  })

  test('metrics and administration are not on the public listener', async () => {
    const port = await freePort()
    const world = await startWorld(() => ({
      admin: { listen: { host: '127.0.0.1', port }, token: 'an-admin-token-for-tests' },
    }))
    const user = world.browser()
    const headers = { authorization: 'Bearer an-admin-token-for-tests' }
    for (const path of ['/metrics', '/admin', '/admin/metrics', '/sessions']) {
      expect((await user.fetch(path, { headers })).status, path).toBe(404)
    }
  })
})

// Mix-up: the answer of one authorization server in the login at another, and metadata of an impostor
// (R035-R038, R044, R054, R123; RFC 9700 2.1 and 4.4, RFC 9207 2.4, RFC 9700 update "COAT").
import { describe, expect, test } from 'vitest'
import { createCoatcheck } from '../../src/app.ts'
import type { ConfigInput } from '../../src/config.ts'
import { type AuthorizationServer, startAuthorizationServer } from '../support/authorization-server.ts'
import type { Browser } from '../support/browser.ts'
import { providerFor, startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { expectLoginRefused, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'

/** Changes the parameters of the callback of a login that this browser began, and delivers it. */
async function deliver(browser: Browser, change: (parameters: URLSearchParams) => void, query = '') {
  const callback = await browser.untilCallback(query)
  const [path, search] = callback.split('?')
  const parameters = new URLSearchParams(search)
  change(parameters)
  return browser.navigate(`${path}?${parameters}`)
}

describe('an issuer in the callback', () => {
  const world = faultWorld()
  const other: [string, (issuer: string) => string][] = [
    ['R036 with a slash at the end', (issuer) => `${issuer}/`],
    ['R036 in capitals', (issuer) => issuer.toUpperCase()],
    ['R036 percent-encoded', (issuer) => issuer.replaceAll('/', '%2F')],
    ['R036 with a default path', (issuer) => `${issuer}/.`],
    ['R036 with a query', (issuer) => `${issuer}?`],
    ['R036 with a blank', (issuer) => `${issuer} `],
    ['R036 by another name of the host', (issuer) => issuer.replace('127.0.0.1', 'localhost')],
    ['R036 of somebody else', () => 'https://evil.test'],
    ['R036 that is empty', () => ''],
  ]

  test.each(other)('%s is another issuer', async (_, change) => {
    const browser = world.browser()
    const answer = await deliver(browser, (parameters) => parameters.set('iss', change(world.as.issuer)))
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'issuer_mismatch')
  })

  test('R037 may not be missing where the authorization server says that it sends it', async () => {
    const browser = world.browser()
    const answer = await deliver(browser, (parameters) => parameters.delete('iss'))
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'issuer_missing')
  })
})

describe('R037 an authorization server that does not announce iss', () => {
  const silent = ({ as }: { as: AuthorizationServer }) => {
    as.behaviour.metadata = (metadata) => {
      delete metadata.authorization_response_iss_parameter_supported
    }
    return {}
  }

  test('may leave it out, may send its own, and may not send another', async () => {
    const world = await startWorld(silent)
    expect((await deliver(world.browser(), (parameters) => parameters.delete('iss'))).status).toBe(303)
    expect((await deliver(world.browser(), () => {})).status).toBe(303)
    world.as.requests.length = 0
    const browser = world.browser()
    const answer = await deliver(browser, (parameters) => parameters.set('iss', 'https://evil.test'))
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'issuer_mismatch')
  })
})

/** A world with an honest authorization server (`main`) and one of the attacker (`evil`). */
async function twoServers(iss: { honest: boolean; evil: boolean }): Promise<World & { evil: AuthorizationServer }> {
  const evil = closeAfterTest(await startAuthorizationServer())
  const announce = (as: AuthorizationServer, announces: boolean) => {
    as.behaviour.metadata = (metadata) => {
      metadata.authorization_response_iss_parameter_supported = announces
    }
    as.behaviour.callback = (parameters) => {
      if (!announces) parameters.delete('iss')
    }
  }
  announce(evil, iss.evil)
  const world = await startWorld(({ as, config }) => {
    announce(as, iss.honest)
    const [main] = config.providers as [ConfigInput['providers'][number]]
    return { providers: [main, { ...main, id: 'evil', issuer: evil.issuer }] }
  })
  return Object.assign(world, { evil })
}

describe.each([
  ['both send iss', { honest: true, evil: true }],
  ['only the honest one sends iss', { honest: true, evil: false }],
  ['only the attacker sends iss', { honest: false, evil: true }],
  ['neither sends iss', { honest: false, evil: false }],
])('R035 R054 with two authorization servers, where %s,', (_, iss) => {
  /**
   * RFC 9700, section 4.4.1: the victim begins at the attacker, who sends the browser on to the honest server. That knows
   * only the redirect_uri that its own logins have, so its code comes back there, with the state of the other login.
   */
  async function mixedUp(world: Awaited<ReturnType<typeof twoServers>>, from: 'main' | 'evil') {
    const answering = from === 'evil' ? 'main' : 'evil'
    const victim = world.browser()
    const begun = await victim.navigate(`/auth/login?provider=${from}`)
    const other = await victim.untilCallback(`?provider=${answering}`)
    const location = begun.headers.get('location')
    const state = location === null ? 'none' : (new URL(location).searchParams.get('state') ?? '')
    const [path, search] = other.split('?')
    const parameters = new URLSearchParams(search)
    parameters.set('state', state)
    world.as.requests.length = 0
    world.evil.requests.length = 0
    return { victim, answer: await victim.navigate(`${path}?${parameters}`) }
  }

  test('a code of the honest one never reaches the attacker', async () => {
    const world = await twoServers(iss)
    const { victim, answer } = await mixedUp(world, 'evil')
    expectSilent(world.evil, '/token', '/userinfo')
    expectSilent(world.as, '/token', '/userinfo')
    expect(answer.status).toBe(400)
    await expectSignedOut(victim, answer)
  })

  test('a code of the attacker is never redeemed at the honest one', async () => {
    const world = await twoServers(iss)
    const { victim, answer } = await mixedUp(world, 'main')
    expectSilent(world.evil, '/token', '/userinfo')
    expectSilent(world.as, '/token', '/userinfo')
    expect(answer.status).toBe(400)
    await expectSignedOut(victim, answer)
  })

  test('honest logins work at both', async () => {
    const world = await twoServers(iss)
    for (const provider of ['main', 'evil']) {
      const browser = world.browser()
      expect((await browser.signIn(`?provider=${provider}`)).status).toBe(303)
      expect((await browser.fetch('/auth/session')).json().provider).toBe(provider)
    }
  })
})

describe('R035 a provider whose id stands for another authorization server by now', () => {
  const notAnnounced = (as: AuthorizationServer) => {
    as.behaviour.metadata = (metadata) => delete metadata.authorization_response_iss_parameter_supported
    as.behaviour.callback = (parameters) => parameters.delete('iss')
  }

  /** The same deployment before and after its configuration has changed; a browser takes its cookies along. */
  async function beforeAndAfter(route: Record<string, unknown> = {}) {
    const next = closeAfterTest(await startAuthorizationServer())
    notAnnounced(next)
    const before = await startWorld(({ as, api, config }) => {
      notAnnounced(as)
      as.behaviour.expiresIn = 1
      const routes = [{ path: '/api', upstream: api.url, token: 'user' as const, ...route }]
      return { session: { ...config.session, storage: 'cookie' }, routes }
    })
    const { publicUrl, session, routes = [] } = before.config
    const after = await startCoatcheck(next, before.api, { publicUrl, session, routes, providers: [providerFor(next)] })
    const moved = (browser: Browser) => {
      const there = after.browser()
      for (const [name, value] of browser.cookies) there.cookies.set(name, value)
      return there
    }
    return { before, after, next, moved }
  }

  test('never gets the code of a sign-in that began at the one before', async () => {
    const { before, after, next, moved } = await beforeAndAfter()
    const browser = before.browser()
    const callback = await browser.untilCallback('?returnTo=/orders')
    const there = moved(browser)
    const answer = await there.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
    expectSilent(next, '/token', '/userinfo')
    await expectLoginRefused(after, there, answer, 'issuer_unknown')
    expect((await there.signIn()).status).toBe(303)
  })

  test.each([
    ['a refresh', {}],
    ['an exchange', { token: { kind: 'exchange', audience: 'a' } }],
    ['a token for an API', { token: { kind: 'user', resource: 'https://a.test' } }],
  ])('never gets tokens of the one before, be it for %s', async (_, route) => {
    const { before, after, next, moved } = await beforeAndAfter(route)
    const browser = before.browser()
    await browser.signIn('')
    const there = moved(browser)
    await expect.poll(async () => (await there.fetch('/auth/session')).json().session.state).toBe('reauth_required')
    const answer = await there.fetch('/api/orders')
    expectRefusal(answer, 401, 'reauth_required')
    expect(answer.json().loginUrl).toBe('/auth/login')
    expect(there.cookies.size).toBe(browser.cookies.size)
    const signedOut = await there.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    expect(signedOut.json()).toEqual({ logoutUrl: '/' })
    expectSilent(next, '/token', '/revoke')
    await expect.poll(() => after.logged('session.ended')).toMatchObject([{ reason: 'logged_out' }])
  })

  test('lets its user go when somebody signs in at the new one', async () => {
    const { before, next, moved } = await beforeAndAfter()
    const browser = before.browser()
    await browser.signIn()
    const there = moved(browser)
    next.behaviour.user = { sub: 'alice', acr: 'gold' }
    expect((await there.signIn('?acr_values=gold')).status).toBe(303)
    expectSilent(next, '/revoke')
    expect((await there.fetch('/api/orders')).status).toBe(200)
  })
})

describe('R038 two providers', () => {
  const world = faultWorld()

  test('with one issuer, or one id, are refused at the start', () => {
    const [main] = world.config.providers
    if (!main) throw new Error('There is one')
    expect(() => createCoatcheck({ ...world.config, providers: [main, { ...main, id: 'other' }] })).toThrow(
      /providers\[1\]\.issuer: must not be the issuer of providers\[0\]/,
    )
    expect(() =>
      createCoatcheck({ ...world.config, providers: [main, { ...main, issuer: 'http://127.0.0.1:1' }] }),
    ).toThrow(/providers\[1\]\.id/)
  })
})

describe('R123 the same subject and the same e-mail address at another issuer', () => {
  test('is another user: it shares no session and no rate limit', async () => {
    const evil = closeAfterTest(await startAuthorizationServer())
    const world = await startWorld(({ config, api }) => {
      const [main] = config.providers as [ConfigInput['providers'][number]]
      const rateLimit = { per: 'user', requests: 1, window: '1h' } as const
      return {
        providers: [main, { ...main, id: 'evil', issuer: evil.issuer }],
        routes: [{ path: '/api', upstream: `${api.url}/v1`, token: 'user', rateLimit }],
      }
    })
    const alice = world.browser()
    await alice.signIn('?provider=main')
    const impostor = world.browser()
    await impostor.signIn('?provider=evil')
    const [own, foreign] = await Promise.all(
      [alice, impostor].map(async (browser) => (await browser.fetch('/auth/session')).json()),
    )
    expect([own.provider, foreign.provider]).toEqual(['main', 'evil'])
    expect(own.session.id).not.toBe(foreign.session.id)
    expect((await impostor.fetch('/api/orders')).status).toBe(200)
    expect((await alice.fetch('/api/orders')).status).toBe(200)
    expect((await impostor.fetch('/api/orders')).status).toBe(429)
    expect((await alice.fetch('/api/orders')).status).toBe(429)
    expect(evil.requests.filter(({ path }) => path === '/token')).toHaveLength(1)
  })
})

describe('R044 metadata', () => {
  /** What is `undefined` is left out of the metadata. */
  const lies: [string, (issuer: string) => Record<string, unknown>][] = [
    ['with a slash at the end of the issuer', (issuer) => ({ issuer: `${issuer}/` })],
    ['of another host (discovery-issuer-mismatch)', () => ({ issuer: 'https://evil.test' })],
    ['of the same host by another name', (issuer) => ({ issuer: issuer.replace('127.0.0.1', 'localhost') })],
    ['with an issuer in capitals', (issuer) => ({ issuer: issuer.replace('http', 'HTTP') })],
    ['without an issuer', () => ({ issuer: undefined })],
    ['with an issuer that is a list', (issuer) => ({ issuer: [issuer] })],
    ['with a script as authorization endpoint', () => ({ authorization_endpoint: 'javascript:alert(1)//' })],
    ['with a relative authorization endpoint', () => ({ authorization_endpoint: '//evil.test/authorize' })],
    ['with plain http beyond loopback for tokens', () => ({ token_endpoint: 'http://evil.test/token' })],
    ['with plain http beyond loopback for keys', () => ({ jwks_uri: 'http://evil.test/jwks' })],
    ['with the cloud metadata service for tokens', () => ({ token_endpoint: 'http://169.254.169.254/latest' })],
    ['with plain http beyond loopback for userinfo', () => ({ userinfo_endpoint: 'http://evil.test/me' })],
    ['with a file as keys', () => ({ jwks_uri: 'file:///etc/passwd' })],
    ['with data as keys', () => ({ jwks_uri: 'data:application/json,{"keys":[]}' })],
    ['with an end_session_endpoint that is a script', () => ({ end_session_endpoint: 'javascript:alert(1)' })],
    ['without a token endpoint', () => ({ token_endpoint: undefined })],
    ['without keys', () => ({ jwks_uri: undefined })],
    ['without an authorization endpoint', () => ({ authorization_endpoint: undefined })],
    ['with a token endpoint that is a list', (issuer) => ({ token_endpoint: [`${issuer}/token`] })],
  ]

  test.each(lies)('%s starts no login', async (_, lie) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => Object.assign(metadata, lie(as.issuer))
      return {}
    })
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login')
    expectRefusal(answer, 503, 'authorization_server_unavailable')
    expect(answer.setCookie).toEqual([])
    expect(answer.text).not.toContain('evil')
    expectSilent(world.as, '/authorize', '/token', '/jwks', '/par')
    const [told] = world.logged('provider.unavailable')
    expect(['metadata_mismatch', 'metadata_incomplete', 'response_malformed']).toContain(told?.reason)
  })

  test('R612 with __proto__ and constructor in it changes nothing', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.faults['/.well-known/openid-configuration'] = () => ({
        headers: { 'content-type': 'application/json' },
        body: `{"__proto__":{"token_endpoint":"http://evil.test/token","polluted":1},"constructor":{"prototype":{"polluted":1}},${JSON.stringify(
          {
            issuer: as.issuer,
            authorization_endpoint: `${as.issuer}/authorize`,
            token_endpoint: `${as.issuer}/token`,
            jwks_uri: `${as.issuer}/jwks`,
            userinfo_endpoint: `${as.issuer}/userinfo`,
          },
        ).slice(1)}`,
      })
      return {}
    })
    expect((await world.browser().signIn()).status).toBe(303)
    expect(world.as.to('/token')).toHaveLength(1)
    expect({}).not.toHaveProperty('polluted')
  })

  test('R044 of the honest server decides every endpoint (discovery-openid-config, discovery-jwks-uri-keys)', async () => {
    const world = await startWorld()
    await world.browser().signIn()
    const paths = new Set(world.as.requests.map(({ path }) => path))
    expect(paths).toEqual(new Set(['/.well-known/openid-configuration', '/authorize', '/token', '/jwks', '/userinfo']))
  })
})

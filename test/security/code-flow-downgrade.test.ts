// Downgrade of the code flow: what makes an authorization code worthless to a thief must be there in every request and must
// not give way (R001-R003, R031, R032, R040, R041, R060, R061, R063; RFC 9700 2.1, RFC 7636, RFC 9126).
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createCoatcheck } from '../../src/app.ts'
import type { AuthorizationServer } from '../support/authorization-server.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'

async function authorizationRequest(world: World): Promise<URLSearchParams> {
  const answer = await world.browser().navigate('/auth/login')
  return new URL(answer.headers.get('location') ?? '').searchParams
}

/** Client identifier and secret of a Basic header, as RFC 6749, section 2.3.1 encodes them. */
function basic(header = ''): string[] {
  return Buffer.from(header.replace('Basic ', ''), 'base64').toString().split(':').map(decodeURIComponent)
}

describe('the authorization request', () => {
  const world = faultWorld()

  test('R002 R003 asks for a code, with PKCE S256, and for no token and no other response mode', async () => {
    const asked = await authorizationRequest(world)
    expect(asked.get('response_type')).toBe('code')
    expect(asked.get('code_challenge_method')).toBe('S256')
    expect(asked.get('code_challenge')).toMatch(/^[\w-]{43}$/)
    expect(asked.get('response_mode')).toBeNull()
    expect(asked.has('code_verifier') || asked.has('client_secret')).toBe(false)
  })

  test('R003 R040 has a verifier of its own each time, which only the token endpoint ever sees', async () => {
    const browsers = Array.from({ length: 50 }, () => world.browser())
    for (const browser of browsers) await browser.signIn()
    const challenges = world.as.to('/authorize').map(({ query }) => query.get('code_challenge'))
    const verifiers = world.as.to('/token').map(({ body }) => body.get('code_verifier') ?? '')
    expect(new Set(challenges).size).toBe(50)
    expect(new Set(verifiers).size).toBe(50)
    for (const verifier of verifiers) expect(verifier).toMatch(/^[\w.~-]{43,128}$/)
    expect(verifiers.map((verifier) => createHash('sha256').update(verifier).digest('base64url'))).toEqual(challenges)
    expectNoCanary(world, ...browsers)
  })

  test('R032 a thousand of them share no state, nonce or challenge', async () => {
    const requests: URLSearchParams[] = []
    for (let round = 0; round < 50; round++) {
      requests.push(...(await Promise.all(Array.from({ length: 20 }, () => authorizationRequest(world)))))
    }
    for (const name of ['state', 'nonce', 'code_challenge']) {
      const values = requests.map((request) => request.get(name) ?? '')
      expect(new Set(values).size).toBe(1_000)
      // 256 bits in base64url; some servers refuse a nonce of more than 64 characters.
      for (const value of values) expect(value).toMatch(/^[\w-]{43}$/)
    }
    const everything = requests.flatMap((request) => ['state', 'nonce'].map((name) => request.get(name)))
    expect(new Set(everything).size).toBe(2_000)
  })

  test('R032 nothing of it can be predicted from a copy of the request', async () => {
    const browser = world.browser()
    await browser.navigate('/auth/login')
    const cookie = browser.cookies.get('coatcheck-login') ?? ''
    const location = browser.seen.join('')
    await browser.signIn()
    const verifier = world.as.to('/token')[0]?.body.get('code_verifier') ?? 'none'
    for (const part of cookie.split(/[*~.]/))
      expect(Buffer.from(part, 'base64').toString()).not.toContain('codeVerifier')
    expect(location).not.toContain(verifier)
  })
})

describe('R003 R031 R040 an authorization server that says nothing about PKCE', () => {
  test.each([
    ['nothing', undefined],
    ['only plain', ['plain']],
    ['an empty list', []],
  ])('and announces %s gets S256 all the same', async (_, methods) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.code_challenge_methods_supported = methods
      }
      return {}
    })
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    const [asked] = world.as.to('/authorize')
    expect(asked?.query.get('code_challenge_method')).toBe('S256')
    expect(asked?.query.get('nonce')).toMatch(/^[\w-]{43}$/)
    expect(world.as.to('/token')[0]?.body.get('code_verifier')).toMatch(/^[\w-]{43}$/)
  })
})

describe('R001 a confidential client', () => {
  test('proves who it is at every endpoint behind the browser (oidcc-client-test-client-secret-basic)', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.expiresIn = 1
      as.behaviour.metadata = (metadata) => {
        metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
      }
      return {}
    })
    const { as } = world
    const browser = world.browser()
    await browser.signIn()
    await expect
      .poll(async () => {
        await browser.fetch('/api/orders')
        return as.to('/token').length
      })
      .toBeGreaterThan(1)
    await browser.fetch('/auth/logout', { method: 'POST' })
    await expect.poll(() => as.to('/revoke').length).toBeGreaterThan(0)
    const calls = ['/par', '/token', '/revoke'].flatMap((path) => as.to(path))
    expect(new Set(calls.map(({ path }) => path)).size).toBe(3)
    for (const { headers, body, query } of calls) {
      expect(basic(headers.authorization)).toEqual([as.clientId, as.clientSecret])
      expect(body.has('client_secret') || query.has('client_secret')).toBe(false)
      expect([...query]).toEqual([])
    }
    expectNoCanary(world, browser)
  })

  test('so a stolen code is worth nothing: without its secret, or without the verifier', async () => {
    const world = await startWorld()
    const callback = await world.browser().untilCallback()
    const code = new URL(callback, world.url).searchParams.get('code') ?? ''
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      client_id: world.as.clientId,
      redirect_uri: `${world.publicUrl}/auth/callback`,
    })
    const redeem = (headers: Record<string, string>) =>
      fetch(`${world.as.issuer}/token`, { method: 'POST', body, headers })
    expect((await redeem({})).status).toBe(401)
    const credentials = Buffer.from(`${world.as.clientId}:${world.as.clientSecret}`).toString('base64')
    expect((await redeem({ authorization: `Basic ${credentials}` })).status).toBe(400)
  })
})

describe('R041 a token', () => {
  test('stands in no address: not at the authorization server, not at the API, not in the browser', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/orders?access_token=mine')
    await browser.fetch('/auth/logout', { method: 'POST' })
    const addresses = [
      ...world.as.requests.filter(({ path }) => path !== '/authorize').map(({ path, query }) => `${path}?${query}`),
      ...world.api.requests.map(({ target }) => target),
      ...browser.seen,
    ]
    expect(addresses.join('\n')).not.toMatch(/CANARY|eyJ/)
    expect(world.as.to('/userinfo')[0]?.headers.authorization).toMatch(/^Bearer ey/)
  })
})

describe('R061 an authorization server that requires pushed requests', () => {
  const requires = (as: AuthorizationServer, endpoint: boolean) => {
    as.behaviour.metadata = (metadata) => {
      metadata.require_pushed_authorization_requests = true
      if (endpoint) metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
    }
  }

  test('R060 gets them, and the browser sees only client_id and request_uri', async () => {
    const world = await startWorld(({ as }) => {
      requires(as, true)
      return {}
    })
    const asked = await authorizationRequest(world)
    expect([...asked.keys()].sort()).toEqual(['client_id', 'request_uri'])
    expect(world.as.to('/par')[0]?.body.get('code_challenge_method')).toBe('S256')
  })

  test('gets them although the configuration says par: false, or no login at all', async () => {
    const world = await startWorld(({ as, config }) => {
      requires(as, true)
      return { providers: config.providers.map((provider) => ({ ...provider, par: false as const })) }
    })
    const answer = await world.browser().navigate('/auth/login')
    const location = answer.headers.get('location')
    if (location) expect([...new URL(location).searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
    else expect(answer.status).toBeGreaterThanOrEqual(400)
  })

  test('and names no endpoint for them gets no login in the open instead', async () => {
    const world = await startWorld(({ as }) => {
      requires(as, false)
      return {}
    })
    const answer = await world.browser().navigate('/auth/login')
    expect(answer.headers.get('location')).toBeNull()
    expect(answer.setCookie).toEqual([])
    expect([400, 503]).toContain(answer.status)
  })

  test('R061 par: true and a server without the endpoint: no login in the open instead', async () => {
    const world = await startWorld(({ config }) => ({
      providers: config.providers.map((provider) => ({ ...provider, par: true as const })),
    }))
    const answer = await world.browser().navigate('/auth/login')
    expect(answer.headers.get('location')).toBeNull()
    expect(answer.setCookie).toEqual([])
    expect([400, 503]).toContain(answer.status)
  })
})

describe('R063 a pushed request that fails', () => {
  const world = faultWorld(({ as }) => {
    as.behaviour.metadata = (metadata) => {
      metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
    }
    return {}
  })
  const hostile = 'CANARY <script>'
  const failures: [string, number, Parameters<typeof answering>[0]][] = [
    ['400 invalid_request', 400, { status: 400, body: { error: 'invalid_request', error_description: hostile } }],
    ['401 invalid_client', 400, { status: 401, body: { error: 'invalid_client', error_description: hostile } }],
    ['403 without a word', 400, { status: 403, body: '' }],
    ['413', 400, { status: 413, body: hostile }],
    ['429', 503, { status: 429, body: hostile }],
    ['500', 503, { status: 500, body: hostile }],
    ['500 with an OAuth error', 503, { status: 500, body: { error: 'server_error', error_description: hostile } }],
    ['a redirect', 400, { status: 302, headers: { location: 'http://evil.test/' }, body: '' }],
    ['201 without a request_uri', 400, { status: 201, body: { expires_in: 60 } }],
    ['201 with a request_uri that is a list', 400, { status: 201, body: { request_uri: ['urn:x'], expires_in: 60 } }],
    ['201 that is no JSON', 400, { status: 201, headers: { 'content-type': 'text/html' }, body: hostile }],
  ]
  function answering(answer: { status: number; headers?: Record<string, string>; body: string | object }) {
    world.as.behaviour.faults['/par'] = () => answer
  }

  test.each(failures)('with %s is answered %i: nothing falls back to the open', async (_, status, answer) => {
    answering(answer)
    const browser = world.browser()
    const login = await browser.navigate('/auth/login')
    expectRefusal(login, status, status === 503 ? 'authorization_server_unavailable' : 'login_failed')
    expect(login.setCookie).toEqual([])
    expect(login.text).not.toContain('script')
    expectSilent(world.as, '/authorize')
    expectNoCanary(world, browser)
    await expectSignedOut(browser)
  })

  test('with a request_uri that tries to add parameters cannot add any', async () => {
    answering({ status: 201, body: { request_uri: 'urn:x&redirect_uri=https://evil.test#', expires_in: 60 } })
    const asked = await authorizationRequest(world)
    expect([...asked.keys()].sort()).toEqual(['client_id', 'request_uri'])
  })

  test('is never the same twice: each sign-in pushes its own, and none of them pushes a request_uri', async () => {
    const pushed = [await authorizationRequest(world), await authorizationRequest(world)]
    expect(new Set(pushed.map((asked) => asked.get('request_uri'))).size).toBe(2)
    expect(world.as.to('/par')).toHaveLength(2)
    for (const { body } of world.as.to('/par'))
      expect([body.has('request_uri'), body.has('request')]).toEqual([false, false])
  })

  test('once does not stand in the way of the next', async () => {
    answering({ status: 500, body: '' })
    const browser = world.browser()
    expectRefusal(await browser.navigate('/auth/login'), 503, 'authorization_server_unavailable')
    world.as.behaviour.faults = {}
    expect((await browser.signIn()).status).toBe(303)
  })
})

describe('R002 the configuration', () => {
  const world = faultWorld()

  test.each(['response_type', 'response_mode', 'code_challenge_method', 'redirect_uri', 'state', 'nonce', 'request'])(
    'cannot ask for anything else through authorizationParams: %s',
    (name) => {
      const providers = world.config.providers.map((provider) => ({
        ...provider,
        authorizationParams: { [name]: 'token' },
      }))
      expect(() => createCoatcheck({ ...world.config, providers })).toThrow(
        /providers\[0\]\.authorizationParams: must not set/,
      )
    },
  )
})

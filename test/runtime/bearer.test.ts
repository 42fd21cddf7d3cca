import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { sharedStore } from '../support/shared-store.ts'
import { openPage, takeWebSockets } from '../support/websocket.ts'

type Route = NonNullable<ConfigInput['routes']>[number]

/** A world whose `/api` lets callers with a token of their own in; `more` says how, and what else the route asks. */
function bearerWorld(more: Partial<Route> = {}, others: (upstream: string) => Route[] = () => []): Promise<World> {
  return startWorld(({ api }) => ({
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user', bearer: { audience: 'api' }, ...more },
      ...others(api.url),
    ],
  }))
}

/** A mobile app or a service: no cookies, and no headers that only browsers send. */
const call = (world: World, token: string, path = '/api/orders', headers: Record<string, string> = {}) =>
  world.browser().send(path, { headers: { authorization: `Bearer ${token}`, ...headers } })

describe('a caller with an access token of its own', () => {
  test('is let in without cookie and proof of origin, and its token goes up as it is', async () => {
    const world = await bearerWorld()
    const token = await world.as.accessToken()
    const answer = await call(world, token, '/api/orders/7?x=1')
    expect(answer.status).toBe(200)
    expect(world.api.last().target).toBe('/v1/orders/7?x=1')
    expect(world.api.last().headers.authorization).toBe(`Bearer ${token}`)
    expect(answer.setCookie).toEqual([])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(world.as.to('/token')).toHaveLength(0)
  })

  test('may write the scheme in any case', async () => {
    const world = await bearerWorld()
    const headers = { authorization: `bEARER ${await world.as.accessToken()}` }
    expect((await world.browser().send('/api/orders', { headers })).status).toBe(200)
    expect(world.api.last().headers.authorization).toMatch(/^Bearer eyJ/)
  })

  test('sends bodies', async () => {
    const world = await bearerWorld()
    const headers = { authorization: `Bearer ${await world.as.accessToken()}`, 'content-type': 'application/json' }
    const answer = await world.browser().send('/api/orders', { method: 'POST', body: '{"a":1}', headers })
    expect(answer.status).toBe(200)
    expect(world.api.last().body.toString()).toBe('{"a":1}')
  })

  test('shares the route with signed-in browsers', async () => {
    const world = await bearerWorld()
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const ofSession = world.api.last().headers.authorization
    expect((await call(world, await world.as.accessToken())).status).toBe(200)
    expect(world.api.last().headers.authorization).not.toBe(ofSession)
  })

  test('is refused with a challenge and without a place to sign in', async () => {
    const world = await bearerWorld()
    const answer = await call(world, await world.as.accessToken({ aud: 'other' }))
    expect(answer.status).toBe(401)
    expect(answer.json()).toEqual({ status: 401, code: 'invalid_token', title: 'The access token is not valid here' })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
    expect(answer.headers.get('coatcheck-error')).toBe('invalid_token')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(world.api.requests).toHaveLength(0)
    await expect
      .poll(() => world.logged('request.refused'))
      .toMatchObject([{ code: 'invalid_token', reason: 'access_token_claim' }])
  })

  test('is served as itself or not at all where nobody need be signed in', async () => {
    const world = await bearerWorld({ token: 'user-or-none' })
    const token = await world.as.accessToken()
    expect((await call(world, token)).status).toBe(200)
    expect(world.api.last().headers.authorization).toBe(`Bearer ${token}`)
    expect((await call(world, await world.as.accessToken({ aud: 'other' }))).status).toBe(401)
    expect((await world.browser().fetch('/api/orders')).status).toBe(200)
    expect(world.api.last().headers.authorization).toBeUndefined()
    expect(world.api.requests).toHaveLength(2)
  })

  test('is never the application itself', async () => {
    const world = await bearerWorld({ token: 'user-or-client' })
    const token = await world.as.accessToken()
    expect((await call(world, token)).status).toBe(200)
    expect(world.api.last().headers.authorization).toBe(`Bearer ${token}`)
    expect((await call(world, await world.as.accessToken({ exp: 1 }))).status).toBe(401)
    expect(world.as.to('/token')).toHaveLength(0)
  })

  test('is nobody on a route that says nothing of such callers', async () => {
    const world = await bearerWorld({}, (upstream) => [
      { path: '/api/pages', upstream: `${upstream}/pages`, token: 'user' },
      { path: '/api/open', upstream: `${upstream}/open`, token: 'none' },
    ])
    const token = await world.as.accessToken()
    expect((await call(world, token, '/api/pages/1')).json().code).toBe('csrf_rejected')
    expect((await call(world, token, '/api/pages/1', { 'x-csrf': '1' })).json().code).toBe('session_required')
    expect((await call(world, token, '/api/open/1', { 'x-csrf': '1' })).status).toBe(200)
    expect(world.api.last().headers.authorization).toBeUndefined()
  })

  test('may be a service without a user', async () => {
    const world = await bearerWorld()
    expect((await call(world, await world.as.accessToken({ sub: undefined }))).status).toBe(200)
    expect((await call(world, await world.as.accessToken({ sub: undefined, client_id: undefined }))).status).toBe(401)
  })

  test('has its token verified once, and from then on costs nothing', async () => {
    const world = await bearerWorld()
    const token = await world.as.accessToken()
    await call(world, token)
    const { publicKeys } = world.as
    const before = world.as.requests.length
    const key = publicKeys.splice(0)
    expect((await call(world, token)).status).toBe(200)
    publicKeys.push(...key)
    expect(world.as.requests).toHaveLength(before)
  })

  test('goes on being served while the authorization server is away', async () => {
    const world = await bearerWorld()
    await call(world, await world.as.accessToken())
    world.as.behaviour.away = true
    expect((await call(world, await world.as.accessToken({ sub: 'bob' }))).status).toBe(200)
  })

  test('is told to come back when its token cannot be checked', async () => {
    const world = await bearerWorld()
    world.as.behaviour.faults['/jwks'] = () => ({ status: 500, body: 'CANARY' })
    const answer = await call(world, await world.as.accessToken())
    expect(answer.status).toBe(503)
    expect(answer.json().code).toBe('authorization_server_unavailable')
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(world.api.requests).toHaveLength(0)
    await expect
      .poll(() => world.logged('bearer.unchecked'))
      .toMatchObject([{ provider: 'main', reason: 'server_error' }])
  })

  test('may be the first, among many others', async () => {
    const world = await bearerWorld()
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, n) => world.as.accessToken({ sub: `user-${n}` })))
    const answers = await Promise.all(tokens.map((token) => call(world, token)))
    expect(answers.map(({ status }) => status)).toEqual(tokens.map(() => 200))
    expect(world.as.to('/jwks')).toHaveLength(1)
  })

  test('may bring a token of a key that nobody here has seen', async () => {
    const world = await bearerWorld()
    expect((await call(world, await world.as.accessToken())).status).toBe(200)
    await world.as.rotateKeys()
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, n) => world.as.accessToken({ sub: `user-${n}` })))
    const answers = await Promise.all(tokens.map((token) => call(world, token)))
    expect(answers.map(({ status }) => status)).toEqual(tokens.map(() => 200))
    expect(world.as.to('/jwks')).toHaveLength(2)
  })
})

describe('what a route requires', () => {
  test('is asked of the claims of the token', async () => {
    const world = await bearerWorld({ require: { scope: ['orders'], claims: { role: 'clerk' }, acr: ['gold'] } })
    const said = { scope: 'orders more', role: ['clerk', 'cook'], acr: 'gold' }
    const to = async (changes: Record<string, unknown>) =>
      call(world, await world.as.accessToken({ ...said, ...changes }))
    expect((await to({})).status).toBe(200)
    expect((await to({ scope: ['orders'] })).status).toBe(200)
    expect((await to({ scope: undefined, scp: ['orders'] })).status).toBe(200)

    const narrow = await to({ scope: 'orders.read' })
    expect(narrow.status).toBe(403)
    expect(narrow.json()).toMatchObject({ code: 'insufficient_scope' })
    expect(narrow.json().loginUrl).toBeUndefined()
    expect(narrow.headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope", scope="orders"')

    expect((await to({ role: 'cook' })).json().code).toBe('forbidden')

    const weak = await to({ acr: undefined })
    expect(weak.status).toBe(401)
    expect(weak.json()).toMatchObject({ code: 'step_up_required' })
    expect(weak.json().loginUrl).toBeUndefined()
    expect(weak.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_user_authentication", acr_values="gold"',
    )
    expect(world.api.requests).toHaveLength(3)
  })

  test('is counted per user, over all tokens of that user', async () => {
    const world = await bearerWorld({ rateLimit: { per: 'user', requests: 2, window: '1m' } })
    const status = async (sub: string) => (await call(world, await world.as.accessToken({ sub }))).status
    expect([await status('alice'), await status('alice'), await status('alice')]).toEqual([200, 200, 429])
    expect(await status('bob')).toBe(200)
  })

  test.each([
    ['here', async () => ({ type: 'memory' as const })],
    ['in a shared store', sharedStore],
  ])('is counted %s per user, whether by browser or by app', async (_, open) => {
    const store = await open()
    const world = await startWorld(({ api }) => ({
      store,
      routes: [
        {
          path: '/api',
          upstream: `${api.url}/v1`,
          token: 'user',
          bearer: { audience: 'api' },
          rateLimit: { per: 'user', requests: 2, window: '1m' },
        },
      ],
    }))
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const token = await world.as.accessToken()
    expect((await call(world, token)).status).toBe(200)
    expect((await call(world, token)).status).toBe(429)
  })

  test('is counted per session as per user', async () => {
    const world = await bearerWorld({ rateLimit: { per: 'session', requests: 1, window: '1m' } })
    expect((await call(world, await world.as.accessToken())).status).toBe(200)
    expect((await call(world, await world.as.accessToken())).status).toBe(429)
  })

  test('is counted per address before any token is checked', async () => {
    const world = await bearerWorld({ rateLimit: { per: 'address', requests: 2, window: '1m' } })
    const status = async () => (await call(world, await world.as.accessToken({ aud: 'other' }))).status
    expect([await status(), await status(), await status()]).toEqual([401, 401, 429])
  })

  test('is asked before the token: methods, addresses and lengths', async () => {
    const world = await bearerWorld({ methods: ['GET'], denyIps: ['127.0.0.1'] })
    expect((await call(world, await world.as.accessToken())).json().code).toBe('forbidden')
    const headers = { authorization: 'Bearer x' }
    expect((await world.browser().send('/api/orders', { method: 'POST', headers })).status).toBe(405)
  })
})

describe('an answer of the upstream to such a caller', () => {
  test.each<[number, string, string]>([
    [401, 'Bearer realm="x", error="invalid_token", error_description="CANARY"', 'Bearer error="invalid_token"'],
    [401, 'Basic realm="CANARY"', 'Bearer'],
    [
      401,
      'Bearer error="insufficient_user_authentication", acr_values="gold", max_age=5, realm="CANARY"',
      'Bearer error="insufficient_user_authentication", acr_values="gold", max_age="5"',
    ],
    [
      403,
      'Bearer error="insufficient_scope", scope="orders", resource_metadata="https://CANARY"',
      'Bearer error="insufficient_scope", scope="orders"',
    ],
  ])('R083 with %i %s is told in our own words', async (status, challenge, told) => {
    const world = await bearerWorld()
    world.api.answer = (_, response) => {
      response.writeHead(status, { 'www-authenticate': challenge, 'set-cookie': 'a=b' })
      response.end('no')
    }
    const answer = await call(world, await world.as.accessToken())
    expect(answer.status).toBe(status)
    expect(answer.text).toBe('no')
    expect(answer.headers.get('www-authenticate')).toBe(told)
    expect(answer.setCookie).toEqual([])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('coatcheck-error')).toBeNull()
    // There is nothing to renew such a token with.
    expect(world.api.requests).toHaveLength(1)
    expect(world.as.to('/token')).toHaveLength(0)
  })

  test('that fails is told with its route', async () => {
    const world = await bearerWorld()
    world.api.answer = (_, response) => response.destroy()
    expect((await call(world, await world.as.accessToken())).json().code).toBe('upstream_unreachable')
    await expect.poll(() => world.logged('upstream.failed')).toMatchObject([{ route: '/api' }])
  })
})

describe('a token that is no JWT', () => {
  const bearer = { audience: 'api', introspection: true as const }
  const said = (world: World, token: string, answer: Record<string, unknown> = {}) => {
    const exp = Math.floor(Date.now() / 1_000) + 300
    world.as.behaviour.introspected[token] = {
      ...{ active: true, aud: 'api', sub: 'alice', scope: 'orders', token_type: 'Bearer', exp },
      ...answer,
    }
  }

  test('is refused where nobody asks the authorization server', async () => {
    const world = await bearerWorld()
    said(world, 'opaque')
    expect((await call(world, 'opaque')).json().code).toBe('invalid_token')
    expect(world.as.to('/introspect')).toHaveLength(0)
  })

  test('R085 is introspected with our client authentication, once for any number of callers', async () => {
    const world = await bearerWorld({ bearer, require: { scope: ['orders'] } })
    said(world, 'opaque')
    const answers = await Promise.all(Array.from({ length: 20 }, () => call(world, 'opaque')))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect(world.api.last().headers.authorization).toBe('Bearer opaque')
    const [asked, ...more] = world.as.to('/introspect')
    expect(more).toEqual([])
    expect(asked?.method).toBe('POST')
    expect(asked?.headers.authorization).toMatch(/^Basic /)
    expect(Object.fromEntries(asked?.body ?? [])).toEqual({ token: 'opaque', token_type_hint: 'access_token' })
  })

  test('R085 that is not active is refused, and asked about once', async () => {
    const world = await bearerWorld({ bearer })
    expect((await call(world, 'opaque')).status).toBe(401)
    expect((await call(world, 'opaque')).headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
    expect(world.as.to('/introspect')).toHaveLength(1)
    expect(world.api.requests).toHaveLength(0)
  })

  test('R085 is asked about again when the answer is too old', async () => {
    const world = await bearerWorld({ bearer: { audience: 'api', introspection: { cacheFor: '1s' } } })
    said(world, 'opaque')
    expect((await call(world, 'opaque')).status).toBe(200)
    world.as.behaviour.introspected = {}
    await expect.poll(async () => (await call(world, 'opaque')).status, { interval: 100 }).toBe(401)
  })

  test('may be for nobody in particular, where the route says so', async () => {
    const world = await bearerWorld({ bearer: { audience: 'api', introspection: { anyAudience: true } } })
    said(world, 'for-nobody', { aud: undefined })
    said(world, 'for-other', { aud: 'other' })
    said(world, 'untyped', { aud: undefined, token_type: undefined })
    expect((await call(world, 'for-nobody')).status).toBe(200)
    expect((await call(world, 'for-other')).status).toBe(401)
    expect((await call(world, 'untyped')).status).toBe(401)
  })

  test('does not decide about JWTs, unless the route asks about all tokens', async () => {
    const world = await bearerWorld({ bearer }, (upstream) => [
      {
        path: '/api/strict',
        upstream: `${upstream}/strict`,
        token: 'user',
        bearer: { audience: 'api', introspection: { tokens: 'all' } },
      },
    ])
    const token = await world.as.accessToken()
    expect((await call(world, token)).status).toBe(200)
    expect(world.as.to('/introspect')).toHaveLength(0)
    expect((await call(world, token, '/api/strict')).status).toBe(401)
    expect(world.as.to('/introspect')).toHaveLength(1)
  })

  test('R085 is not passed on while the authorization server does not answer', async () => {
    const world = await bearerWorld({ bearer })
    said(world, 'known')
    expect((await call(world, 'known')).status).toBe(200)
    world.as.behaviour.away = true
    for (let n = 0; n < 8; n++) {
      const answer = await call(world, `opaque-${n}`)
      expect(answer.json().code).toBe('authorization_server_unavailable')
      expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    }
    // After five failures it is left alone for a moment.
    expect(world.as.to('/introspect')).toHaveLength(6)
    expect((await call(world, 'known')).status).toBe(200)
    expect(world.api.requests).toHaveLength(2)
    world.as.behaviour.away = false
    said(world, 'later')
    await expect.poll(async () => (await call(world, 'later')).status, { interval: 200 }).toBe(200)
  })

  test('that cannot be checked keeps no session from its refresh', async () => {
    const world = await bearerWorld({ bearer })
    world.as.behaviour.expiresIn = 1
    const browser = world.browser()
    await browser.signIn()
    world.as.behaviour.faults['/introspect'] = (_, response) => {
      response.destroy()
      return undefined
    }
    for (let n = 0; n < 8 || world.as.to('/token').length === 1; n++) {
      expect((await call(world, `opaque-${n}`)).status).toBe(503)
      expect((await browser.fetch('/api/orders')).status).toBe(200)
    }
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })
})

describe('tokens of servers older than RFC 9068', () => {
  test('are accepted where the route says so', async () => {
    const world = await bearerWorld({ bearer: { audience: 'api', anyType: true } })
    const status = async (claims: Record<string, unknown>, typ: string | undefined) =>
      (await call(world, await world.as.accessToken(claims, { typ }))).status
    expect(await status({}, undefined)).toBe(200)
    expect(await status({}, 'JWT')).toBe(200)
    expect(await status({}, 'application/at+jwt')).toBe(200)
    expect(await status({ client_id: undefined, scope: 'orders' }, 'JWT')).toBe(200)
    expect(await status({ client_id: undefined, typ: 'Bearer' }, 'JWT')).toBe(200)
    expect(await status({}, 'logout+jwt')).toBe(401)
  })
})

describe('a WebSocket of a caller with an access token of its own', () => {
  const open = (world: World, token: string) =>
    openPage(world, '/api/feed', { headers: { authorization: `Bearer ${token}` } })

  test('is opened at the upstream with the token as it came, and carries what both sides say', async () => {
    const world = await bearerWorld({ websocket: true })
    const api = takeWebSockets(world.api)
    const token = await world.as.accessToken()
    const app = await open(world, token)
    expect(api.handshakes[0]).toMatchObject({ target: '/v1/feed', headers: { authorization: `Bearer ${token}` } })
    app.socket.send('hello')
    await expect.poll(() => app.messages.map(({ data }) => String(data))).toEqual(['hello'])
    expect(app.headers['set-cookie']).toBeUndefined()
    app.socket.close(1000)
    await expect.poll(() => world.logged('websocket.closed')).toMatchObject([{ route: '/api', by: 'browser' }])
    expect(world.as.to('/token')).toHaveLength(0)
  })

  test('is a call like any other on a route without WebSockets', async () => {
    const world = await bearerWorld()
    const headers = {
      ...{ origin: world.publicUrl, connection: 'Upgrade', upgrade: 'websocket' },
      ...{ 'sec-websocket-version': '13', 'sec-websocket-key': 'AQIDBAUGBwgJCgsMDQ4PEC==' },
    }
    expect((await call(world, await world.as.accessToken(), '/api/feed', headers)).status).toBe(200)
    expect(world.api.last().headers.upgrade).toBeUndefined()
  })

  test('R528 is closed with 4401 when the token is over', async () => {
    const world = await bearerWorld({ websocket: true })
    const api = takeWebSockets(world.api)
    // Clocks may differ by half a minute, and so it is good for a moment.
    const app = await open(world, await world.as.accessToken({ exp: Math.floor(Date.now() / 1_000) - 27 }))
    expect(await app.closed).toEqual({ code: 4401, reason: 'token expired' })
    expect((await api.last().closed).code).toBe(1001)
    await expect.poll(() => world.logged('websocket.closed')).toMatchObject([{ reason: 'websocket_token_over' }])
  })

  const bearer = { audience: 'api', introspection: { cacheFor: '1s' } }
  const active = { active: true, aud: 'api', sub: 'alice', token_type: 'Bearer' }

  /** A world with a WebSocket that was opened with an opaque token; `more` is what introspection says of it besides. */
  async function opened(more: Record<string, unknown> = {}, require: Route['require'] = {}) {
    const world = await bearerWorld({ websocket: true, bearer, require })
    takeWebSockets(world.api)
    world.as.behaviour.introspected = { opaque: { ...active, ...more } }
    return { world, app: await open(world, 'opaque') }
  }

  test.each<[string, Record<string, Record<string, unknown>>]>([
    ['the token was revoked', { opaque: { active: false } }],
    ['the token lost the scope of the route', { opaque: { ...active, scope: 'other' } }],
    ['the token is somebody else’s', { opaque: { ...active, scope: 'orders', sub: 'bob' } }],
  ])('R528 is closed with 4401 when introspection says that %s', async (_, introspected) => {
    const { world, app } = await opened({ scope: 'orders' }, { scope: ['orders'] })
    world.as.behaviour.introspected = introspected
    expect(await app.closed).toEqual({ code: 4401, reason: 'token expired' })
  })

  test('R528 is closed with 4401 at the end of the token, although nobody can be asked', async () => {
    const { world, app } = await opened({ exp: Math.floor(Date.now() / 1_000) + 3 })
    world.as.behaviour.away = true
    expect(await app.closed).toEqual({ code: 4401, reason: 'token expired' })
  })

  test('R528 is closed with 4401 when the token was revoked, while strangers use up the questions of callers', async () => {
    const { world, app } = await opened()
    world.as.behaviour.introspected = {}
    world.as.behaviour.faults['/introspect'] = ({ body }) =>
      String(body).includes('junk') ? new Promise(() => {}) : undefined
    for (let n = 0; n < 70; n++) call(world, `junk-${n}`).catch(() => {})
    expect(await app.closed).toEqual({ code: 4401, reason: 'token expired' })
  })

  test('stays open while nobody can say what became of the token', async () => {
    const { world, app } = await opened()
    world.as.behaviour.away = true
    await expect.poll(() => world.logged('bearer.unchecked').length).toBeGreaterThan(0)
    app.socket.send('still here')
    await expect.poll(() => app.messages.map(({ data }) => String(data))).toEqual(['still here'])
  })
})

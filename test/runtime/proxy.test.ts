import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { renewedCookies, runtime, startWorld, type World } from '../support/coatcheck.ts'

describe('a route', () => {
  test('replaces its prefix by the upstream and forwards the query byte for byte', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/orders/7?x=1&x=%41&y[]=%2F&z=a+b&=&&empty')
    expect(world.api.last().target).toBe('/v1/orders/7?x=1&x=%41&y[]=%2F&z=a+b&=&&empty')
    await browser.fetch('/api')
    expect(world.api.last().target).toBe('/v1')
    await browser.fetch('/api/')
    expect(world.api.last().target).toBe('/v1/')
  })

  test('is the longest prefix that ends on a segment boundary', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.fetch('/api/open/x')
    expect(world.api.last().target).toBe('/open/x')
    expect((await browser.fetch('/api/openly')).json().code).toBe('session_required')
    expect((await browser.fetch('/apix')).json().code).toBe('not_found')
  })

  test('sends the access token as the only authorization, and no cookies', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/orders', { headers: { authorization: 'Bearer ATTACK', 'x-custom': 'kept' } })
    const { headers, rawHeaders } = world.api.last()
    expect(headers.authorization).toMatch(/^Bearer eyJ/)
    expect(rawHeaders.filter((name) => name.toLowerCase() === 'authorization')).toHaveLength(1)
    expect(headers.cookie).toBeUndefined()
    expect(headers['x-custom']).toBe('kept')
    expect(headers.host).toBe(`127.0.0.1:${world.api.port}`)
    expect(headers['x-forwarded-proto']).toBe('http')
    expect(headers['x-forwarded-host']).toBe(new URL(world.publicUrl).host)
    expect(headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  })

  test('goes on with the trace of the page under a span of its own', async () => {
    const world = await startWorld()
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
    const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01`, tracestate: 'a=1' }
    await world.browser().fetch('/api/open', { headers })
    expect(world.api.last().headers.traceparent).toMatch(
      new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`),
    )
    expect(world.api.last().headers.tracestate).toBe('a=1')
  })

  test.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('forwards %s', async (method) => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const answer = await browser.fetch('/api/orders', { method })
    expect(answer.status).toBe(200)
    expect(world.api.last().method).toBe(method)
  })

  test('forwards only its methods', async () => {
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'none', methods: ['GET', 'POST'] }],
    }))
    const answer = await world.browser().fetch('/api', { method: 'DELETE' })
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('GET, POST')
    expect(answer.json().code).toBe('method_not_allowed')
    expect(world.api.requests).toEqual([])
  })

  test.each([
    ['user', 'session_required', 0],
    ['user-or-none', undefined, 1],
    ['none', undefined, 1],
  ] as const)('with token %s and nobody signed in answers %s', async (token, code, calls) => {
    const world = await startWorld(({ api }) => ({ routes: [{ path: '/api', upstream: api.url, token }] }))
    const answer = await world.browser().fetch('/api')
    expect(answer.headers.get('coatcheck-error') ?? undefined).toBe(code)
    expect(world.api.requests).toHaveLength(calls)
    if (code) expect(answer.json()).toMatchObject({ status: 401, code, loginUrl: '/auth/login' })
    else expect(world.api.last().headers.authorization).toBeUndefined()
  })

  test('with token user-or-none sends the token of whoever is signed in; with none it never does', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/maybe')
    expect(world.api.last().headers.authorization).toMatch(/^Bearer /)
    await browser.fetch('/api/open')
    expect(world.api.last().headers.authorization).toBeUndefined()
  })

  test('asks for scopes, claims and acr', async () => {
    const world = await startWorld(({ api }) => {
      const route = { upstream: api.url, token: 'user' as const }
      return {
        routes: [
          { ...route, path: '/scope', require: { scope: ['orders:write'] } },
          { ...route, path: '/claim', require: { claims: { role: ['admin', 'owner'] } } },
          { ...route, path: '/acr', require: { acr: ['gold'] } },
        ],
      }
    })
    const { behaviour } = world.as
    const weak = world.browser()
    behaviour.scope = 'openid orders:read'
    behaviour.user = { sub: 'alice', role: 'guest' }
    await weak.signIn()
    expect((await weak.fetch('/scope')).json()).toMatchObject({ status: 403, code: 'insufficient_scope' })
    expect((await weak.fetch('/claim')).json()).toMatchObject({ status: 403, code: 'forbidden' })
    expect((await weak.fetch('/acr')).json()).toMatchObject({
      status: 401,
      code: 'step_up_required',
      loginUrl: '/auth/login?acr_values=gold',
    })
    expect(world.api.requests).toEqual([])
    const strong = world.browser()
    behaviour.scope = 'openid orders:write'
    behaviour.user = { sub: 'alice', role: ['admin', 'x'], acr: 'gold' }
    await strong.signIn()
    for (const path of ['/scope', '/claim', '/acr']) expect((await strong.fetch(path)).status).toBe(200)
  })

  test('admits and refuses client addresses', async () => {
    const world = await startWorld(({ api }) => {
      const route = { upstream: api.url, token: 'none' as const }
      return {
        routes: [
          { ...route, path: '/denied', denyIps: ['127.0.0.0/8', '::1'] },
          { ...route, path: '/others', allowIps: ['10.0.0.0/8'] },
          { ...route, path: '/own', allowIps: ['127.0.0.1', '::1'] },
        ],
      }
    })
    const browser = world.browser()
    // On Workers the edge says who calls.
    const headers: Record<string, string> = runtime === 'workerd' ? { 'cf-connecting-ip': '127.0.0.1' } : {}
    const forged = { ...headers, 'x-forwarded-for': '10.0.0.1' }
    expect((await browser.fetch('/denied', { headers })).json().code).toBe('forbidden')
    expect((await browser.fetch('/others', { headers: forged })).json().code).toBe('forbidden')
    expect((await browser.fetch('/own', { headers })).status).toBe(200)
  })
})

describe('an answer of the upstream', () => {
  test('comes through with its status, its bytes and its harmless headers', async () => {
    const world = await startWorld()
    const bytes = gzipSync('{"compressed":true}')
    world.api.answer = (_, response) => {
      response.writeHead(418, {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
        etag: '"7"',
        'x-total': '9',
      })
      response.end(bytes)
    }
    const answer = await world.browser().fetch('/api/open', { headers: { 'accept-encoding': 'gzip' } })
    expect(answer.status).toBe(418)
    expect(answer.bytes).toEqual(bytes)
    expect(answer.headers.get('content-encoding')).toBe('gzip')
    expect(answer.headers.get('etag')).toBe('"7"')
    expect(answer.headers.get('x-total')).toBe('9')
    expect(answer.headers.get('coatcheck-error')).toBeNull()
  })

  test('that depends on a session is for this browser only; one that does not keeps its caching', async () => {
    const world = await startWorld()
    world.api.answer = (_, response) => {
      response.writeHead(200, {
        'cache-control': 'public, max-age=60',
        vary: 'Accept-Language',
        expires: 'Thu, 01 Jan 2099 00:00:00 GMT',
      })
      response.end('x')
    }
    const browser = world.browser()
    await browser.signIn()
    const own = await browser.fetch('/api/orders')
    expect(own.headers.get('cache-control')).toBe('no-store')
    expect(own.headers.get('vary')).toBe('Accept-Language, Cookie')
    expect(own.headers.get('expires')).toBeNull()
    const open = await browser.fetch('/api/open')
    expect(open.headers.get('cache-control')).toBe('public, max-age=60')
  })

  test.each([204, 304])('%i without a body stays without one', async (status) => {
    const world = await startWorld()
    world.api.answer = (_, response) => response.writeHead(status, { etag: '"1"' }).end()
    const answer = await world.browser().fetch('/api/open')
    expect(answer.status).toBe(status)
    expect(answer.text).toBe('')
    expect(answer.headers.get('etag')).toBe('"1"')
  })

  test('to HEAD keeps its length', async () => {
    const world = await startWorld()
    world.api.answer = (_, response) => response.writeHead(200, { 'content-length': '1234' }).end()
    const answer = await world.browser().fetch('/api/open', { method: 'HEAD' })
    expect(answer.headers.get('content-length')).toBe('1234')
    expect(answer.text).toBe('')
  })

  test('that redirects inside the route is translated; one that leads elsewhere loses its Location; none is followed', async () => {
    const world = await startWorld()
    const evil = 'http://evil.example/x'
    for (const [location, expected] of [
      ['/open/next?x=1', '/api/open/next?x=1'],
      ['next', '/api/next'],
      [`${world.api.url}/open/next#f`, '/api/open/next#f'],
      ['/elsewhere', null],
      [evil, null],
      ['//evil.example/x', null],
      ['/\\evil.example', null],
      ['javascript:alert(1)', null],
    ] as const) {
      world.api.answer = (_, response) => response.writeHead(302, { location }).end()
      const answer = await world.browser().fetch('/api/open')
      const where = location === 'next' ? null : expected
      expect([location, answer.status, answer.headers.get('location')]).toEqual([location, 302, where])
    }
    expect(world.api.requests).toHaveLength(8)
  })
})

describe('an upload', () => {
  test('keeps the length that the browser announced', async () => {
    const world = await startWorld()
    await world.browser().fetch('/api/open', { method: 'POST', body: 'x'.repeat(1_000) })
    const { headers, body } = world.api.last()
    expect(headers['content-length']).toBe('1000')
    expect(headers['transfer-encoding']).toBeUndefined()
    expect(body.length).toBe(1_000)
  })
})

describe('an upstream that refuses the token', () => {
  const refusing = (world: World) => {
    world.api.answer = (_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="x", error="invalid_token"' }).end('CANARY')
  }
  const refreshes = (world: World) =>
    world.as.to('/token').filter(({ body }) => body.get('grant_type') === 'refresh_token')

  test('causes one refresh and one more call, and then its 401 comes through', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    refusing(world)
    expect((await browser.fetch('/api/orders')).status).toBe(401)
    expect(world.api.requests).toHaveLength(2)
    expect(refreshes(world)).toHaveLength(1)
  })

  test('does not cause a refresh for every call, when fresh tokens do not please it either', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    refusing(world)
    for (let call = 0; call < 10; call++) expect((await browser.fetch('/api/orders')).status).toBe(401)
    expect(refreshes(world).length).toBeLessThanOrEqual(2)
    await expect.poll(() => world.logged('upstream.token_refused')).not.toEqual([])
  })

  test('is believed by the next call, whose predecessor could not be sent again', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const first = browser.cookieHeader()
    const refused = () => String(world.api.requests[0]?.headers.authorization)
    world.api.answer = ({ headers }, response) => {
      if (headers.authorization !== refused()) return void response.end('{}')
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
    }
    const body = 'x'.repeat(65_537)
    const post = () => browser.fetch('/api/orders', { method: 'POST', body, headers: { cookie: first } })
    expect((await post()).status).toBe(401)
    await expect.poll(() => world.logged('refresh.completed')).toHaveLength(1)
    const next = await post()
    expect(next.status).toBe(200)
    expect(next.setCookie.map((line) => line.split('=')[0])).toEqual(renewedCookies)
  })

  test('is not waited for when the rest of its refusal never comes', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    let calls = 0
    world.api.answer = (_, response) => {
      if (calls++ > 0) return void response.end('{"ok":true}')
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"', 'content-length': '100000' })
      response.write('x'.repeat(50_000))
    }
    const answer = await browser.fetch('/api/orders')
    expect([answer.status, answer.text]).toEqual([200, '{"ok":true}'])
  })

  test('R082 because the sign-in is too weak gets the page a loginUrl for a stronger one', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    world.api.answer = (_, response) =>
      response
        .writeHead(401, {
          'www-authenticate':
            'Bearer error="insufficient_user_authentication", error_description="CANARY", acr_values="gold silver", max_age="5"',
        })
        .end('CANARY')
    const answer = await browser.fetch('/api/orders', { method: 'POST', body: 'x' })
    expect(answer.status).toBe(401)
    expect(answer.json()).toMatchObject({
      code: 'step_up_required',
      loginUrl: '/auth/login?acr_values=gold+silver&max_age=5',
    })
    expect(answer.text).not.toContain('CANARY')
    expect(refreshes(world)).toEqual([])
    const login = await browser.navigate(answer.json().loginUrl)
    const { searchParams } = new URL(login.headers.get('location') ?? '')
    expect([searchParams.get('acr_values'), searchParams.get('max_age')]).toEqual(['gold silver', '5'])
  })
})

describe('an upstream that fails', () => {
  test('is upstream_unreachable when nobody listens there', async () => {
    const world = await startWorld()
    await world.api.close()
    const answer = await world.browser().fetch('/api/open')
    expect(answer.status).toBe(502)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.json()).toMatchObject({ status: 502, code: 'upstream_unreachable' })
    await expect
      .poll(() => world.logged('upstream.failed'))
      .toMatchObject([{ route: '/api/open', code: 'upstream_unreachable' }])
  })

  test.each([300, 2_500])('is upstream_timeout when it does not answer within %i ms, and not sooner', async (time) => {
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'none', timeout: `${time}ms` }],
    }))
    world.api.answer = () => {}
    const startedAt = performance.now()
    const answer = await world.browser().fetch('/api')
    expect(performance.now() - startedAt).toBeGreaterThan(time - 50)
    expect(answer.status).toBe(504)
    expect(answer.json().code).toBe('upstream_timeout')
  })

  test('keeps the session cookie that came with the request’s refresh', async () => {
    const world = await startWorld()
    const browser = world.browser()
    world.as.behaviour.expiresIn = 0.001
    await browser.signIn()
    world.as.behaviour.expiresIn = 300
    await world.api.close()
    const answer = await browser.fetch('/api/orders')
    expect(answer.json().code).toBe('upstream_unreachable')
    expect(answer.setCookie.map((line) => line.split('=')[0])).toEqual(renewedCookies)
  })
})

// Attack: a path that means one thing to coatcheck and another to the upstream, or leads to another server altogether.
// R014 R015 R500 R501 R502 R503 R504 R505 R506
import { describe, expect, test } from 'vitest'
import { runtime, startWorld } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { ask, converse, fromPage, head } from '../support/raw.ts'
import { isInside, worstReading } from '../support/readings.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { startUpstream } from '../support/upstream.ts'

/** Ways to write "one up", or something that a careless server takes for it. */
const steps = [
  ...['..', '.', '%2e%2e', '%2E%2E', '.%2e', '%2e.', '%2e', '..;', '..;x=1', '%2e%2e;a', '.;', ';/..'],
  ...['..%2f', '..%2F..', '%2e%2e%2f', '..%5c', '..%5C..', '%2e%2e%5c', '..\\', '\\..\\', '..\\..\\', '%5c..%5c'],
  ...['..%252f', '%252e%252e', '%252e%252e%252f', '..%255c', '%25252e%25252e', '%25%32%65%25%32%65', '%252E.'],
  ...['..%00', '%00..', '..%09', '..%0d%0a', '..%7f', '%2e%2e%00'],
  ...['%c0%ae%c0%ae', '..%c0%af', '..%e0%80%af', '%f0%80%80%ae.', '%uff0e%uff0e', '..%u2215', '%u002e%u002e'],
  ...['..#', '..?', '...', '....//', '..//', '//..', '/./..', '.../...'],
]
const frames = [
  '/api/orders/{}/admin',
  '/api/orders/{}/{}/admin',
  '/api/orders/a/{}/{}/{}/admin',
  '/api/orders{}/admin',
  '/api/orders/a/{}',
  '/{}/api/orders/admin',
]
const traversals = frames.flatMap((frame) => steps.map((step) => frame.replaceAll('{}', step)))

describe('A path that leaves its route', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [{ path: '/api/orders', upstream: `${api.url}/v1/orders`, token: 'none' }],
  }))

  test(`R015 R502 none of ${traversals.length} traversals makes the upstream see another path than the route's own`, async () => {
    expect(traversals.length).toBeGreaterThanOrEqual(200)
    const { url, api } = shared()
    const escaped: string[] = []
    for (const path of traversals) {
      const before = api.requests.length
      const { status } = await ask(url, `GET ${path}`)
      const seen = api.requests.slice(before).map(({ target }) => target)
      if (seen.some((target) => !isInside('/v1/orders', worstReading(target)))) escaped.push(`${path} -> ${seen}`)
      if (seen.length > 1 || status >= 500) escaped.push(`${path} -> ${status}, ${seen.length} upstream requests`)
    }
    expect(escaped, 'traversals that got out').toEqual([])
  })

  const refused = {
    'encoded slashes': ['/api/orders/a%2fb', '/api/orders/a%2Fb', '/api%2forders/a', '/api/orders%2f..%2fx'],
    'backslashes, encoded or not': ['/api/orders/a\\b', '/api/orders/a%5cb', '/api/orders/a%5Cb', '/api\\orders/a'],
    'NUL and other control characters': [
      ...['/api/orders/%00', '/api/orders/a%00.json', '/api/orders/%01', '/api/orders/%0a', '/api/orders/%0d%0aX:y'],
      ...['/api/orders/%1f', '/api/orders/%7f'],
    ],
    'dot segments': ['/api/orders/../x', '/api/orders/./x', '/api/orders/..', '/api/orders/.', '/../api/orders', '/..'],
    'encoded dot segments': ['/api/orders/%2e%2e/x', '/api/orders/.%2e/x', '/api/orders/%2E./x', '/api/orders/%2e'],
    'dot segments with parameters': [
      '/api/orders/..;/x',
      '/api/orders/..;a=b/x',
      '/api/orders/.;/x',
      '/..;/api/orders',
    ],
    'double encoding': ['/api/orders/%252e%252e/x', '/api/orders/%252fx', '/api/orders/%2500', '/api/orders/%255c'],
    fragments: ['/api/orders/a#b', '/api/orders#/x', '/api/orders/a?b#c'],
  }
  for (const [what, paths] of Object.entries(refused)) {
    test(`R503 refused with 400: ${what}`, async () => {
      const { url, api } = shared()
      const wrong: string[] = []
      for (const path of paths) {
        const before = api.requests.length
        const { status, headers } = await ask(url, `GET ${path}`)
        const seen = api.requests.slice(before).map(({ target }) => target)
        // workerd resolves dots, backslashes and fragments before the Worker sees them: there only safety counts.
        const isRefused =
          runtime === 'node'
            ? status === 400 && headers.get('coatcheck-error') === 'bad_request' && seen.length === 0
            : status < 500 && seen.every((target) => isInside('/v1/orders', worstReading(target)))
        if (!isRefused) wrong.push(`${path} -> ${status}, upstream saw [${seen}]`)
      }
      expect(wrong).toEqual([])
    })
  }

  test('R505 bad UTF-8 and bad percent-encoding are 400 on every runtime', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const wrong: string[] = []
    for (const text of [
      '%E0%A4%A',
      '%ff',
      '%c3',
      '%c3%28',
      '%ed%a0%80',
      '%',
      '%2',
      '%zz',
      '%u0041',
      '%f8%88%80%80%80',
    ]) {
      const { status } = await ask(url, `GET /api/orders/${text}`)
      if (status !== 400) wrong.push(`${text} -> ${status}`)
    }
    expect(wrong).toEqual([])
    expect(api.requests.length).toBe(before)
  })

  test('R505 addresses of 16 KB and more are refused with 4xx and nobody is called', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    for (const path of [`/api/orders/${'a'.repeat(17_000)}`, `/api/orders?${'a'.repeat(17_000)}`]) {
      const { status } = await ask(url, `GET ${path}`)
      expect(status, `${path.slice(0, 20)} of ${path.length} bytes`).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(500)
    }
    expect(api.requests.length).toBe(before)
  })

  test('R506 the query reaches the upstream byte for byte, and belongs to nothing else', async () => {
    const { url, api } = shared()
    const portable = [
      '?',
      '?x=%2F&y=a+b&&=;%zz',
      '?a=/../..//b&c=%00%0d%0a',
      '?q=?&u=http://evil/',
      '?%2e%2e/=\\',
      '?a[]=1&b{}|`^~*',
    ]
    // A URL parser sits in front of a Worker; it encodes these.
    const exact = runtime === 'node' ? [...portable, `?"quoted"&'single'&<tag>`] : portable
    const wrong: string[] = []
    for (const query of exact) {
      const { status } = await ask(url, `GET /api/orders/7${query}`)
      const { target } = api.last()
      // `?` alone is no query to a URL parser.
      const expected =
        query === '?' && runtime === 'workerd' ? ['/v1/orders/7', '/v1/orders/7?'] : [`/v1/orders/7${query}`]
      if (status !== 200 || !expected.includes(target)) wrong.push(`${query} -> ${status} ${target}`)
    }
    expect(wrong).toEqual([])
  })
})

describe('A path that is spelled in another way', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'none' },
      { path: '/api/admin', upstream: `${api.url}/v1/admin`, token: 'user' },
    ],
  }))

  test('R504 percent-encoded letters are matched and forwarded as the letters they are', async () => {
    const { url, api } = shared()
    const wrong: string[] = []
    for (const path of ['/%61pi/x', '/%61%70%69/x', '/api/%78', '/a%70i/%78']) {
      const { status } = await ask(url, `GET ${path}`)
      if (status !== 200 || api.last().target !== '/v1/x') wrong.push(`${path} -> ${status} ${api.last().target}`)
    }
    expect(wrong).toEqual([])
  })

  test('R504 what only looks like a route is none', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const wrong: string[] = []
    for (const path of [
      '/API/x',
      '/Api/x',
      '/apix',
      '/api.json',
      '/api;x=1/y',
      '/api%20/x',
      '/api%2e/x',
      '/apі/x',
      '/%2fapi/x',
    ]) {
      const { status } = await ask(url, `GET ${encodeURI(path).replaceAll('%25', '%')}`)
      if (status !== 404 && status !== 400) wrong.push(`${path} -> ${status}`)
    }
    expect(wrong).toEqual([])
    expect(api.requests.slice(before).map(({ target }) => target)).toEqual([])
  })

  const spellings = {
    'percent-encoding': ['/api/%61dmin/users', '/api/adm%69n', '/%61pi/admin', '/api/%61%64%6d%69%6e/users?x'],
    'path parameters': ['/api/admin;x=1/users', '/api/admin;/users', '/api/admin;jsessionid=1', '/api;v=1/admin'],
    'empty segments': ['/api//admin/users', '/api///admin', '//api/admin', '/api/admin//users'],
    dots: ['/api/./admin/users', '/api/x/../admin/users', '/api/%2e/admin', '/api/.;/admin', '/api/x/..;/admin'],
    'slashes that are none': ['/api/x%2f..%2fadmin', '/api\\admin', '/api/%5cadmin', '/api%2fadmin', '/api/%2fadmin'],
  }
  for (const [what, paths] of Object.entries(spellings)) {
    test(`R504 R505 the stricter of two routes is not got round by ${what}`, async () => {
      const { url, api } = shared()
      const passed: string[] = []
      for (const path of paths) {
        const before = api.requests.length
        await ask(url, `GET ${path}`)
        const seen = api.requests.slice(before).map(({ target }) => target)
        if (seen.some((target) => isInside('/v1/admin', worstReading(target)))) passed.push(`${path} -> ${seen}`)
      }
      expect(passed, 'paths that reached the stricter route of the upstream without a session').toEqual([])
    })
  }
})

describe('A request that names another server', () => {
  const world = async () => {
    const sinkhole = closeAfterTest(await startUpstream())
    const { url, api } = await startWorld(({ api }) => ({
      routes: [
        { path: '/api', upstream: `${api.url}/v1`, token: 'none' },
        { path: '/bare', upstream: api.url, token: 'none' },
      ],
    }))
    return { url, api, sinkhole, evil: `127.0.0.1:${sinkhole.port}` }
  }

  test('R014 R500 R501 no path makes coatcheck call another server than the route names', async () => {
    const { url, api, sinkhole, evil } = await world()
    const before = api.requests.length
    const paths = [
      ...[
        `//${evil}/x`,
        `//${evil}/api/x`,
        `/api//${evil}/x`,
        `/bare//${evil}/x`,
        `/bare///${evil}/x`,
        `/bare/\\${evil}/x`,
      ],
      ...[`/bare@${evil}/x`, `/bare:80@${evil}/x`, `/api@${evil}/x`, `/bare/@${evil}/x`, `/bare/user:pass@${evil}/x`],
      ...[
        `/bare.${evil}/x`,
        `/bare%2f%2f${evil}/x`,
        `/bare/%2f${evil}/x`,
        `/bare/http://${evil}/x`,
        `/bare?http://${evil}/`,
      ],
      ...[
        `/bare%40${evil}/x`,
        `/bare/.${evil}`,
        `/bare;@${evil}/x`,
        `/bare#@${evil}/x`,
        `/bare%23@${evil}`,
        `/bare%00@${evil}/x`,
      ],
    ]
    const failed: string[] = []
    for (const path of paths) {
      const { status } = await ask(url, `GET ${path}`)
      if (status >= 500) failed.push(`${path} -> ${status}`)
    }
    expect(failed).toEqual([])
    expect(sinkhole.requests.map(({ target }) => target)).toEqual([])
    for (const { target, headers } of api.requests.slice(before)) {
      expect(headers.host, target).toBe(`127.0.0.1:${api.port}`)
      expect(target, 'begins like an authority').not.toMatch(/^\/[/\\]/)
    }
  })

  test('R500 no header makes coatcheck call another server or another path', async () => {
    const { url, api, sinkhole, evil } = await world()
    const lies = [
      ...['X-Forwarded-Host', 'X-Forwarded-Server', 'X-Host', 'X-Original-Host', 'Forwarded-Host', 'X-Backend-Host'],
      ...['X-Forwarded-Prefix', 'X-Original-URL', 'X-Rewrite-URL', 'X-Original-URI', 'X-Proxy-URL', 'X-Override-URL'],
    ]
    for (const name of lies) {
      for (const value of [evil, `http://${evil}/admin`, '/admin']) {
        const { status } = await ask(url, 'GET /api/x', [`${name}: ${value}`])
        const { target, headers } = api.last()
        expect([status, target, headers.host], `${name}: ${value}`).toEqual([200, '/v1/x', `127.0.0.1:${api.port}`])
      }
    }
    await ask(url, 'GET /api/x', [`Forwarded: host="${evil}";proto=https`, `Via: 1.1 ${evil}`])
    expect(api.last().headers).not.toHaveProperty('forwarded')
    expect(sinkhole.requests).toEqual([])
  })

  test('R500 neither Host nor an absolute request target decides where a call goes', async () => {
    const { url, api, sinkhole, evil } = await world()
    const close = [...fromPage, 'Connection: close']
    const wrong: string[] = []
    const requests = [
      head('GET /api/x', close, evil),
      head(`GET http://${evil}/api/x`, close),
      head(`GET http://${evil}/api/x`, close, evil),
      head(`GET http://user:pass@${evil}/api/x`, close),
      head(`GET HTTP://${evil}/api/x`, close),
      head('GET /api/x', close, 'app.localhost.'),
      head('GET /api/x', close, `app.localhost:1@${evil}`),
      head('GET /api/x', close, `${evil}/x?`),
      head('GET /api/x', close, 'a b'),
      head('GET /api/x', close, ''),
    ]
    for (const request of requests) {
      const before = api.requests.length
      const [answer] = await converse(url, request)
      const seen = api.requests.slice(before)
      const isGood = answer !== undefined && answer.status < 500
      // In front of a Worker the runtime may make a 500 of a Host that cannot be one.
      if (!isGood && runtime === 'node') wrong.push(`${request} -> ${answer?.status}`)
      for (const { target, headers } of seen) {
        if (target !== '/v1/x' || headers.host !== `127.0.0.1:${api.port}`) wrong.push(`${request} -> ${target}`)
      }
    }
    expect(wrong).toEqual([])
    expect(sinkhole.requests).toEqual([])
  })
})

// Attack: an upstream that wants more than to answer: our cookies, our origin, our caches, our redirects, our name.
// R046 R304 R516 R517 R518 R519 R520 R522 R523 R524
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { closeAfterTest, listen } from '../support/http-server.ts'
import { crossOriginGrants, originState, passwordChallenges, serverOrders } from '../support/origin-headers.ts'
import { ask, fromPage, head, openConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { startUpstream } from '../support/upstream.ts'

const mark = 'UPSTREAM'
const marked = (headers: Headers) => [...headers].filter(([, value]) => value.includes(mark)).map(([name]) => name)

describe('R519 Headers with which an upstream would rule over our origin', () => {
  const shared = sharedWorld()

  /** Sends these headers, one answer each, and tells which came through. */
  async function through(names: readonly string[]): Promise<string[]> {
    const { url, api, browser } = shared()
    const user = browser()
    await user.signIn()
    const passed: string[] = []
    for (const path of ['/api/x', '/api/open/x']) {
      for (const name of names) {
        api.answer = (_, response) =>
          response.writeHead(200, { [name]: `${mark}; max-age=1`, 'content-type': 'text/plain' }).end('{}')
        const { status, headers } = await ask(url, `GET ${path}`, [`Cookie: ${user.cookieHeader()}`])
        if (status !== 200) passed.push(`${path} ${name} -> ${status}`)
        else if (marked(headers).length > 0) passed.push(`${path} ${name}`)
      }
    }
    return passed
  }

  test('R518 cookies never come through, under whatever name, and the session is as it was', async () => {
    const { api, browser } = shared()
    const user = browser()
    await user.signIn()
    const before = user.cookieHeader()
    api.answer = (_, response) => {
      response.setHeader('Set-Cookie', [
        ...[
          '__Host-Http-coatcheck=UPSTREAM; Secure; Path=/; HttpOnly',
          'coatcheck=UPSTREAM',
          'coatcheck.1=UPSTREAM; Max-Age=0',
        ],
        ...['coatcheck-login=UPSTREAM; Path=/', 'other=UPSTREAM; Domain=localhost', '=UPSTREAM', 'UPSTREAM'],
      ])
      response.setHeader('Set-Cookie2', 'coatcheck=UPSTREAM')
      response.end('{}')
    }
    for (const path of ['/api/x', '/api/open/x', '/api/maybe/x']) {
      const answer = await user.fetch(path)
      expect([answer.status, answer.setCookie, marked(answer.headers)], path).toEqual([200, [], []])
    }
    expect(user.cookieHeader()).toBe(before)
  })

  test('headers that change the state of an origin or its documents never come through', async () => {
    expectNone(await through(originState))
  })

  test('R304 cross-origin grants never come through', async () => {
    expectNone(await through(crossOriginGrants))
  })

  test('R520 challenges never come through: no browser ever asks for a password', async () => {
    const { api, browser } = shared()
    expectNone(await through(passwordChallenges))
    const challenges = [
      'Basic realm="UPSTREAM"',
      'NTLM',
      'Negotiate',
      'Digest realm="UPSTREAM", nonce="x"',
      'Bearer, Basic realm="UPSTREAM"',
    ]
    for (const challenge of challenges) {
      api.answer = (_, response) => response.writeHead(401, { 'www-authenticate': challenge }).end('{}')
      const answer = await browser().fetch('/api/open/x')
      expect([answer.status, answer.headers.get('www-authenticate')], challenge).toEqual([401, null])
    }
  })

  test('R519 R524 orders for the server and the caches in front never come through', async () => {
    expectNone(await through(serverOrders))
  })

  test('what coatcheck says itself cannot be said by an upstream', async () => {
    const { api, browser } = shared()
    api.answer = (_, response) => {
      const claims = { 'coatcheck-error': 'session_expired', 'content-type': 'application/problem+json' }
      response.writeHead(401, {
        ...claims,
        'content-security-policy': 'script-src *',
        'x-content-type-options': 'sniff',
      })
      response.end('{"code":"session_expired","loginUrl":"https://evil.test"}')
    }
    const answer = await browser().fetch('/api/open/x')
    expect(answer.status).toBe(401)
    expect(answer.headers.get('coatcheck-error')).toBeNull()
    expect(answer.headers.get('content-security-policy')).toBe("default-src 'none'; sandbox; frame-ancestors 'none'")
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  })

  test('x-hono-already-sent on an answer without a body makes nothing hang', async () => {
    const { api, browser } = shared()
    for (const status of [200, 204, 304]) {
      api.answer = (_, response) => response.writeHead(status, { 'x-hono-already-sent': 'true' }).end()
      const answer = await browser().fetch('/api/open/x')
      expect([answer.status, answer.headers.get('x-hono-already-sent')], String(status)).toEqual([status, null])
    }
  })

  test('R524 an answer that depends on a session is kept by nobody, whatever the upstream and the file name say', async () => {
    const { api, browser } = shared()
    const user = browser()
    await user.signIn()
    api.answer = (_, response) => {
      response.writeHead(200, {
        'cache-control': 'public, max-age=31536000, immutable',
        expires: 'Fri, 01 Jan 2038 00:00:00 GMT',
        pragma: 'cache',
        vary: 'Accept-Encoding',
        'content-type': 'text/css',
      })
      response.end('body {}')
    }
    for (const path of ['/api/me/x.css', '/api/me/x.js?v=1', '/api/maybe/me.png', '/api/me;x.css']) {
      for (const browser of [user, shared().browser()]) {
        const { headers } = await browser.fetch(path)
        expect(headers.get('cache-control'), path).toBe('no-store')
        expect([headers.get('expires'), headers.get('pragma')], path).toEqual([null, null])
      }
    }
    expect((await user.fetch('/api/me/x.css')).headers.get('vary')).toMatch(/\bcookie\b/i)
  })
})

describe('R516 An upstream that always refuses the token', () => {
  const shared = sharedWorld()

  test('gets two calls and causes one refresh; what cannot be sent twice is sent once', async () => {
    const { api, as, browser } = shared()
    const user = browser()
    await user.signIn()
    api.answer = (_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('{}')
    for (const [method, body, calls, refreshes] of [
      ['GET', undefined, 2, 1],
      ['POST', 'once', 1, 0],
    ] as const) {
      const before = [api.requests.length, as.to('/token').length] as const
      const answer = await user.fetch('/api/x', { method, ...(body ? { body } : {}) })
      expect(answer.status, method).toBe(401)
      expect(answer.headers.get('www-authenticate'), method).toBeNull()
      expect([api.requests.length - before[0], as.to('/token').length - before[1]], method).toEqual([calls, refreshes])
    }
  })

  test('R087 that names metadata of its own sends nobody there, and chooses no authorization server', async () => {
    const { api, as, browser } = shared()
    const user = browser()
    await user.signIn()
    const calls: unknown[] = []
    const evil = closeAfterTest(
      await listen((request, response) => {
        calls.push(request.url)
        response.end('{}')
      }),
    )
    as.requests.length = 0
    const named = `resource_metadata="${evil.url}/.well-known/oauth-protected-resource", as_uri="${evil.url}"`
    for (const error of ['insufficient_scope", scope="x', 'insufficient_user_authentication', 'invalid_request']) {
      api.answer = (_, response) =>
        response.writeHead(401, { 'www-authenticate': `Bearer error="${error}", ${named}` }).end('{}')
      const answer = await user.fetch('/api/x')
      expect(answer.text + JSON.stringify([...answer.headers])).not.toContain(evil.url)
    }
    expect(calls).toEqual([])
    expect(as.requests).toEqual([])
  })

  test('for another reason than the token causes no refresh', async () => {
    const { api, as, browser } = shared()
    const user = browser()
    await user.signIn()
    const before = as.to('/token').length
    for (const challenge of ['Basic realm="x"', 'Bearer', 'Bearer error="insufficient_scope"', 'x invalid_token']) {
      api.answer = (_, response) => response.writeHead(401, { 'www-authenticate': challenge }).end('{}')
      expect((await user.fetch('/api/x')).status, challenge).toBe(401)
    }
    expect(as.to('/token').length).toBe(before)
  })
})

describe('R522 R046 Where an upstream redirects to', () => {
  const shared = sharedWorld()

  test('is translated inside the route and removed everywhere else', async () => {
    const { url, api, logged } = shared()
    const outside: string[] = []
    const inside: [location: string, expected: string][] = [
      ['/open/there', '/api/open/there'],
      ['there', '/api/open/there'],
      ['./there?x=1#y', '/api/open/there?x=1#y'],
      ['?page=2', '/api/open/x?page=2'],
      [`${api.url}/open/there?x=%2F`, '/api/open/there?x=%2F'],
      [`//127.0.0.1:${api.port}/open/there`, '/api/open/there'],
      ['/open', '/api/open'],
    ]
    const elsewhere = [
      ...[
        'https://evil.test/',
        'http://evil.test/open/x',
        '//evil.test/open/x',
        '/\\evil.test/open/x',
        '\\\\evil.test\\open',
        '///evil.test',
      ],
      ...[
        'javascript:alert(1)',
        'data:text/html,x',
        'vbscript:x',
        'file:///etc/passwd',
        'blob:x',
        'about:blank',
        'ftp://evil.test/',
      ],
      ...['/admin', '/openly/x', '/', '/open/../admin', '/open/%2e%2e/admin', '../admin', '/open/..\\admin', '..'],
      ...[
        `http://user@127.0.0.1:${api.port}/open/x`,
        `http://127.0.0.1:${api.port}@evil.test/open/x`,
        `http://127.0.0.1:1/open/x`,
      ],
      ...[
        `https://127.0.0.1:${api.port}/open/x`,
        `http://localhost:${api.port}/open/x`,
        'http://',
        'http:///open',
        '/open/..//evil.test',
      ],
      ...['/.//evil.test/open', '/open/../..//evil.test', '\t//evil.test', 'http:evil.test', 'https:open/x'],
    ]
    const answer = async (status: number, location: string) => {
      api.answer = (_, response) => response.writeHead(status, { location }).end()
      return await ask(url, 'GET /api/open/x')
    }
    const wrong: string[] = []
    for (const [location, expected] of inside) {
      const { headers } = await answer(302, location)
      if (headers.get('location') !== expected) wrong.push(`${location} -> ${headers.get('location')}`)
    }
    for (const location of elsewhere) {
      for (const status of [201, 302, 307]) {
        const { headers } = await answer(status, location)
        const found = headers.get('location')
        // What a browser makes of it must be a path of this very route.
        const resolved = found === null ? undefined : new URL(found, 'http://app.test/api/open/x')
        if (found === null) outside.push(location)
        else if (resolved?.origin !== 'http://app.test' || !`${resolved.pathname}/`.startsWith('/api/open/')) {
          wrong.push(`${status} ${location} -> ${found}`)
        }
      }
    }
    expectNone(wrong)
    expect(outside.length).toBeGreaterThan(elsewhere.length * 2)
    expect(logged('upstream.redirect_blocked').length).toBeGreaterThan(0)
  })

  test('R046 is never followed, with no method and no status', async () => {
    const { api, browser } = shared()
    const evil = closeAfterTest(await startUpstream())
    const user = browser()
    await user.signIn()
    for (const status of [300, 301, 302, 303, 305, 307, 308]) {
      for (const location of [`${evil.url}/v1/x`, `//127.0.0.1:${evil.port}/v1/x`, '/v1/again']) {
        for (const method of ['GET', 'POST']) {
          const before = api.requests.length
          api.answer = (_, response) => response.writeHead(status, { location }).end()
          const answer = await user.fetch('/api/x', { method })
          expect([answer.status, api.requests.length - before], `${method} ${status} ${location}`).toEqual([status, 1])
        }
      }
    }
    expect(evil.requests).toEqual([])
  })
})

describe('R517 Content codings', () => {
  const shared = sharedWorld()
  const text = Buffer.from(
    JSON.stringify({ orders: Array.from({ length: 2_000 }, (_, id) => ({ id, name: `Ünïcode ${id}` })) }),
  )
  const codings = {
    gzip: gzipSync(text),
    br: brotliCompressSync(text),
    deflate: deflateSync(text),
    'gzip, br': brotliCompressSync(gzipSync(text)),
    zstd: Buffer.from('not really zstd'),
    gzip2: gzipSync(text).subarray(0, 50),
    identity: text,
  }
  for (const [coding, bytes] of Object.entries(codings)) {
    const name = coding.replace(/\d/, '')
    test(`${coding === 'gzip2' ? 'gzip that is cut off' : coding} reaches the browser byte for byte, with its Content-Encoding`, async () => {
      const { url, api } = shared()
      for (const withLength of [true, false]) {
        api.answer = (_, response) => {
          const length = withLength ? { 'content-length': bytes.length } : {}
          response.writeHead(200, {
            'content-encoding': name,
            'content-type': 'application/json',
            etag: '"x"',
            ...length,
          })
          response.end(bytes)
        }
        const answer = await ask(url, 'GET /api/open/x', ['Accept-Encoding: gzip, deflate, br, zstd'])
        expect([answer.status, answer.headers.get('content-encoding'), answer.body.length]).toEqual([
          200,
          name,
          bytes.length,
        ])
        expect(answer.body.equals(bytes)).toBe(true)
        expect(api.last().headers['accept-encoding']).toBe('gzip, deflate, br, zstd')
      }
    })
  }

  // Known: on Workers a streamed answer that a session depends on is unpacked and packed again on its way.
  test('an answer without a length that a session depends on is passed on byte for byte, too', async () => {
    const { url, api, browser } = shared()
    const user = browser()
    await user.signIn()
    for (const bytes of [gzipSync(text, { level: 1 }), gzipSync(text).subarray(0, 50), Buffer.from('no gzip at all')]) {
      api.answer = (_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bytes)
      const answer = await ask(url, 'GET /api/x', ['Accept-Encoding: gzip', `Cookie: ${user.cookieHeader()}`])
      expect([answer.status, answer.headers.get('content-encoding')]).toEqual([200, 'gzip'])
      expect(answer.body.equals(bytes)).toBe(true)
    }
  })

  test('a browser that takes no coding is not made to take one', async () => {
    const { url, api } = shared()
    api.answer = (request, response) => response.end(String(request.headers['accept-encoding'] ?? 'none'))
    expect((await ask(url, 'GET /api/open/x', ['Accept-Encoding: identity'])).text).toBe('identity')
    // A Worker always asks for gzip where nothing is said, and unpacks what it asked for.
    if (runtime === 'node') expect((await ask(url, 'GET /api/open/x')).text).toBe('none')
  })

  test('a bomb costs no more than its bytes: it is passed on, and never unpacked here', async () => {
    const { url, api } = shared()
    const bomb = gzipSync(Buffer.alloc(200 * 1_024 * 1_024))
    api.answer = (_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': bomb.length })
      response.end(bomb)
    }
    const answer = await ask(url, 'GET /api/open/x', ['Accept-Encoding: gzip'])
    expect(answer.headers.get('content-encoding')).toBe('gzip')
    expect(answer.body.equals(bomb)).toBe(true)
  })

  test('HEAD, 204 and 304 stay without a body and keep their headers', async () => {
    const { url, api } = shared()
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 204],
      ['GET', 304],
    ] as const) {
      api.answer = (_, response) => {
        const length = status === 204 ? {} : { 'content-length': '1234', 'content-encoding': 'gzip' }
        response.writeHead(status, { etag: '"x"', ...length }).end()
      }
      const connection = openConnection(url)
      connection.send(
        head(`${method} /api/open/x`, fromPage) + head('GET /api/open/y', [...fromPage, 'Connection: close']),
      )
      const first = await connection.answer(method === 'HEAD' ? 'HEAD' : undefined)
      expect([first?.status, first?.headers.get('etag')], `${method} ${status}`).toEqual([status, '"x"'])
      if (method === 'HEAD') expect(first?.headers.get('content-length')).toBe('1234')
      api.answer = (request, response) => response.end(`${request.url}`)
      connection.close()
    }
  })
})

describe('R523 An upstream that cannot be used', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
      { path: '/api/gone', upstream: 'http://127.0.0.1:9/secret-path', token: 'none' },
      { path: '/api/nowhere', upstream: 'http://no-such-host.localhost:9/secret-path', token: 'none' },
    ],
  }))

  test('is told in our own words: no address, no path, no reason of the system', async () => {
    const { browser, events } = shared()
    for (const path of ['/api/gone/x', '/api/nowhere/x']) {
      const answer = await browser().fetch(path)
      expect([answer.status, answer.headers.get('coatcheck-error')], path).toEqual([502, 'upstream_unreachable'])
      expect(answer.headers.get('cache-control')).toBe('no-store')
      const told = answer.text + JSON.stringify([...answer.headers]) + JSON.stringify(events())
      expect(told, path).not.toMatch(
        /127\.0\.0\.1:9|no-such-host|secret-path|ECONN|ENOTFOUND|errno|\bat [^<\n]+:\d+:\d+/,
      )
    }
  })
})

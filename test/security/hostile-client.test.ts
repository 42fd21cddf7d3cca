// Attack: clients that send too much, too little, too slowly, or go away in the middle.
// R511 R516 R530
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { ask, converse, fromPage, head, openConnection, type RawConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { passed } from '../support/time.ts'

const limit = 64 * 1_024
const page = [...fromPage, 'X-CSRF: 1']

describe('R516 Bodies', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none', bodyLimit: '64KB' },
      { path: '/api/quick', upstream: `${api.url}/quick`, token: 'none', timeout: '1s' },
    ],
  }))
  const chunk = (length: number) => `${length.toString(16)}\r\n${'x'.repeat(length)}\r\n`

  test('that announce more than bodyLimit are 413 before a byte of them is read, and the upstream is not called', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    for (const length of [limit + 1, 10 ** 9, 10 ** 12]) {
      const connection = openConnection(url)
      connection.send(head('POST /api/open/x', [...page, `Content-Length: ${length}`]))
      const answer = await connection.answer()
      connection.close()
      expect([answer?.status, answer?.headers.get('coatcheck-error')], String(length)).toEqual([413, 'body_too_large'])
    }
    expect(api.requests.length).toBe(before)
  })

  test('that grow beyond bodyLimit without saying so are 413, and the upstream gets no whole request', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const connection = openConnection(url)
    connection.send(head('POST /api/open/x', [...page, 'Transfer-Encoding: chunked']))
    for (let sent = 0; sent <= limit; sent += 8_192) connection.send(chunk(8_192))
    const answer = await connection.answer()
    connection.close()
    expect([answer?.status, answer?.headers.get('coatcheck-error')]).toEqual([413, 'body_too_large'])
    expect(api.requests.slice(before).filter(({ body }) => body.length > limit || String(body).endsWith('x'))).toEqual(
      [],
    )
  })

  test('of exactly bodyLimit pass, announced or not', async () => {
    const { url, api } = shared()
    const body = 'x'.repeat(limit)
    expect((await ask(url, 'POST /api/open/x', ['X-CSRF: 1', `Content-Length: ${limit}`], body)).status).toBe(200)
    expect(api.last().body.length).toBe(limit)
    expect(
      (await ask(url, 'POST /api/open/x', ['X-CSRF: 1', 'Transfer-Encoding: chunked'], `${chunk(limit)}0\r\n\r\n`))
        .status,
    ).toBe(200)
    expect(api.last().body.length).toBe(limit)
  })

  for (const framing of ['Content-Length: 20', 'Transfer-Encoding: chunked']) {
    test(`that are slow in coming, with ${framing}, are waited for: the time of the route is for the answer of the upstream`, async () => {
      const { url, api } = shared()
      const connection = openConnection(url)
      connection.send(head('POST /api/quick/x', [...page, framing, 'Connection: close']))
      const start = performance.now()
      for (let sent = 0; sent < 20; sent++) {
        await passed(100)
        connection.send(framing.startsWith('T') ? chunk(1) : 'x')
      }
      if (framing.startsWith('T')) connection.send('0\r\n\r\n')
      const answer = await connection.answer()
      expect(performance.now() - start).toBeGreaterThan(1_500)
      expect([answer?.status, api.last().body.length]).toEqual([200, 20])
    })
  }

  test('that a refused request brings do not become the next request', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const smuggled = head('GET /api/open/smuggled', page)
    for (const line of [
      'POST /api/open/%00',
      'POST /nothing',
      'TRACE /api/open/x',
      'POST /auth/session',
      'DELETE /auth/login',
    ]) {
      const bytes = head(line, ['Sec-Fetch-Site: cross-site', `Content-Length: ${smuggled.length}`]) + smuggled
      const connection = openConnection(url)
      connection.send(bytes + head('GET /api/open/second', [...page, 'Connection: close']))
      await connection.answers().catch(() => [])
      connection.close()
    }
    expect(api.requests.slice(before).filter(({ target }) => target.includes('smuggled'))).toEqual([])
  })

  test('with Expect: 100-continue are asked for, and what else is expected is ignored', async () => {
    const { url, api } = shared()
    const connection = openConnection(url)
    connection.send(
      head('POST /api/open/x', [...page, 'Expect: 100-continue', 'Content-Length: 5', 'Connection: close']),
    )
    await expect.poll(() => connection.received()).toContain('100 Continue')
    connection.send('hello')
    expect((await connection.answer())?.status).toBe(200)
    expect(String(api.last().body)).toBe('hello')
    const [other] = await converse(
      url,
      `${head('POST /api/open/x', [...page, 'Expect: a-miracle', 'Content-Length: 5', 'Connection: close'])}hello`,
    )
    expect(other?.status).toBe(200)
  })
})

/** Ends a connection so that the other side must notice: to workerd a mere end may mean that the client still listens. */
function leave({ socket }: RawConnection): void {
  if (runtime === 'node') socket.destroy()
  else socket.resetAndDestroy()
}

describe('R516 Clients that go away', () => {
  const shared = sharedWorld()

  /** The upstream's side of the next call, once it has begun; it answers nothing by itself. */
  function nextCall(): Promise<{ request: IncomingMessage; response: ServerResponse; gone: () => boolean }> {
    const { api } = shared()
    return new Promise((resolve) => {
      api.answer = (request, response) => {
        let gone = false
        response.on('close', () => (gone = !response.writableFinished))
        resolve({ request, response, gone: () => gone })
      }
    })
  }

  test('while they wait for the answer take the upstream call with them', async () => {
    const call = nextCall()
    const connection = openConnection(shared().url)
    connection.send(head('GET /api/open/x', page))
    const { gone } = await call
    leave(connection)
    await expect.poll(gone).toBe(true)
  })

  test('in the middle of an answer take the upstream call with them', async () => {
    const call = nextCall()
    const connection = openConnection(shared().url)
    connection.send(head('GET /api/open/x', page))
    const { response, gone } = await call
    response.write('x'.repeat(1_000))
    await expect.poll(() => connection.received()).toContain('xxxx')
    leave(connection)
    const timer = setInterval(() => response.write('more'), 50)
    await expect.poll(gone).toBe(true)
    clearInterval(timer)
  })

  for (const framing of ['Content-Length: 1000', 'Transfer-Encoding: chunked']) {
    for (const how of ['end', 'reset'] as const) {
      test(`in the middle of a body with ${framing}, by ${how}, leave the upstream with no whole request`, async () => {
        const { url, api } = shared()
        const begun = new Promise<void>((resolve) => api.server.once('request', () => resolve()))
        const before = api.requests.length
        const connection = openConnection(url)
        const half = framing.startsWith('T') ? '4\r\nhalf\r\n' : 'half'
        connection.send(head('POST /api/open/half', [...page, framing]) + half)
        await begun
        if (how === 'end') connection.close()
        else connection.socket.resetAndDestroy()
        await expect.poll(() => api.requests.length).toBe(before + 1)
        expect(String(api.last().body)).toBe('broken off')
      })
    }
  }

  test('a hundred at a time leave nothing behind: everybody else is served', async () => {
    const { url, api } = shared()
    let open = 0
    api.answer = (_, response) => {
      open++
      response.on('close', () => open--)
    }
    const connections = Array.from({ length: 100 }, () => openConnection(url))
    for (const connection of connections) connection.send(head('GET /api/open/x', page))
    await expect.poll(() => open).toBe(100)
    for (const connection of connections) leave(connection)
    await expect.poll(() => open).toBe(0)
    api.answer = (_, response) => response.end('good')
    expect((await ask(url, 'GET /api/open/x')).text).toBe('good')
  })

  test('that read slowly hold back the upstream instead of filling the memory', async () => {
    const { url } = shared()
    const call = nextCall()
    const connection = openConnection(url)
    connection.socket.pause()
    connection.send(head('GET /api/open/large', page))
    const { response } = await call
    const block = Buffer.alloc(256 * 1_024, 'x')
    const all = 400
    let written = 0
    const pump = () => {
      while (written < all) {
        written++
        if (!response.write(block)) return response.once('drain', pump)
      }
      return undefined
    }
    pump()
    // Until nothing moves any more: two looks in a row at the same figure.
    let last = -1
    await expect
      .poll(
        () => {
          const isStill = written === last
          last = written
          return isStill
        },
        { interval: 300, timeout: 15_000 },
      )
      .toBe(true)
    expect(written * block.length).toBeLessThan(48 * 1_024 * 1_024)
    // And goes on as soon as somebody reads.
    connection.socket.resume()
    await expect.poll(() => written, { timeout: 15_000 }).toBeGreaterThan(last)
    connection.close()
  })
})

describe('R511 Heads', () => {
  const shared = sharedWorld()
  // In front of a Worker Cloudflare's limits hold; workerd by itself has none for a cookie.
  const refusals = runtime === 'node' ? [431] : [200, 400, 413, 431, 500, 503, 'closed']

  test('that are too large are 431 in our own words, and the upstream is not called', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const bombs = {
      'one header of 1 MB': [`X: ${'x'.repeat(1_000_000)}`],
      'a cookie of 300 KB': [`Cookie: a=${'x'.repeat(300_000)}`],
      'ten thousand headers': Array.from({ length: 10_000 }, (_, index) => `X-${index}: ${index}`),
    }
    for (const [what, headers] of Object.entries(bombs)) {
      const connection = openConnection(url)
      connection.send(head('GET /api/open/x', [...page, ...headers]))
      const answer = await connection.answer()
      connection.close()
      expect(refusals, `${what}: ${answer?.status}`).toContain(answer?.status ?? 'closed')
      if (runtime === 'node') expect(answer?.headers.get('coatcheck-error'), what).toBe('headers_too_large')
    }
    if (runtime === 'node') expect(api.requests.length).toBe(before)
  })

  test('that are long but allowed pass whole', async () => {
    const { url, api } = shared()
    expect((await ask(url, 'GET /api/open/x', [`X-Long: ${'x'.repeat(12_000)}`])).status).toBe(200)
    expect(String(api.last().headers['x-long']).length).toBe(12_000)
  })

  test('of many headers lose none that decides: what comes last counts like what comes first', async () => {
    const { url, api } = shared()
    const many = Array.from({ length: 2_500 }, (_, index) => `X${index}: 1`)
    const before = api.requests.length
    const [answer] = await converse(
      url,
      head('GET /api/open/x', [
        'X-CSRF: 1',
        ...many,
        'Sec-Fetch-Site: cross-site',
        'Origin: https://evil.test',
        'Connection: close',
      ]),
    )
    expect([403, 431]).toContain(answer?.status)
    expect(api.requests.length).toBe(before)
  })

  test('R530 that never end do not keep anybody else waiting', async () => {
    const { url } = shared()
    const slow = Array.from({ length: 200 }, () => openConnection(url))
    for (const connection of slow) connection.send('GET /api/open/x HTTP/1.1\r\nHost: app.localhost\r\nX: ')
    expect((await ask(url, 'GET /api/open/x')).status).toBe(200)
    for (const connection of slow) connection.close()
  })
})

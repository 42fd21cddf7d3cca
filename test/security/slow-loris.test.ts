// Attack: whoever stops in the middle, browser or upstream, to hold on to connections and memory that others need.
// R516 R529 R530
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { testOn } from '../support/coatcheck.ts'
import { ask, fromPage, head, openConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

/** Milliseconds. Not so short that a busy machine takes as long for other reasons. */
const stallTimeout = 1_500

describe('R530 R529 Whoever stops in the middle', () => {
  const shared = sharedWorld(({ config, api }) => ({
    routes: [
      ...(config.routes ?? []).map((route) => ({
        ...route,
        timeout: '1s',
        stallTimeout: `${stallTimeout}ms`,
        bodyLimit: '10MB',
      })),
      { path: '/patient', upstream: api.url, token: 'none', timeout: '20s', stallTimeout: `${stallTimeout}ms` },
      { path: '/slow', upstream: api.url, token: 'user', timeout: '15s' },
      { path: '/unhurried', upstream: api.url, token: 'none', timeout: '20s', stallTimeout: '2500ms' },
    ],
  }))

  test('of its request is cut off, at the upstream too, and the upstream is not blamed', async () => {
    const { url, api, logged } = shared()
    let broken = 0
    api.readsBody = false
    api.answer = (request) => void request.on('close', () => broken++).resume()
    for (const framing of ['Content-Length: 1000', 'Transfer-Encoding: chunked']) {
      const failed = logged('upstream.failed').length
      const before = broken
      const connection = openConnection(url)
      connection.send(`${head('POST /api/open/x', [...fromPage, framing])}3e8\r\nhello`)
      const answer = await connection.answer()
      expect(answer?.status, framing).toBe(400)
      await expect.poll(() => broken).toBe(before + 1)
      await expect.poll(() => logged('request.refused').at(-1)).toMatchObject({ reason: 'client_stalled' })
      expect(logged('upstream.failed').length, framing).toBe(failed)
      connection.close()
    }
    api.readsBody = true
  })

  test('of a short request that is read before it is sent on is cut off as well, and not sooner', async () => {
    const { url, browser, api, logged } = shared()
    const page = browser()
    await page.signIn()
    const before = api.requests.length
    const connection = openConnection(url)
    const startedAt = performance.now()
    connection.send(
      `${head('POST /api/x', [...fromPage, `Cookie: ${page.cookieHeader()}`, 'Content-Length: 1000'])}hello`,
    )
    expect((await connection.answer())?.status).toBe(400)
    expect(performance.now() - startedAt).toBeGreaterThan(stallTimeout - 100)
    await expect.poll(() => logged('request.refused').at(-1)).toMatchObject({ reason: 'client_stalled' })
    expect(api.requests.length).toBe(before)
    connection.close()
  })

  /** Sends a body at ten bytes a second. */
  async function sendSlowly({ send }: ReturnType<typeof openConnection>, path: string, length: number): Promise<void> {
    send(head(`POST ${path}`, [...fromPage, `Content-Length: ${length}`]))
    for (let beat = 0; beat < length; beat++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      send('x')
    }
  }

  test('of its request and goes on before the time is over is served', async () => {
    const { url, api } = shared()
    api.answer = (_, response) => void response.end('done')
    const connection = openConnection(url)
    await sendSlowly(connection, '/api/open/x', 20)
    expect((await connection.answer())?.text).toBe('done')
    connection.close()
  })

  test('of nothing, but is slow with its request, has the answer that began meanwhile', async () => {
    const { url, api } = shared()
    api.readsBody = false
    api.answer = (request, response) => {
      response.writeHead(200, { 'content-length': 4 }).flushHeaders()
      request.resume().on('end', () => response.end('done'))
    }
    const connection = openConnection(url)
    await sendSlowly(connection, '/patient/x', 40)
    expect((await connection.answer())?.text).toBe('done')
    connection.close()
    api.readsBody = true
  })

  testOn('node')('of its request, when the answer has begun, is cut off, and the upstream is not blamed', async () => {
    const { url, api, logged } = shared()
    api.readsBody = false
    api.answer = (request, response) => {
      request.resume()
      response.writeHead(200, { 'content-length': 1_000 }).write('begin')
    }
    for (const [framing, reason] of [
      ['Content-Length: 1000', 'client_stalled'],
      ['Transfer-Encoding: chunked', 'body_too_large'],
    ]) {
      const failed = logged('upstream.failed').length
      const connection = openConnection(url)
      connection.send(`${head('POST /patient/x', [...fromPage, framing ?? ''])}5\r\nhello\r\n`)
      await expect.poll(() => connection.received()).toContain('begin')
      if (reason === 'body_too_large') connection.send(`b71b00\r\n${'x'.repeat(12_000_000)}`)
      expect(await connection.answer()).toBeUndefined()
      if (reason === 'body_too_large') {
        await expect.poll(() => logged('request.refused').at(-1)).toMatchObject({ reason, route: '/patient' })
      } else await expect.poll(() => logged('client.stalled').at(-1)).toMatchObject({ route: '/patient' })
      expect(logged('upstream.failed').length, framing).toBe(failed)
      connection.close()
    }
    api.readsBody = true
  })

  testOn('node')('of the body of a refusal is not waited for before the token is renewed', async () => {
    const { browser, api } = shared()
    const page = browser()
    await page.signIn()
    let first: string | undefined
    api.answer = ({ headers }, response) => {
      first ??= headers.authorization
      if (headers.authorization !== first) return void response.end('done')
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"', 'content-length': 100 })
      response.write('begin')
    }
    const startedAt = performance.now()
    expect((await page.fetch('/slow/x')).text).toBe('done')
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })

  testOn('node')('of reading for a while leaves the call behind it on its connection as much time as any', async () => {
    const { url, api } = shared()
    const size = 16_000_000
    api.answer = ({ url: path }, response) => {
      if (path?.includes('next')) setTimeout(() => response.end('next'), 2 * stallTimeout)
      else response.writeHead(200, { 'content-length': size }).end(Buffer.alloc(size, 'x'))
    }
    const connection = openConnection(url)
    connection.socket.pause()
    connection.send(head('GET /patient/x', fromPage))
    connection.send(head('GET /patient/next', fromPage))
    await new Promise((resolve) => setTimeout(resolve, stallTimeout / 2))
    connection.socket.resume()
    expect((await connection.answer())?.text.length).toBe(size)
    expect((await connection.answer())?.text).toBe('next')
    connection.close()
  })

  /** Reads the head of an answer and then nothing. */
  async function openWithoutReading(path: string) {
    const request = httpRequest(new URL(path, shared().url), { agent: false, headers: { 'x-csrf': '1' } })
    request.end()
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request.on('response', resolve).on('error', reject)
    })
    answer.on('error', () => {})
    answer.socket.on('error', () => {})
    return answer
  }

  testOn('node')('of reading is cut off, whether or not the answer has an end', async () => {
    const { api, logged } = shared()
    for (const length of [{ 'content-length': 1_000_000_000 }, {}]) {
      let ended = false
      api.answer = (_, response) => {
        response.writeHead(200, length)
        const chunk = Buffer.alloc(1_000_000)
        const more = () => {
          while (!response.destroyed && response.write(chunk));
        }
        response.on('drain', more).on('close', () => (ended = true))
        more()
      }
      const before = logged('client.stalled').length
      const answer = await openWithoutReading('/patient/x')
      await expect.poll(() => ended).toBe(true)
      expect(logged('client.stalled').length).toBe(before + 1)
      answer.destroy()
    }
  })

  testOn('node')('of reading a file is cut off as well, however much of it lies in between', async () => {
    const { api, logged } = shared()
    // More than the systems on both sides take for themselves.
    const size = 16_000_000
    api.answer = (_, response) => void response.writeHead(200, { 'content-length': size }).end(Buffer.alloc(size))
    const before = logged('client.stalled').length
    const answers = await Promise.all(Array.from({ length: 5 }, () => openWithoutReading('/patient/x')))
    await expect.poll(() => logged('client.stalled').length).toBe(before + 5)
    for (const answer of answers) answer.destroy()
  })

  test('of reading for a while, but not for ever, gets everything', async () => {
    const { api } = shared()
    const size = 8_000_000
    api.answer = (_, response) => void response.writeHead(200, { 'content-length': size }).end(Buffer.alloc(size))
    const answer = await openWithoutReading('/patient/x')
    let got = 0
    for await (const chunk of answer) {
      got += chunk.length
      // Slower than any line, and longer in sum than the time for one standstill.
      if (got % 10 === 0 || Math.random() < 0.1) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(got).toBe(size)
  })

  testOn('node')('of an answer with an announced length, as an upstream, is cut off', async () => {
    const { url, api, logged } = shared()
    interface Case {
      route: string
      length: number
      part: string
      body?: string
      headAfter?: number
    }
    const routes = ['/api/open', '/patient', '/unhurried']
    const cases: Case[] = [
      ...routes.map((route) => ({ route, length: 1_000, part: '' })),
      ...routes.map((route) => ({ route, length: 1_000, part: 'x'.repeat(100) })),
      ...['', 'x'.repeat(100), 'x'.repeat(100_000)].map((part) => ({ route: '/api/open', length: 1_000_000, part })),
      { route: '/unhurried', length: 1_000_000, part: 'x'.repeat(100_000) },
      ...[1_000, 1_000_000].map((length) => ({ route: '/patient', length, part: '', body: 'hello' })),
      ...[1_000, 1_000_000].map((length) => ({ route: '/patient', length, part: '', headAfter: 1_500 })),
    ]
    const before = logged('upstream.failed').length
    const ended = new Set<string>()
    api.answer = ({ url: path = '' }, response) => {
      const { length, part = '', headAfter } = cases[Number(path.split('/').at(-1))] ?? {}
      setTimeout(() => {
        response.writeHead(200, { 'content-length': length }).flushHeaders()
        response.write(part)
        response.on('close', () => ended.add(path))
      }, headAfter)
    }
    const cutOff = cases.map(async ({ route, body, headAfter = 0 }, index) => {
      const startedAt = performance.now()
      const line = `${body ? 'POST' : 'GET'} ${route}/${index}`
      const asked = ask(url, line, body ? [`Content-Length: ${body.length}`] : [], body)
      await expect(asked, line).rejects.toThrow(/closed without an answer/)
      const patience = route === '/unhurried' ? 2_500 : stallTimeout
      expect(performance.now() - startedAt, line).toBeGreaterThan(headAfter + patience - 100)
    })
    await Promise.all(cutOff)
    await expect.poll(() => ended.size).toBe(cases.length)
    const told = logged('upstream.failed').slice(before)
    expect(told.map(({ reason }) => reason)).toEqual(cases.map(() => 'upstream_stalled'))
  })

  test('of an answer without an end may: event streams are silent for as long as they like', async () => {
    const { url, api } = shared()
    let send = (_: string) => {}
    api.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      send = (text) => response.write(text)
    }
    const connection = openConnection(url)
    connection.send(head('GET /api/open/x', [...fromPage, 'Accept: text/event-stream']))
    await expect.poll(() => connection.received()).toContain('data: 1')
    await new Promise((resolve) => setTimeout(resolve, 2 * stallTimeout))
    send('data: 2\n\n')
    await expect.poll(() => connection.received()).toContain('data: 2')
    connection.close()
  })

  // workerd looks after this itself.
  testOn('node')('of a request that has its answer is cut off after a while', async () => {
    const connection = openConnection(shared().url)
    connection.send(`${head('POST /api/x', [...fromPage, 'Content-Length: 1000'])}begin`)
    expect((await connection.answer())?.status).toBe(401)
    expect(await connection.answer()).toBeUndefined()
    connection.close()
  })

  testOn('node')('never, but sends and sends what was refused, is cut off too', async () => {
    const connection = openConnection(shared().url)
    connection.send(head('POST /api/x', [...fromPage, 'Transfer-Encoding: chunked']))
    expect((await connection.answer())?.status).toBe(401)
    const { socket } = connection
    const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(1_048_576), Buffer.from('\r\n')])
    let sent = 0
    const more = () => {
      while (!socket.destroyed && socket.write(chunk)) sent += chunk.length
    }
    socket.on('drain', more)
    more()
    await expect.poll(() => socket.destroyed, { timeout: 15_000, interval: 50 }).toBe(true)
    // Much is taken, because most who send much mean well.
    expect(sent).toBeGreaterThan(200_000_000)
  })
})

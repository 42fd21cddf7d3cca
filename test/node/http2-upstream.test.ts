import { request as httpRequest, type IncomingMessage } from 'node:http'
import { createSecureServer, type ServerHttp2Session } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { Server } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { selfSigned } from '../support/certificate.ts'
import { startWorld } from '../support/coatcheck.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { ask } from '../support/raw.ts'
import { constants, type SecureUpstream, startSecureUpstream } from '../support/secure-upstream.ts'
import { sharedWorld } from '../support/shared-world.ts'

let api: SecureUpstream
beforeAll(async () => {
  api = await startSecureUpstream({ settings: { maxConcurrentStreams: 50 } })
})
afterAll(() => api.close())
beforeEach(() => {
  api.calls.length = 0
  api.answer = (request, response) => void response.end(`${request.method} ${request.url} ${request.httpVersion}`)
})

/** Opens a request and hands out the response while it is still under way. */
function open(url: string, path: string, method = 'GET', headers: Record<string, string> = {}) {
  const request = httpRequest(new URL(path, url), { method, agent: false, headers: { 'x-csrf': '1', ...headers } })
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
  })
  response.catch(() => {})
  return { request, response }
}

async function sizeOf(answer: IncomingMessage): Promise<number> {
  let size = 0
  for await (const chunk of answer) size += chunk.length
  return size
}

describe('An upstream that speaks HTTP/2', () => {
  const shared = sharedWorld(() => {
    const upstream = { upstream: api.url, token: 'none', tls: { ca: api.certificate.cert } } as const
    return {
      routes: [
        { path: '/api', ...upstream, timeout: '2s', bodyLimit: '1GB', stallTimeout: '2s' },
        { path: '/old', ...upstream, http2: false },
      ],
    }
  })

  test('is called by HTTP/2, many calls over one connection', async () => {
    const { url } = shared()
    const answers = await Promise.all(Array.from({ length: 40 }, (_, index) => ask(url, `GET /api/${index}?q=%20`)))
    expect(answers.map(({ text }) => text)).toEqual(answers.map((_, index) => `GET /${index}?q=%20 2.0`))
    expect(api.sessions.size).toBe(1)
  })

  test('is called by HTTP/1.1 where the route says so', async () => {
    expect((await ask(shared().url, 'GET /old/x')).text).toBe('GET /x 1.1')
  })

  test('gets and gives headers as over HTTP/1.1', async () => {
    const { url } = shared()
    let got: Record<string, unknown> = {}
    api.answer = (request, response) => {
      got = { ...request.headers }
      response.writeHead(201, {
        'set-cookie': ['a=1', 'b=2'],
        'x-list': ['one', 'two'],
        'content-type': 'text/x; charset=latin1',
        'cache-control': 'max-age=5',
      })
      response.end(Buffer.from('caf\xe9', 'latin1'))
    }
    const answer = await ask(url, 'GET /api/x', [
      'Cookie: secret=1',
      'Authorization: Bearer stolen',
      'TE: trailers',
      'X-Mine: a, b',
      'Accept-Language: de',
    ])
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual(Buffer.from('caf\xe9', 'latin1'))
    expect(answer.setCookie).toEqual([])
    expect(answer.headers.get('x-list')).toBe('one, two')
    expect(answer.headers.get('cache-control')).toBe('max-age=5')
    expect(got).toMatchObject({ ':authority': `localhost:${api.port}`, 'x-mine': 'a, b', 'accept-language': 'de' })
    expect(Object.keys(got).filter((name) => /^(cookie|authorization|te|host|connection)$/.test(name))).toEqual([])
  })

  test('has bodies pass through both ways, of known and unknown length', async () => {
    const { url } = shared()
    api.answer = (request, response) => {
      response.setHeader('x-length', request.headers['content-length'] ?? 'none')
      request.pipe(response)
    }
    const body = 'x'.repeat(300_000)
    const known = await ask(url, 'POST /api/x', [`Content-Length: ${body.length}`], body)
    expect([known.status, known.headers.get('x-length'), known.text === body]).toEqual([200, '300000', true])
    const chunked = await ask(url, 'POST /api/x', ['Transfer-Encoding: chunked'], '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n')
    expect([chunked.status, chunked.headers.get('x-length'), chunked.text]).toEqual([200, 'none', 'abcde'])
  })

  test('answers HEAD, 204 and 304 without a body, and its 1xx and trailers stay behind', async () => {
    const { url } = shared()
    api.answer = (request, response) => {
      if (request.url === '/204' || request.url === '/304')
        return void response.writeHead(Number(request.url.slice(1))).end()
      response.writeEarlyHints({ link: '</SECRET>; rel=preload' })
      response.setHeader('content-length', '4')
      response.addTrailers({ 'x-late': 'SECRET', 'set-cookie': 'a=SECRET' })
      return void response.end('good')
    }
    for (const status of [204, 304]) {
      const answer = await ask(url, `GET /api/${status}`)
      expect([answer.status, answer.text]).toEqual([status, ''])
    }
    const connection = await ask(url, 'GET /api/x')
    expect([connection.status, connection.text]).toEqual([200, 'good'])
    expect(JSON.stringify([...connection.headers])).not.toMatch(/SECRET|x-late/)
  })

  test('loses one call when it resets its stream, and keeps the connection for the others', async () => {
    const { url } = shared()
    let release = () => {}
    api.answer = (request, response) => {
      if (request.url === '/slow') release = () => void response.end('slow')
      else if (request.url === '/reset') response.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
      else if (request.url === '/half') {
        response.writeHead(200)
        response.write('half', () => response.stream.close(constants.NGHTTP2_INTERNAL_ERROR))
      } else response.end('good')
    }
    await ask(url, 'GET /api/warm')
    const session = [...api.sessions][0]
    const slow = ask(url, 'GET /api/slow')
    await expect.poll(() => api.calls.length).toBe(2)
    expect((await ask(url, 'POST /api/reset', ['X-CSRF: 1', 'Content-Length: 0'])).headers.get('coatcheck-error')).toBe(
      'upstream_unreachable',
    )
    await expect(ask(url, 'GET /api/half')).rejects.toThrow(/closed without an answer/)
    release()
    expect((await slow).text).toBe('slow')
    expect((await ask(url, 'GET /api/x')).text).toBe('good')
    expect([...api.sessions][0]).toBe(session)
  })

  test('that says goodbye (GOAWAY) finishes what it began, and gets the next calls on a new connection', async () => {
    const { url } = shared()
    let release = () => {}
    api.answer = (request, response) => {
      if (request.url === '/slow') {
        release = () => void response.end('slow')
        request.stream.session?.goaway(constants.NGHTTP2_NO_ERROR, request.stream.id)
      } else response.end('good')
    }
    const slow = ask(url, 'GET /api/slow')
    await expect.poll(() => api.calls.length).toBe(1)
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(url, 'GET /api/x')))
    expect(answers.map(({ text }) => text)).toEqual(Array(20).fill('good'))
    release()
    expect((await slow).text).toBe('slow')
  })

  test('that breaks off the connection costs the calls under way an honest error, and nobody else', async () => {
    const { url } = shared()
    api.answer = (request, response) => {
      if (request.url !== '/wait') response.end('good')
    }
    const calls = Array.from({ length: 30 }, () => ask(url, 'POST /api/wait', ['X-CSRF: 1', 'Content-Length: 0']))
    await expect.poll(() => api.calls.length).toBe(30)
    for (const socket of api.open) socket.destroy()
    const answers = await Promise.all(calls)
    expect(new Set(answers.map(({ headers }) => headers.get('coatcheck-error')))).toEqual(
      new Set(['upstream_unreachable']),
    )
    expect(api.calls.length).toBe(30)
    const next = await Promise.all(Array.from({ length: 60 }, () => ask(url, 'GET /api/x')))
    expect(next.map(({ text }) => text)).toEqual(Array(60).fill('good'))
  })

  test('opens another connection when one has as many streams as it may', async () => {
    const { url } = shared()
    const held: (() => void)[] = []
    api.answer = (_, response) => void held.push(() => response.end('good'))
    const calls = Array.from({ length: 120 }, () => ask(url, 'GET /api/x'))
    await expect.poll(() => held.length).toBe(120)
    expect(api.sessions.size).toBeGreaterThan(1)
    for (const release of held) release()
    expect((await Promise.all(calls)).map(({ text }) => text)).toEqual(Array(120).fill('good'))
  })

  test('is not held up for everybody by browsers that do not read', async () => {
    const { url } = shared()
    const chunk = Buffer.alloc(65_536)
    let sent = 0
    api.answer = (request, response) => {
      if (!request.url.startsWith('/big')) return void response.end('good')
      const more = () => {
        while (!response.destroyed && response.write(chunk)) sent++
      }
      response.on('drain', more)
      more()
    }
    const lazy = await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        const { request, response } = open(url, `/api/big/${index}`)
        request.end()
        await response
        return request
      }),
    )
    const seen: number[] = []
    await expect.poll(() => seen.push(sent) > 1 && seen.at(-1) === seen.at(-2), { interval: 200 }).toBe(true)
    expect((await ask(url, 'GET /api/x')).text).toBe('good')
    for (const request of lazy) request.destroy()
  })

  test('has a browser that leaves end its stream, and nothing else', async () => {
    const { url } = shared()
    let ended = 0
    api.answer = (_, response) => {
      response.on('close', () => ended++)
      response.writeHead(200).write('data: 1\n\n')
    }
    const calls = Array.from({ length: 5 }, () => open(url, '/api/stream'))
    for (const { request } of calls) request.end()
    await Promise.all(calls.map(({ response }) => response))
    calls[0]?.request.destroy()
    await expect.poll(() => ended).toBe(1)
    for (const { request } of calls) request.destroy()
    await expect.poll(() => ended).toBe(5)
    expect(api.sessions.size).toBeGreaterThan(0)
  })

  test('that answers before it has the whole request has its answer delivered', async () => {
    const { url } = shared()
    api.answer = (_, response) => {
      response.writeHead(413)
      response.end('too much')
    }
    const { request, response } = open(url, '/api/x', 'POST', { 'content-length': '5000000' })
    request.write(Buffer.alloc(100_000))
    const answer = await response
    expect(answer.statusCode).toBe(413)
    request.end(Buffer.alloc(4_900_000))
    expect(await sizeOf(answer)).toBe(8)
    api.answer = (_, response) => void response.end('good')
    expect((await ask(url, 'GET /api/x')).text).toBe('good')
  })

  test('may take an upload that lasts longer than the time-out, as long as it moves', async () => {
    const { url } = shared()
    api.answer = (request, response) => void request.resume().on('end', () => response.end('done'))
    const { request, response } = open(url, '/api/x', 'POST', { 'content-length': '30' })
    for (let beat = 0; beat < 30; beat++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      request.write('x')
    }
    request.end()
    const answer = await response
    expect(answer.statusCode).toBe(200)
    answer.resume()
  })
})

describe('An upstream that speaks nothing but HTTP/2', () => {
  let only: SecureUpstream
  beforeAll(async () => {
    only = await startSecureUpstream({ allowHTTP1: false })
  })
  afterAll(() => only.close())
  const shared = sharedWorld(() => {
    const upstream = { upstream: only.url, token: 'none', tls: { ca: only.certificate.cert } } as const
    return {
      routes: [
        { path: '/api', ...upstream },
        { path: '/old', ...upstream, http2: false },
      ],
    }
  })

  test('is reached; a route that does not offer HTTP/2 says that it is not', async () => {
    const { url } = shared()
    expect((await ask(url, 'GET /api/x')).text).toBe('GET /x 2.0')
    expect((await ask(url, 'GET /old/x')).headers.get('coatcheck-error')).toBe('upstream_unreachable')
  })
})

test('An upstream that spoke HTTP/1.1 and comes back with nothing but HTTP/2 is found again', async () => {
  const { key, cert } = selfSigned('localhost')
  const port = await freePort()
  const started = (server: Server) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const stopped = (server: Server) => new Promise((resolve) => server.close(resolve))
  const first = createHttpsServer({ key, cert }, (_, response) => void response.end('HTTP/1.1'))
  await started(first)
  const { url } = await startWorld({
    routes: [{ path: '/api', upstream: `https://localhost:${port}`, token: 'none', tls: { ca: cert } }],
  })
  expect((await ask(url, 'GET /api/x')).text).toBe('HTTP/1.1')
  first.closeAllConnections()
  await stopped(first)
  const second = createSecureServer({ key, cert }, (_, response) => void response.end('HTTP/2'))
  const sessions: ServerHttp2Session[] = []
  second.on('session', (session) => sessions.push(session))
  await started(second)
  closeAfterTest({
    close() {
      for (const session of sessions) session.destroy()
      return stopped(second)
    },
  })
  await expect.poll(async () => (await ask(url, 'GET /api/x')).text).toBe('HTTP/2')
})

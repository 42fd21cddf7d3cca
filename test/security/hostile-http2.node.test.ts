// Attack: an upstream that misuses HTTP/2, and browsers that leave meanwhile, until the process ends or nobody is served.
// R516 R523 R529 R632
import { request as httpRequest } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { selfSigned } from '../support/certificate.ts'
import { startWorld } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { ask, fromPage, head, openConnection } from '../support/raw.ts'
import { answerHead, data, goaway, mostStreams, startRawHttp2Upstream } from '../support/raw-http2-upstream.ts'
import { constants, type SecureUpstream, startSecureUpstream } from '../support/secure-upstream.ts'
import { sharedWorld } from '../support/shared-world.ts'

let api: SecureUpstream
beforeAll(async () => {
  api = await startSecureUpstream({ settings: { maxConcurrentStreams: 20 } })
})
afterAll(() => api.close())

/** What a call comes to: its status, `cut`, `left` or `hangs`. With a body it sends 150 KB. */
function outcome(url: string, body: 'none' | 'announced' | 'chunked', leavesAfter?: number): Promise<string> {
  return new Promise((resolve) => {
    const length = body === 'announced' ? { 'content-length': 150_000 } : {}
    const request = httpRequest(new URL('/api/x', url), {
      method: body === 'none' ? 'GET' : 'POST',
      agent: false,
      headers: { 'x-csrf': '1', ...length },
    })
    const timer = setTimeout(() => resolve('hangs'), 15_000)
    const end = (what: string) => {
      clearTimeout(timer)
      resolve(what)
    }
    request.on('response', (answer) => {
      answer.on('end', () => end(String(answer.statusCode))).on('error', () => end('cut'))
      answer.resume()
    })
    request.on('error', () => end('cut'))
    if (body !== 'none') request.write(Buffer.alloc(150_000))
    request.end()
    if (leavesAfter === undefined) return
    setTimeout(() => {
      request.destroy()
      end('left')
    }, leavesAfter)
  })
}

type Answer = (request: Http2ServerRequest, response: Http2ServerResponse) => void

/** Each misuse, and what browsers may be told. */
const misuses: Record<string, { does: Answer; allowed: RegExp }> = {
  'resets before the head': {
    does: (_, { stream }) => stream.close(constants.NGHTTP2_INTERNAL_ERROR),
    allowed: /^502$/,
  },
  'resets as if nothing was wrong': {
    does: (_, { stream }) => stream.close(constants.NGHTTP2_NO_ERROR),
    allowed: /^502$/,
  },
  'refuses every stream': { does: (_, { stream }) => stream.close(constants.NGHTTP2_REFUSED_STREAM), allowed: /^502$/ },
  'resets inside the body': {
    does: (_, response) => {
      response.writeHead(200)
      response.write('half', () => response.stream.close(constants.NGHTTP2_CANCEL))
    },
    allowed: /^(cut|502)$/,
  },
  'says goodbye to each call and never answers': {
    does: (request) => request.stream.session?.goaway(constants.NGHTTP2_NO_ERROR, 0),
    allowed: /^50[24]$/,
  },
  'ends each connection in anger': {
    does: (request) => request.stream.session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM),
    allowed: /^50[24]$/,
  },
  'closes the session under the calls': { does: (request) => request.stream.session?.destroy(), allowed: /^502$/ },
  'cuts the connection': { does: (request) => request.stream.session?.socket.destroy(), allowed: /^502$/ },
  'sends less than it announced': {
    does: (_, response) => response.writeHead(200, { 'content-length': 1_000 }).end('short'),
    allowed: /^(cut|502)$/,
  },
  'sends more than it announced': {
    does: (_, response) => response.writeHead(200, { 'content-length': 3 }).end('longer'),
    allowed: /^(cut|502)$/,
  },
  'answers at once and takes no body': { does: (_, response) => response.writeHead(413).end('no'), allowed: /^413$/ },
  // 502: of the calls that take the place of one whose browser left, Node's server refuses those that come before it has
  // forgotten that one (ENHANCE_YOUR_CALM).
  'never answers': { does: () => {}, allowed: /^50[24]$/ },
}

describe('R632 R523 An upstream that misuses HTTP/2', { timeout: 60_000 }, () => {
  const shared = sharedWorld(() => ({
    routes: [
      {
        path: '/api',
        upstream: api.url,
        token: 'none',
        timeout: '3s',
        stallTimeout: '3s',
        tls: { ca: api.certificate.cert },
      },
    ],
  }))

  for (const [what, { does, allowed }] of Object.entries(misuses)) {
    test(`and ${what} costs the calls that it concerns, and nobody else`, async () => {
      const { url, events } = shared()
      const wrong: string[] = []
      for (const body of ['none', 'announced', 'chunked'] as const) {
        api.answer = does
        const calls = Array.from({ length: 24 }, (_, index) =>
          outcome(url, body, index % 3 === 0 ? index * 4 : undefined),
        )
        for (const told of await Promise.all(calls)) {
          if (told !== 'left' && !allowed.test(told)) wrong.push(`${body} -> ${told}`)
        }
        api.answer = (request, response) => void request.resume().on('end', () => response.end('good'))
        // An old connection may still have to be found out, but not by more than its calls.
        await expect.poll(() => outcome(url, body), { interval: 20 }).toBe('200')
        const next = await Promise.all(Array.from({ length: 30 }, () => outcome(url, body)))
        wrong.push(...next.filter((told) => told !== '200').map((told) => `${body}, afterwards -> ${told}`))
      }
      expectNone(wrong)
      expect(events().filter(({ event }) => event === 'internal.error')).toEqual([])
    })
  }

  test('is asked at most twice for a call that it refuses', async () => {
    const { url } = shared()
    api.calls.length = 0
    api.answer = (_, { stream }) => stream.close(constants.NGHTTP2_REFUSED_STREAM)
    expect((await ask(url, 'GET /api/x')).status).toBe(502)
    expect(api.calls.length).toBe(2)
  })
})

describe('R529 An upstream that is there, and is not', () => {
  const routeTo = (url: string, ca: string) => [
    { path: '/api', upstream: url, token: 'none' as const, timeout: '500ms', tls: { ca } },
  ]

  test('and takes no calls (SETTINGS_MAX_CONCURRENT_STREAMS 0) is 504, not an endless row of connections', async () => {
    const shut = closeAfterTest(await startSecureUpstream({ settings: { maxConcurrentStreams: 0 } }))
    const { url } = await startWorld({ routes: routeTo(shut.url, shut.certificate.cert) })
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(url, 'GET /api/x')))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([504]))
    expect(shut.connections.count).toBe(1)
    for (const session of shut.sessions) session.settings({ maxConcurrentStreams: 10 })
    await expect.poll(async () => (await ask(url, 'GET /api/x')).status).toBe(200)
  })

  test('and takes no calls over a connection any more is tried over another one after a while', async () => {
    const api = closeAfterTest(
      await startRawHttp2Upstream((socket, stream) => {
        socket.write(Buffer.concat([answerHead(stream), data(stream, 'good', 'last')]))
        // The first connection is forgotten: nothing that was said over it will ever change.
        if (api.connections.count === 1) socket.write(mostStreams(0))
      }),
    )
    const { url } = await startWorld({ routes: routeTo(api.url, api.ca) })
    expect((await ask(url, 'GET /api/x')).text).toBe('good')
    await expect.poll(async () => (await ask(url, 'GET /api/x')).status).toBe(504)
    expect(api.connections.count).toBe(1)
    await expect.poll(async () => (await ask(url, 'GET /api/x')).status).toBe(200)
    expect(api.connections.count).toBe(2)
  })

  test('and says goodbye without taking calls before is tried over another one at once', async () => {
    const api = closeAfterTest(
      await startRawHttp2Upstream((socket, stream) => {
        socket.write(
          Buffer.concat([answerHead(stream), data(stream, 'good', api.connections.count > 1 ? 'last' : 'more')]),
        )
        if (api.connections.count === 1) socket.write(Buffer.concat([mostStreams(0), goaway(stream)]))
      }),
    )
    const { url } = await startWorld({ routes: routeTo(api.url, api.ca) })
    // Its answer is not over yet, and so the connection is still there.
    const begun = openConnection(url)
    begun.send(head('GET /api/x', fromPage))
    await expect.poll(() => begun.received()).toContain('good')
    expect((await ask(url, 'GET /api/x')).status).toBe(200)
    begun.close()
  })

  test.each([
    ['says nothing', ''],
    ['speaks no HTTP/2 after all', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECRET'],
    ['sends garbage', '\xff'.repeat(4_000)],
  ])('and %s once it agreed on HTTP/2 is 502 or 504', async (_, bytes) => {
    const certificate = selfSigned('localhost')
    const open = new Set<Socket>()
    const server = createTlsServer({ ...certificate, ALPNProtocols: ['h2'] }, (socket) => {
      open.add(socket)
      socket.on('error', () => {}).resume()
      socket.write(Buffer.from(bytes, 'latin1'))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closeAfterTest({
      close: async () => {
        for (const socket of open) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      },
    })
    const { url } = await startWorld({
      routes: routeTo(`https://localhost:${(server.address() as AddressInfo).port}`, certificate.cert),
    })
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(url, 'GET /api/x')))
    expect(answers.filter(({ status }) => status !== 502 && status !== 504)).toEqual([])
    expect(answers.filter(({ text }) => text.includes('SECRET'))).toEqual([])
  })

  test('behind a connection that died without a word is found on another one', async () => {
    const behind = closeAfterTest(await startSecureUpstream())
    const sockets: [Socket, Socket][] = []
    const relay = createServer((near) => {
      const far = connect(behind.port, '127.0.0.1')
      for (const socket of [near, far]) socket.on('error', () => {})
      near.pipe(far).pipe(near)
      sockets.push([near, far])
    })
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
    closeAfterTest({
      close: async () => {
        for (const socket of sockets.flat()) socket.destroy()
        await new Promise((resolve) => relay.close(resolve))
      },
    })
    const { port } = relay.address() as AddressInfo
    const { url } = await startWorld({ routes: routeTo(`https://localhost:${port}`, behind.certificate.cert) })
    expect((await ask(url, 'GET /api/x')).status).toBe(200)
    // From now on nothing gets through, and nobody is told.
    for (const [near, far] of sockets) near.unpipe(far).pause()
    expect((await ask(url, 'GET /api/x')).status).toBe(504)
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(url, 'GET /api/x')))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(sockets.length).toBe(2)
  })
})

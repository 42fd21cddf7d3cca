// What only Node does for WebSockets: back-pressure, pings of our own, the server's end, and what shares a connection.
import { dirname, join } from 'node:path'
import { Hono } from 'hono'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { serve } from '../../src/node.ts'
import { selfSigned } from '../support/certificate.ts'
import { openCoatcheck, startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { fileWith } from '../support/command.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { head, openConnection } from '../support/raw.ts'
import { startRawUpstream } from '../support/raw-upstream.ts'
import { startRedis } from '../support/redis-server.ts'
import { startSecureUpstream } from '../support/secure-upstream.ts'
import { passed } from '../support/time.ts'
import type { Upstream } from '../support/upstream.ts'
import { type Message, openPage, peerOf, refusalOf, takeWebSockets } from '../support/websocket.ts'
import { frame, handshakeLines, opcodes } from '../support/websocket-frames.ts'

const startLive = () =>
  startWorld(({ api }) => ({
    routes: [
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none', websocket: true },
      { path: '/api/plain', upstream: `${api.url}/plain`, token: 'none' },
    ],
  }))

const handshake = (world: World, path = '/api/open') =>
  head(`GET ${path}`, [...handshakeLines, `Origin: ${world.publicUrl}`])

/** Sends until the other side has not taken more for a while; returns what it took by then, and what finishes it. */
async function sendMuch(socket: WebSocket): Promise<{ takenAtFirst: number; sent: number }> {
  const message = Buffer.alloc(262_144)
  const count = 200
  for (let number = 0; number < count; number++) socket.send(message)
  const left: number[] = []
  const isStuck = () => left.push(socket.bufferedAmount) > 1 && left.at(-1) === left.at(-2)
  await expect.poll(isStuck, { interval: 200 }).toBe(true)
  return { takenAtFirst: count * message.length - socket.bufferedAmount, sent: count * message.length }
}

const lengthOf = (messages: Message[]) => messages.reduce((sum, { data }) => sum + data.length, 0)

describe('a WebSocket whose reader stops', { timeout: 60_000 }, () => {
  test.each(['page', 'upstream'] as const)(
    'takes no more from the other side until the %s reads again',
    async (reader) => {
      const world = await startLive()
      const api = takeWebSockets(world.api)
      api.accepted = () => {}
      const page = await openPage(world, '/api/open')
      const [reading, writing] = reader === 'page' ? [page, api.last()] : [api.last(), page]
      reading.socket.pause()
      const before = process.memoryUsage.rss()
      const { takenAtFirst, sent } = await sendMuch(writing.socket)
      expect(takenAtFirst).toBeLessThan(sent / 2)
      expect(process.memoryUsage.rss() - before).toBeLessThan(sent * 2)
      reading.socket.resume()
      // Masked twice and unmasked twice, all of it in this process.
      await expect.poll(() => lengthOf(reading.messages), { timeout: 40_000 }).toBe(sent)
    },
  )

  test('ends at once when the side that writes is cut off', async () => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const page = await openPage(world, '/api/open')
    page.socket.pause()
    const upstream = api.last()
    await sendMuch(upstream.socket)
    page.socket.terminate()
    expect((await upstream.closed).code).toBe(1006)
    await expect.poll(() => world.logged('websocket.closed')).toMatchObject([{ by: 'browser', closeCode: 1006 }])
  })
})

describe('a WebSocket of which nothing is heard', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  test('is pinged on both sides, and cut when one of them does not answer', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const healthy = await openPage(world, '/api/open')
    const silent = peerOf(
      new WebSocket(`${world.url.replace('http', 'ws')}/api/open`, { origin: world.publicUrl, autoPong: false }),
    )
    await expect.poll(() => api.peers.length).toBe(2)
    await expect.poll(() => silent.socket.readyState).toBe(WebSocket.OPEN)
    vi.advanceTimersByTime(30_000)
    await expect.poll(() => [healthy, silent, ...api.peers].map(({ pings }) => pings.length)).toEqual([1, 1, 1, 1])
    // Whoever hears a pong from coatcheck knows that its own, which it sent before, has arrived there.
    let pongs = 0
    for (const { socket } of [healthy, ...api.peers]) socket.on('pong', () => pongs++).ping()
    await expect.poll(() => pongs).toBe(3)
    expect(silent.end).toBeUndefined()
    vi.advanceTimersByTime(30_000)
    expect((await silent.closed).code).toBe(1006)
    expect((await api.last().closed).code).toBe(1006)
    expect(healthy.end).toBeUndefined()
    await expect
      .poll(() => world.logged('websocket.closed'))
      .toMatchObject([{ by: 'browser', closeCode: 1006, reason: 'websocket_silent' }])
  })
})

describe('a server that is told to stop', () => {
  test('closes its WebSockets with 1001 and does not wait for those that do not answer', async () => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const coatcheck = await openCoatcheck(world.as, world.api, ({ api: upstream }) => ({
      routes: [{ path: '/api/open', upstream: upstream.url, token: 'none', websocket: true }],
    }))
    const [polite, deaf] = [await openPage(coatcheck, '/api/open'), await openPage(coatcheck, '/api/open')]
    deaf.socket.pause()
    const start = Date.now()
    await coatcheck.close()
    expect(Date.now() - start).toBeLessThan(6_000)
    expect(await polite.closed).toEqual({ code: 1001, reason: 'server stopping' })
    expect((await api.peers[0]?.closed)?.code).toBe(1001)
    expect(coatcheck.logged('websocket.closed')).toMatchObject(
      [0, 1].map(() => ({ by: 'coatcheck', closeCode: 1001, reason: 'websocket_server_stopping' })),
    )
    expect(coatcheck.logged('server.stopped')).toHaveLength(1)
  })

  test('ends although a handshake is under way', async () => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    api.refuse = () => true
    const coatcheck = await openCoatcheck(world.as, world.api, ({ api: upstream }) => ({
      routes: [{ path: '/api/open', upstream: upstream.url, token: 'none', websocket: true, timeout: '1s' }],
    }))
    const opening = refusalOf(openPage(coatcheck, '/api/open'))
    await expect.poll(() => api.handshakes.length).toBe(1)
    await coatcheck.close()
    expect((await opening).status).toBe(504)
  })
})

describe('the connection of a handshake', () => {
  test('may bring a message right behind it', async () => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const connection = openConnection(world.url)
    connection.send(Buffer.concat([Buffer.from(handshake(world)), frame(opcodes.text, 'early')]))
    await expect.poll(() => api.peers[0]?.messages.map(({ data }) => String(data))).toEqual(['early'])
    await expect.poll(() => connection.received()).toContain('early')
    connection.close()
  })

  test('switches only when what came before is answered', async () => {
    const world = await startLive()
    takeWebSockets(world.api)
    let answerNow = () => {}
    world.api.answer = (_, response) => {
      answerNow = () => response.end('first')
    }
    const connection = openConnection(world.url)
    connection.send(head('GET /api/plain', [`Origin: ${world.publicUrl}`]) + handshake(world))
    await expect.poll(() => world.api.requests.length).toBe(1)
    answerNow()
    await expect.poll(() => connection.received()).toContain('101 Switching Protocols')
    expect(connection.received()).toMatch(/^HTTP\/1\.1 200 .*first.*HTTP\/1\.1 101 /s)
    connection.close()
  })

  test('closes behind a refusal, and what follows is no request', async () => {
    const world = await startLive()
    takeWebSockets(world.api).refuse = (_, socket) => !!socket.end('HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n')
    const connection = openConnection(world.url)
    connection.send(handshake(world) + head('GET /api/plain', ['X-CSRF: 1']))
    expect((await connection.answers()).map(({ status }) => status)).toEqual([403])
    expect(world.api.requests).toEqual([])
  })

  test.each([
    ['a body', ['Content-Length: 2'], 'hi'],
    ['another protocol besides', ['Upgrade: h2c'], ''],
  ])('that has %s stays an ordinary one', async (_, more, body) => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const ordinary = [
      head('GET /api/open', [...handshakeLines, `Origin: ${world.publicUrl}`, ...more]) + body,
      handshake(world, '/api/plain'),
      head('GET /api/plain', ['X-CSRF: 1', 'Connection: Upgrade', 'Upgrade: h2c']),
    ]
    for (const request of ordinary) {
      const connection = openConnection(world.url)
      connection.send(request)
      expect((await connection.answer())?.status).toBe(200)
      connection.close()
    }
    expect(api.handshakes).toEqual([])
    await openPage(world, '/api/open')
  })

  test('may break at any moment without harm', async () => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    api.refuse = () => true
    const bytes = handshake(world)
    for (const cut of [0, 20, bytes.length - 1, bytes.length]) {
      const connection = openConnection(world.url)
      connection.send(bytes.slice(0, cut))
      await expect.poll(() => connection.socket.bytesWritten).toBe(cut)
      connection.socket.resetAndDestroy()
    }
    const pending = openConnection(world.url)
    pending.send(bytes)
    const before = api.handshakes.length
    await expect.poll(() => api.handshakes.length).toBeGreaterThan(before)
    pending.socket.resetAndDestroy()
    api.refuse = () => false
    const page = await openPage(world, "/api/open?q='<x>'")
    page.socket.send('still here')
    await expect.poll(() => page.messages.length).toBe(1)
    // The query arrives byte for byte.
    expect(api.handshakes.at(-1)?.target).toBe("/open?q='<x>'")
  })
})

test('a page that does not wait for the upstream’s handshake ends it', async () => {
  const upstream = closeAfterTest(await startRawUpstream())
  const world = await startWorld({
    routes: [{ path: '/api/open', upstream: upstream.url, token: 'none', websocket: true }],
  })
  const connection = openConnection(world.url)
  connection.send(handshake(world))
  await expect.poll(() => upstream.calls.length).toBe(1)
  connection.socket.resetAndDestroy()
  await expect.poll(() => upstream.open.size).toBe(0)
})

test('an upstream with a private authority and a client certificate is reached by them alone', async () => {
  const ours = selfSigned('client-of-live')
  const upstream = closeAfterTest(
    await startSecureUpstream({ requestCert: true, rejectUnauthorized: true, ca: [ours.cert], allowHTTP1: true }),
  )
  const api = takeWebSockets(upstream)
  const tls = { ca: upstream.certificate.cert, cert: ours.cert, key: ours.key }
  const world = await startWorld({
    routes: [
      { path: '/api/live', upstream: upstream.url, token: 'none', websocket: true, tls },
      { path: '/api/unknown', upstream: upstream.url, token: 'none', websocket: true, tls: { ...tls, ca: ours.cert } },
    ],
  })
  const page = await openPage(world, '/api/live')
  page.socket.send('hello')
  await expect.poll(() => page.messages.length).toBe(1)
  expect(upstream.shown).toEqual(['client-of-live'])
  const refusal = await refusalOf(openPage(world, '/api/unknown'))
  expect([refusal.status, refusal.headers.get('coatcheck-error')]).toEqual([502, 'upstream_unreachable'])
  expect(api.handshakes).toHaveLength(1)
})

describe('with a store between instances', () => {
  const routes = ({ api }: { api: Upstream }) => [
    { path: '/api', upstream: api.url, token: 'user', websocket: true } as const,
  ]

  test('R528 a WebSocket is closed with 4401 when the user signs out at another instance', async () => {
    const store = { type: 'sqlite', path: join(dirname(await fileWith('')), 'store.db') } as const
    const one = await startWorld(({ api }) => ({ store, routes: routes({ api }) }))
    takeWebSockets(one.api)
    const two = await startCoatcheck(one.as, one.api, ({ config }) => ({ ...one.config, listen: config.listen ?? {} }))
    const browser = one.browser()
    await browser.signIn()
    const page = await openPage(one, '/api', { browser })
    const there = two.browser()
    for (const line of browser.cookies) there.cookies.set(...line)
    expect((await there.fetch('/auth/logout', { method: 'POST', headers: { origin: one.publicUrl } })).status).toBe(303)
    expect(await page.closed).toEqual({ code: 4401, reason: 'session ended' })
  })

  test('a handshake is 503 while the store answers nothing', async () => {
    const redis = closeAfterTest(await startRedis())
    const world = await startWorld(({ api }) => ({ store: { type: 'redis', url: redis.url }, routes: routes({ api }) }))
    const api = takeWebSockets(world.api)
    const browser = world.browser()
    await browser.signIn()
    redis.freeze(true)
    await passed(1_000)
    const refusal = await refusalOf(openPage(world, '/api', { browser }))
    expect([refusal.status, refusal.headers.get('coatcheck-error')]).toEqual([503, 'store_unavailable'])
    expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(api.handshakes).toEqual([])
    redis.freeze(false)
  })
})

describe('an application around coatcheck', () => {
  test('sees handshakes first, like any other request', async () => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const config = { ...world.config, listen: { host: '127.0.0.1', port: 0 } }
    const running = closeAfterTest(
      await serve(config, {
        env: {},
        log: () => {},
        mount: (coatcheck) =>
          new Hono()
            .use('/api/*', async (c, next) => (c.req.query('key') === 'good' ? next() : c.text('not you', 418)))
            .route('/', coatcheck),
      }),
    )
    const mounted = { ...world, url: running.url }
    const page = await openPage(mounted, '/api/open?key=good')
    page.socket.send('hello')
    await expect.poll(() => page.messages.length).toBe(1)
    const refusal = await refusalOf(openPage(mounted, '/api/open'))
    expect([refusal.status, refusal.text]).toEqual([418, 'not you'])
    expect(api.handshakes).toHaveLength(1)
  })
})

import type { ServerResponse } from 'node:http'
import { beforeEach, describe, expect, test } from 'vitest'
import { runtime, startWorld, type World } from '../support/coatcheck.ts'
import { fromPage, head, openConnection, type RawConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

describe('each call that goes up', () => {
  test('is one event: route, method, status, how long, how much, and never its query', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const body = 'x'.repeat(1_000)
    await browser.fetch('/api/orders?secret=CANARY', { method: 'POST', body })
    await expect.poll(() => world.logged('request.forwarded')).toHaveLength(1)
    const [event] = world.logged('request.forwarded')
    const { session } = (await browser.fetch('/auth/session')).json()
    expect(event).toMatchObject({
      ...{ route: '/api', method: 'POST', status: 200, requestBytes: 1_000, session: session.id },
      ...{ milliseconds: expect.any(Number), upstreamMilliseconds: expect.any(Number), tokenMilliseconds: 0 },
    })
    if (runtime === 'node') expect(event?.responseBytes).toBeGreaterThan(10)
    expect(JSON.stringify(world.events())).not.toContain('CANARY')
  })

  test('tells the bytes of a stream when it is over', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    world.api.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: 1\n\n')
      response.end('data: 2\n\n')
    }
    await browser.fetch('/api/events')
    await expect.poll(() => world.logged('request.forwarded')).toMatchObject([{ status: 200, responseBytes: 18 }])
  })

  test('says how long it waited for a token, and for the upstream', async () => {
    const world = await startWorld()
    world.as.behaviour.expiresIn = 0.01
    const browser = world.browser()
    await browser.signIn()
    world.as.behaviour.expiresIn = 300
    const slow = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
    world.as.behaviour.tokenResponse = () => slow(60).then(() => {})
    world.api.answer = (_, response) => void slow(60).then(() => response.end('{}'))
    await browser.fetch('/api/orders')
    await expect.poll(() => world.logged('request.forwarded')).toHaveLength(1)
    const [event] = world.logged('request.forwarded')
    expect(event?.tokenMilliseconds).toBeGreaterThanOrEqual(50)
    expect(event?.upstreamMilliseconds).toBeGreaterThanOrEqual(50)
    expect(event?.milliseconds).toBeGreaterThanOrEqual(100)
  })

  test('is told with the status that the browser saw when the upstream failed', async () => {
    const world = await startWorld()
    world.api.answer = (_, response) => response.destroy()
    await world.browser().fetch('/api/open/x', { method: 'POST', body: 'x' })
    await expect.poll(() => world.logged('request.forwarded')).toMatchObject([{ route: '/api/open', status: 502 }])
  })

  test('that was refused before it went up is not told as one', async () => {
    const world = await startWorld()
    await world.browser().fetch('/api/orders')
    await world.browser().fetch('/api/open/x')
    await expect.poll(() => world.logged('request.forwarded')).toMatchObject([{ route: '/api/open' }])
  })
})

interface Stage {
  readonly world: World
  /** What a signed-in page sends with each request. */
  readonly page: readonly string[]
  readonly connection: RawConnection
  /** Sends something over the connection. */
  readonly send: (line: string, headers?: readonly string[], body?: string) => void
  /** Resolves when the upstream has got a call more. */
  readonly asked: () => Promise<unknown>
}

interface Ending {
  readonly name: string
  readonly answer?: (response: ServerResponse) => void
  readonly act: (stage: Stage) => unknown
  /** Of the event; `undefined` where there must be none. */
  readonly status: number | undefined
  /** The runtimes on which it is known; without it all. */
  readonly on?: typeof runtime
}

const half = (response: ServerResponse) => response.writeHead(200, { 'content-length': 200_000 }).write('x'.repeat(100))
const stream = (response: ServerResponse) =>
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
const silent = () => {}
const begun = async ({ connection, send }: Stage) => {
  send('GET /api/x')
  await expect.poll(() => connection.received()).toContain('\r\n\r\n')
}
const left = async (stage: Stage, line: string, headers?: readonly string[], body?: string) => {
  stage.send(line, headers, body)
  await stage.asked()
  stage.connection.close()
}
const upgrade = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

const endings: Ending[] = [
  { name: 'a whole answer', act: ({ send }) => send('GET /api/x'), status: 200 },
  {
    name: 'an answer without a body',
    answer: (r) => r.writeHead(204).end(),
    act: (s) => s.send('GET /api/x'),
    status: 204,
  },
  {
    name: 'a refusal of the upstream',
    answer: (r) => r.writeHead(403).end(),
    act: (s) => s.send('GET /api/x'),
    status: 403,
  },
  {
    name: 'an upstream that resets before it answers',
    answer: (r) => r.destroy(),
    act: (s) => s.send('GET /api/x'),
    status: 502,
  },
  {
    name: 'an upstream that resets in the middle of an answer',
    answer: (response) => {
      half(response)
      setTimeout(() => response.destroy(), 50)
    },
    act: begun,
    status: 200,
  },
  { name: 'an upstream that does not answer in time', answer: silent, act: (s) => s.send('GET /brief/x'), status: 504 },
  { name: 'an upstream that is not there', act: ({ send }) => send('GET /nowhere/x'), status: 502 },
  {
    name: 'a token that is refused, and another one',
    answer: (response) => response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end(),
    act: ({ send }) => send('GET /api/x'),
    status: 401,
  },
  {
    name: 'a sign-in that the upstream finds too weak',
    answer: (response) =>
      response
        .writeHead(401, { 'www-authenticate': 'Bearer error="insufficient_user_authentication", acr_values="gold"' })
        .end(),
    act: ({ send }) => send('GET /api/x'),
    status: 401,
  },
  {
    name: 'a browser that leaves in the middle of an answer',
    answer: half,
    act: async (stage) => {
      await begun(stage)
      stage.connection.close()
    },
    status: 200,
  },
  {
    name: 'a browser that leaves a stream',
    answer: stream,
    act: async (stage) => {
      await begun(stage)
      stage.connection.close()
    },
    status: 200,
    // On Workers everything of a request may end with its browser, also what would tell of it.
    on: 'node',
  },
  {
    name: 'a browser that leaves before the answer',
    answer: silent,
    act: (s) => left(s, 'GET /api/x'),
    status: 499,
    on: 'node',
  },
  {
    name: 'a browser that leaves in the middle of its request',
    answer: silent,
    act: async ({ world, send, connection, asked }) => {
      world.api.readsBody = false
      send('POST /api/x', ['Content-Length: 100000'], 'begin')
      await asked()
      connection.close()
    },
    status: 499,
  },
  {
    name: 'a browser that leaves in the middle of a short request',
    act: async ({ world, send, connection }) => {
      send('POST /api/x', ['Content-Length: 100', 'Expect: 100-continue'])
      // Now it is read.
      await expect.poll(() => connection.received()).toContain('100 Continue')
      connection.close()
      await expect.poll(() => world.logged('request.refused').at(-1)).toMatchObject({ reason: 'client_gone' })
    },
    status: 499,
  },
  {
    name: 'a browser that stops in the middle of its request',
    act: ({ send }) => send('POST /brief/x', ['Transfer-Encoding: chunked'], '5\r\nbegin\r\n'),
    status: 400,
  },
  {
    name: 'a request that grows too large',
    act: ({ send }) =>
      send('POST /brief/x', ['Transfer-Encoding: chunked'], `800\r\n${'x'.repeat(2_048)}\r\n0\r\n\r\n`),
    status: 413,
  },
  {
    name: 'a browser that leaves while its token is renewed',
    answer: (response) => response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end(),
    act: async ({ world, send, connection }) => {
      let release = () => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      const before = world.as.to('/token').length
      world.as.behaviour.faults['/token'] = () => released.then(() => undefined)
      send('GET /api/renewed/x')
      await expect.poll(() => world.as.to('/token').length).toBe(before + 1)
      connection.close()
      await new Promise((resolve) => connection.socket.once('close', resolve))
      await world.browser().fetch('/healthz')
      release()
      world.as.behaviour.faults = {}
    },
    status: 499,
    on: 'node',
  },
  {
    name: 'a browser that leaves before its handshake is answered',
    act: (s) => left(s, 'GET /live/x', upgrade),
    status: 499,
    on: 'node',
  },
  { name: 'a request that is refused before it goes up', act: (s) => s.send('TRACE /api/x'), status: undefined },
  {
    name: 'a request that says it is too large',
    act: ({ send }) => send('POST /brief/x', ['Content-Length: 2000'], 'x'),
    status: undefined,
  },
]

describe('each call that goes up is one event, and no other request is, after', () => {
  const shared = sharedWorld(({ api, config }) => ({
    routes: [
      ...(config.routes ?? []),
      { path: '/api/renewed', upstream: api.url, token: 'user' },
      { path: '/nowhere', upstream: 'http://127.0.0.1:1', token: 'none' },
      { path: '/live', upstream: api.url, token: 'user', websocket: true },
      { path: '/brief', upstream: api.url, token: 'none', timeout: '300ms', stallTimeout: '300ms', bodyLimit: '1KB' },
    ],
  }))
  let handshakes = 0
  beforeEach(() => {
    const { api } = shared()
    api.readsBody = true
    if (api.server.listenerCount('upgrade') > 0) return
    api.server.on('upgrade', (_, socket) => {
      handshakes++
      socket.on('error', () => {})
      socket.on('end', () => socket.destroy()).resume()
    })
  })

  const known = endings.filter(({ on }) => on === undefined || on === runtime)
  test.each(known)('$name', async ({ answer, act, status }) => {
    const world = shared()
    const { api } = world
    const browser = world.browser()
    await browser.signIn()
    const before = world.logged('request.forwarded').length
    const calls = api.requests.length + handshakes
    api.answer = (_, response) => (answer ? answer(response) : response.end('good'))
    const connection = openConnection(world.url)
    const page = [...fromPage, `Origin: ${world.publicUrl}`, `Cookie: ${browser.cookieHeader()}`]
    await act({
      world,
      page,
      connection,
      send: (line, headers = [], body = '') => connection.send(head(line, [...page, ...headers]) + body),
      asked: () => expect.poll(() => api.requests.length + handshakes).toBe(calls + 1),
    })
    const told = () => world.logged('request.forwarded').slice(before)
    if (status !== undefined) await expect.poll(() => told().map((event) => event.status)).toEqual([status])
    else await connection.answer()
    // What would be told twice would have been told by now.
    api.answer = (_, response) => void response.writeHead(207).end()
    await world.browser().fetch('/api/open/x')
    await expect.poll(() => told().map((event) => event.status)).toEqual([...(status ? [status] : []), 207])
    connection.close()
  })
})

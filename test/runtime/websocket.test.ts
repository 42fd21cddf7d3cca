import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import type { Browser } from '../support/browser.ts'
import { renewedCookies, runtime, startWorld, type World } from '../support/coatcheck.ts'
import { passed } from '../support/time.ts'
import { openPage, refusalOf, takeWebSockets, type WebSocketApi } from '../support/websocket.ts'

type Setting = NonNullable<ConfigInput['routes']>[number]['websocket']

/** A world whose routes have WebSockets, and whose API sends back what comes. */
async function startLive(
  websocket: Setting = true,
  session: Partial<ConfigInput['session']> = {},
): Promise<{ world: World; api: WebSocketApi }> {
  const world = await startWorld(({ config, api }) => ({
    session: { ...config.session, ...session },
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user', websocket },
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none', websocket },
      { path: '/api/maybe', upstream: `${api.url}/maybe`, token: 'user-or-none', websocket },
      { path: '/api/narrow', upstream: api.url, token: 'user', websocket, require: { scope: ['admin'] } },
      { path: '/api/strict', upstream: api.url, token: 'user', websocket, csrf: 'header' },
      {
        path: '/api/rare',
        upstream: api.url,
        token: 'user',
        websocket,
        rateLimit: { per: 'session', requests: 2, window: '1h' },
      },
      { path: '/api/plain', upstream: api.url, token: 'user' },
    ],
  }))
  return { world, api: takeWebSockets(world.api) }
}

async function signedIn(world: World): Promise<Browser> {
  const browser = world.browser()
  await browser.signIn()
  return browser
}

/** What a browser sees when a connection was cut on the other side: Workers cannot cut one. */
const cut = runtime === 'node' ? 1006 : 1001

describe('a WebSocket', () => {
  test('is opened at the upstream with the token of the session, and no cookie', async () => {
    const { world, api } = await startLive()
    const browser = await signedIn(world)
    await openPage(world, '/api/feed?since=1&q=%zz+x', { browser })
    const { target, headers } = api.handshakes[0] ?? { target: '', headers: {} }
    expect(target).toBe('/v1/feed?since=1&q=%zz+x')
    expect(headers).toMatchObject({
      authorization: expect.stringMatching(/^Bearer ey/),
      host: new URL(world.api.url).host,
      origin: world.publicUrl,
      'x-forwarded-host': new URL(world.publicUrl).host,
    })
    expect(headers).not.toHaveProperty('cookie')
    expect(headers).not.toHaveProperty('sec-websocket-extensions')
    await expect.poll(() => world.logged('websocket.opened')).toMatchObject([{ route: '/api' }])
  })

  test('on a route for the upstream’s own origin shows that instead of the page’s', async () => {
    const { world, api } = await startLive({ origin: 'upstream' })
    await openPage(world, '/api/open')
    expect(api.handshakes[0]?.headers.origin).toBe(world.api.url)
  })

  test('without a session is opened without a token where the route allows it', async () => {
    const { world, api } = await startLive()
    for (const path of ['/api/open', '/api/maybe']) await openPage(world, path)
    expect(api.handshakes.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  })

  test('carries text and bytes both ways as they are', async () => {
    const { world } = await startLive()
    const page = await openPage(world, '/api/open')
    const sent = [
      'hello',
      'żółw 🐢',
      '',
      Buffer.from([0, 255, 128]),
      Buffer.alloc(0),
      Buffer.alloc(65_536, 7),
      'x'.repeat(1_048_576),
    ]
    for (const one of sent) page.socket.send(one)
    await expect.poll(() => page.messages.length).toBe(sent.length)
    expect(page.messages.map(({ isBinary }) => isBinary)).toEqual(sent.map((one) => typeof one !== 'string'))
    const wrong = sent.filter((one, at) => !page.messages[at]?.data.equals(Buffer.from(one as string)))
    expect(wrong).toEqual([])
  })

  test('puts together what came in fragments', async () => {
    const { world, api } = await startLive()
    const page = await openPage(world, '/api/open')
    for (const part of ['one,', 'two,']) page.socket.send(part, { fin: false })
    page.socket.send('three')
    await expect.poll(() => String(page.messages[0]?.data)).toBe('one,two,three')
    expect(api.last().messages).toHaveLength(1)
  })

  test('loses nothing that the upstream says right behind its handshake, and nothing of thousands of messages', async () => {
    const { world, api } = await startLive()
    api.accepted = ({ socket }) => {
      for (let number = 0; number < 5_000; number++) socket.send(String(number))
    }
    const page = await openPage(world, '/api/open')
    await expect.poll(() => page.messages.length).toBe(5_000)
    expect(page.messages.map(({ data }) => Number(data))).toEqual(Array.from({ length: 5_000 }, (_, number) => number))
  })

  test('counts for the operator what crossed it, and tells nothing of it', async () => {
    const { world } = await startLive()
    const page = await openPage(world, '/api/open')
    page.socket.send('secret text')
    await expect.poll(() => page.messages.length).toBe(1)
    page.socket.close(1000, 'secret reason')
    await expect
      .poll(() => world.logged('websocket.closed'))
      .toMatchObject([
        {
          route: '/api/open',
          by: 'browser',
          closeCode: 1000,
          messagesUp: 1,
          bytesUp: 11,
          messagesDown: 1,
          bytesDown: 11,
        },
      ])
    expect(JSON.stringify(world.events())).not.toContain('secret')
  })

  test('stays open for many at a time', async () => {
    const { world } = await startLive()
    const browser = await signedIn(world)
    const pages = await Promise.all(Array.from({ length: 200 }, () => openPage(world, '/api/feed', { browser })))
    for (const [number, { socket }] of pages.entries()) socket.send(String(number))
    await expect.poll(() => pages.every(({ messages }, at) => String(messages[0]?.data) === String(at))).toBe(true)
  })
})

describe('the subprotocol of a WebSocket', () => {
  test('is the one that the upstream chose of those offered', async () => {
    const { world, api } = await startLive()
    const page = await openPage(world, '/api/open', { protocols: ['graphql-ws', 'graphql-transport-ws'] })
    expect(page.socket.protocol).toBe('graphql-transport-ws')
    expect(api.handshakes[0]?.headers['sec-websocket-protocol']).toMatch(/^graphql-ws, ?graphql-transport-ws$/)
  })

  test('is none where none was offered, and none where the upstream chose none', async () => {
    const { world, api } = await startLive()
    const page = await openPage(world, '/api/open')
    expect([page.socket.protocol, page.headers['sec-websocket-protocol']]).toEqual(['', undefined])
    api.choose = () => false
    // The library, like a browser, gives up by itself: the choice is its own.
    await expect(openPage(world, '/api/open', { protocols: ['a'] })).rejects.toThrow('Server sent no subprotocol')
  })

  test('that nobody offered is an error of the upstream', async () => {
    const { world, api } = await startLive()
    for (const [protocols, chosen] of [
      [['a', 'b'], 'c'],
      [['a'], 'a, a'],
      [[], 'a'],
    ] as const) {
      api.headers = [`Sec-WebSocket-Protocol: ${chosen}`]
      api.choose = () => false
      const refusal = await refusalOf(openPage(world, '/api/open', { protocols: [...protocols] }))
      expect([refusal.status, refusal.headers.get('coatcheck-error')]).toEqual([502, 'upstream_invalid'])
    }
  })
})

describe('the end of a WebSocket', () => {
  test.each([
    [1000, 'done'],
    [1001, ''],
    [1011, 'broken'],
    [3000, 'a'.repeat(123)],
    [4999, 'ending ż'],
    [1005, ''],
  ])('with %i passes from the page to the upstream, and back', async (code, reason) => {
    const { world, api } = await startLive()
    const close = ({ socket }: { socket: { close(code?: number, reason?: string): void } }) =>
      code === 1005 ? socket.close() : socket.close(code, reason)
    const leaving = await openPage(world, '/api/open')
    close(leaving)
    expect(await api.last().closed).toEqual({ code, reason })
    expect((await leaving.closed).code).toBe(code)
    const left = await openPage(world, '/api/open')
    close(api.last())
    expect(await left.closed).toEqual({ code, reason })
    expect((await api.last().closed).code).toBe(code)
    await expect
      .poll(() => world.logged('websocket.closed'))
      .toMatchObject([
        { by: 'browser', closeCode: code },
        { by: 'upstream', closeCode: code },
      ])
  })

  test('that is abrupt at the upstream is no closing handshake at the page', async () => {
    const { world, api } = await startLive()
    const page = await openPage(world, '/api/open')
    api.last().socket.terminate()
    expect((await page.closed).code).toBe(cut)
    await expect.poll(() => world.logged('websocket.closed')).toMatchObject([{ by: 'upstream', closeCode: 1006 }])
  })

  test('that is abrupt at the page is no closing handshake at the upstream', async () => {
    const { world, api } = await startLive()
    const page = await openPage(world, '/api/open')
    page.socket.terminate()
    expect((await api.last().closed).code).toBe(cut)
    await expect.poll(() => world.logged('websocket.closed')).toMatchObject([{ by: 'browser', closeCode: 1006 }])
  })

  test('comes after everything that was said before it', async () => {
    const { world, api } = await startLive()
    api.accepted = ({ socket }) => {
      for (let number = 0; number < 100; number++) socket.send(Buffer.alloc(10_000))
      socket.close(4000)
    }
    const page = await openPage(world, '/api/open')
    expect((await page.closed).code).toBe(4000)
    expect(page.messages).toHaveLength(100)
  })

  test('comes with 1009 for a message over the limit, which goes nowhere', async () => {
    const { world, api } = await startLive({ messageLimit: '1KB' })
    const page = await openPage(world, '/api/open')
    page.socket.send('ż'.repeat(512))
    await expect.poll(() => page.messages.length).toBe(1)
    page.socket.send(`${'ż'.repeat(512)}x`)
    expect((await page.closed).code).toBe(1009)
    expect((await api.last().closed).code).toBe(1001)
    expect(api.last().messages).toHaveLength(1)

    const told = await openPage(world, '/api/open')
    api.last().socket.send(Buffer.alloc(1_025))
    expect((await told.closed).code).toBe(1009)
    expect((await api.last().closed).code).toBe(1009)
    expect(told.messages).toEqual([])
    await expect
      .poll(() => world.logged('websocket.closed'))
      .toMatchObject([
        { by: 'browser', closeCode: 1009, reason: 'websocket_message_too_large' },
        { by: 'upstream', closeCode: 1009, reason: 'websocket_message_too_large' },
      ])
  })

  test('comes with 1001 when nothing was said for idleTimeout, and not while something is', async () => {
    const { world, api } = await startLive({ idleTimeout: '400ms' })
    const page = await openPage(world, '/api/open')
    const start = Date.now()
    for (let time = 100; time <= 600; time += 100) {
      await passed(time, start)
      page.socket.send('still here')
    }
    expect(page.end).toBeUndefined()
    expect(await page.closed).toEqual({ code: 1001, reason: 'idle' })
    expect((await api.last().closed).code).toBe(1001)
  })

  test('answers pings by itself on either side', async () => {
    const { world, api } = await startLive()
    const page = await openPage(world, '/api/open')
    let pongs = 0
    page.socket.on('pong', () => pongs++).ping('a')
    api
      .last()
      .socket.on('pong', () => pongs++)
      .ping('b')
    await expect.poll(() => pongs).toBe(2)
  })
})

describe('R528 a WebSocket with a session', () => {
  /** The page, and how its end is to look. */
  async function expectSessionEnd(
    world: World,
    api: WebSocketApi,
    reason: string,
    end: (browser: Browser) => Promise<unknown>,
  ) {
    const browser = await signedIn(world)
    const stranger = await openPage(world, '/api/open')
    const page = await openPage(world, '/api/feed', { browser })
    const atUpstream = api.last()
    await end(browser)
    expect(await page.closed).toEqual({ code: 4401, reason })
    expect((await atUpstream.closed).code).toBe(1001)
    expect(stranger.end).toBeUndefined()
  }

  test('is closed with 4401 when the user signs out in another tab', async () => {
    const { world, api } = await startLive()
    await expectSessionEnd(world, api, 'session ended', (browser) => browser.fetch('/auth/logout', { method: 'POST' }))
    await expect
      .poll(() => world.logged('websocket.closed'))
      .toMatchObject([{ route: '/api', by: 'coatcheck', closeCode: 4401, reason: 'websocket_session_over' }])
  })

  test('is closed with 4401 when the authorization server ends the session', async () => {
    const { world, api } = await startLive()
    await expectSessionEnd(world, api, 'session ended', async () => {
      const body = new URLSearchParams({ logout_token: await world.as.logoutToken({ sub: 'alice' }) }).toString()
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      await world.browser().send('/auth/backchannel-logout', { method: 'POST', body, headers })
    })
  })

  test('is closed with 4401 when the session has lasted as long as one may', async () => {
    const { world, api } = await startLive(true, { absoluteTimeout: '2s', idleTimeout: '2s' })
    await expectSessionEnd(world, api, 'session ended', async () => {})
  })

  test('is closed with 4401 when its token is over, where the route says so, and may be opened again', async () => {
    const { world, api } = await startLive({ until: 'token' })
    world.as.behaviour.expiresIn = 1
    await expectSessionEnd(world, api, 'token expired', async (browser) => {
      world.as.behaviour.expiresIn = 300
      await passed(1_100)
      const again = await openPage(world, '/api/feed', { browser })
      again.socket.send('again')
      await expect.poll(() => again.messages.length).toBe(1)
    })
  })

  test('says nothing more from then on, and hears nothing', async () => {
    const { world, api } = await startLive()
    const browser = await signedIn(world)
    const page = await openPage(world, '/api/feed', { browser })
    // A page that does not answer the close frame.
    page.socket.pause()
    await browser.fetch('/auth/logout', { method: 'POST' })
    await expect.poll(() => world.logged('websocket.closed').length).toBe(1)
    page.socket.send('too late')
    await api.last().closed
    expect(api.last().messages).toEqual([])
    page.socket.resume()
    expect((await page.closed).code).toBe(4401)
  })
})

describe('the handshake of a WebSocket', () => {
  test('R525 renews a token that is over, and brings the new cookie on its 101', async () => {
    const { world, api } = await startLive()
    world.as.behaviour.expiresIn = 0.05
    const browser = await signedIn(world)
    world.as.behaviour.expiresIn = 300
    await passed(60)
    const page = await openPage(world, '/api/feed', { browser })
    expect((page.headers['set-cookie'] ?? []).map((line) => line.split('=')[0])).toEqual(renewedCookies)
    await browser.fetch('/api/orders')
    expect(world.api.last().headers.authorization).toBe(api.handshakes[0]?.headers.authorization)
    expect(world.as.to('/token')).toHaveLength(2)
  })

  test('R516 that is refused for its token is tried once more with a new one', async () => {
    const { world, api } = await startLive()
    const browser = await signedIn(world)
    const refused = () => api.handshakes.length === 1
    api.refuse = (_, socket) => {
      if (!refused()) return false
      socket.end(
        'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n',
      )
      return true
    }
    const page = await openPage(world, '/api/feed', { browser })
    page.socket.send('hello')
    await expect.poll(() => page.messages.length).toBe(1)
    expect(new Set(api.handshakes.map(({ headers }) => headers.authorization)).size).toBe(2)
    expect((page.headers['set-cookie'] ?? []).map((line) => line.split('=')[0])).toEqual(renewedCookies)
    expect(world.as.to('/token')).toHaveLength(2)
  })

  test('of nobody who is signed in is 401 with a problem document, and the upstream hears nothing', async () => {
    const { world, api } = await startLive()
    const refusal = await refusalOf(openPage(world, '/api/feed'))
    expect(refusal.status).toBe(401)
    expect(refusal.headers.get('content-type')).toBe('application/problem+json')
    expect(JSON.parse(refusal.text)).toMatchObject({ status: 401, code: 'session_required', loginUrl: '/auth/login' })
    expect(api.handshakes).toEqual([])
  })

  test('is held to scope, rate and csrf of its route like any call', async () => {
    const { world, api } = await startLive()
    const browser = await signedIn(world)
    const narrow = await refusalOf(openPage(world, '/api/narrow', { browser }))
    expect([narrow.status, narrow.headers.get('coatcheck-error')]).toEqual([403, 'insufficient_scope'])
    for (const _ of [1, 2]) await openPage(world, '/api/rare', { browser })
    const rare = await refusalOf(openPage(world, '/api/rare', { browser }))
    expect([rare.status, rare.headers.get('retry-after')]).toEqual([429, expect.stringMatching(/^\d+$/)])
    expect(api.handshakes).toHaveLength(2)
    // A page cannot send `X-CSRF` with it: its Origin counts instead, also where calls must bring the header.
    await openPage(world, '/api/strict', { browser })
    expect((await browser.fetch('/api/strict')).status).toBe(403)
  })

  test('on a route without WebSockets is a call like any other', async () => {
    const { world, api } = await startLive()
    const browser = await signedIn(world)
    const answer = await refusalOf(openPage(world, '/api/plain', { browser }))
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.text)).toEqual({ method: 'GET', target: '/' })
    expect(api.handshakes).toEqual([])
  })

  test.each([403, 404, 426, 500])(
    'that the upstream answers with %i is answered so, without its body',
    async (status) => {
      const { world, api } = await startLive()
      api.refuse = (_, socket) =>
        !!socket.end(
          `HTTP/1.1 ${status} No\r\nX-Reason: closed\r\nSet-Cookie: a=b\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret`,
        )
      const refusal = await refusalOf(openPage(world, '/api/open'))
      expect([refusal.status, refusal.text]).toEqual([status, ''])
      expect(refusal.headers.get('x-reason')).toBe('closed')
      expect(refusal.headers.get('set-cookie')).toBeNull()
      expect(refusal.headers.get('coatcheck-error')).toBeNull()
    },
  )

  test('that the upstream does not answer is 504, and one that it breaks off is 502', async () => {
    const { world, api } = await startLive()
    api.refuse = (_, socket) => !!socket.destroy()
    const broken = await refusalOf(openPage(world, '/api/open'))
    expect([broken.status, broken.headers.get('coatcheck-error')]).toEqual([502, 'upstream_unreachable'])
    const slow = await startWorld(({ api: upstream }) => ({
      routes: [{ path: '/api', upstream: upstream.url, token: 'none', websocket: true, timeout: '200ms' }],
    }))
    takeWebSockets(slow.api).refuse = () => true
    const late = await refusalOf(openPage(slow, '/api'))
    expect([late.status, late.headers.get('coatcheck-error')]).toEqual([504, 'upstream_timeout'])
  })
})

// Limits of routes: who is counted with whom, what a refusal looks like, and that it costs the API nothing.
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { statusesOf, tally } from '../support/callers.ts'
import { openCoatcheck, startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { fromPage, head } from '../support/raw.ts'
import { newFolder, sharedStore } from '../support/shared-store.ts'
import { passed } from '../support/time.ts'
import { startUpstream } from '../support/upstream.ts'

type RouteInput = NonNullable<ConfigInput['routes']>[number]
type Limit = NonNullable<RouteInput['rateLimit']>

/** One route, `/api`, with this limit. */
const limited = (rateLimit: Limit, token: 'none' | 'user' | 'user-or-none' = 'user') =>
  ({ path: '/api', upstream: 'http://127.0.0.1', token, rateLimit }) satisfies RouteInput

const stores = [
  ['memory', async () => ({ type: 'memory' as const })],
  ['a shared store', sharedStore],
] as const

describe.each(stores)('limits of routes with %s', (_, open) => {
  /** A world with these routes, all to its own API. */
  async function world(...routes: RouteInput[]): Promise<World> {
    const store = await open()
    return startWorld(({ api }) => ({ store, routes: routes.map((route) => ({ ...route, upstream: api.url })) }))
  }

  async function signedIn(at: World, user = 'alice') {
    at.as.behaviour.user = { sub: user }
    const browser = at.browser()
    await browser.signIn()
    return browser
  }

  test('let as many calls through as they say, also at once, and the API never hears of the others', async () => {
    const here = await world(limited({ per: 'session', requests: 7, window: '1h' }))
    const browser = await signedIn(here)
    const answers = await Promise.all(Array.from({ length: 30 }, () => browser.fetch('/api/x')))
    expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 7, 429: 23 })
    expect(here.api.requests).toHaveLength(7)
  })

  test('refuse with 429 and the whole seconds to wait, and tell nothing else of the limit', async () => {
    const here = await world(limited({ per: 'session', requests: 1, window: '1h' }))
    const browser = await signedIn(here)
    const first = await browser.fetch('/api/x')
    const refused = await browser.fetch('/api/x')
    expect(refused.status).toBe(429)
    expect(refused.json()).toEqual({ status: 429, title: 'Too many requests', code: 'rate_limited' })
    expect(refused.headers.get('coatcheck-error')).toBe('rate_limited')
    expect(refused.headers.get('retry-after')).toMatch(/^3(5[5-9]\d|600)$/)
    for (const { headers } of [first, refused]) {
      expect([...headers.keys()].filter((name) => /limit|remaining|reset|quota/.test(name))).toEqual([])
    }
    await expect.poll(() => here.logged('request.refused').map(({ reason }) => reason)).toContain('rate_limited')
  })

  test('end with their window, and then begin anew', async () => {
    const here = await world(limited({ per: 'session', requests: 2, window: '2s' }))
    const browser = await signedIn(here)
    expect(await statusesOf(3, () => browser.fetch('/api/x'))).toEqual([200, 200, 429])
    expect((await browser.fetch('/api/x')).headers.get('retry-after')).toMatch(/^[12]$/)
    await expect.poll(async () => (await browser.fetch('/api/x')).status).toBe(200)
    expect(await statusesOf(2, () => browser.fetch('/api/x'))).toEqual([200, 429])
  })

  test('per session are for each session', async () => {
    const here = await world(limited({ per: 'session', requests: 2, window: '1h' }))
    const [one, other] = [await signedIn(here), await signedIn(here)]
    expect(await statusesOf(3, () => one.fetch('/api/x'))).toEqual([200, 200, 429])
    expect(await statusesOf(3, () => other.fetch('/api/x'))).toEqual([200, 200, 429])
  })

  test('per user are for all sessions of a user, and no other', async () => {
    const here = await world(limited({ per: 'user', requests: 2, window: '1h' }))
    const [one, other, bob] = [await signedIn(here), await signedIn(here), await signedIn(here, 'bob')]
    expect([(await one.fetch('/api/x')).status, (await other.fetch('/api/x')).status]).toEqual([200, 200])
    expect([(await one.fetch('/api/x')).status, (await other.fetch('/api/x')).status]).toEqual([429, 429])
    expect((await bob.fetch('/api/x')).status).toBe(200)
  })

  test('per user still hold when the tokens were refreshed', async () => {
    const here = await world(limited({ per: 'user', requests: 3, window: '1h' }))
    here.as.behaviour.expiresIn = 0.05
    const browser = await signedIn(here)
    here.as.behaviour.expiresIn = 300
    await passed(60)
    expect(await statusesOf(4, () => browser.fetch('/api/x'))).toEqual([200, 200, 200, 429])
  })

  test('per address are for everybody there, signed in or not', async () => {
    const here = await world(limited({ per: 'address', requests: 3, window: '1h' }, 'user-or-none'))
    const [one, other, nobody] = [await signedIn(here), await signedIn(here, 'bob'), here.browser()]
    expect(await statusesOf(3, (at) => [one, other, nobody][at]?.fetch('/api/x') as never)).toEqual([200, 200, 200])
    expect(await statusesOf(3, (at) => [one, other, nobody][at]?.fetch('/api/x') as never)).toEqual([429, 429, 429])
  })

  test('of two routes are counted apart', async () => {
    const limit = { per: 'user', requests: 1, window: '1h' } as const
    const here = await world(
      limited(limit),
      { ...limited(limit), path: '/api/inner' },
      { ...limited(limit), path: '/b' },
    )
    const browser = await signedIn(here)
    for (const path of ['/api/x', '/api/inner/x', '/b']) {
      expect(await statusesOf(2, () => browser.fetch(path)), path).toEqual([200, 429])
    }
  })

  test('count no call that was refused before its turn', async () => {
    const here = await world({ ...limited({ per: 'session', requests: 1, window: '1h' }), methods: ['GET'] })
    const browser = await signedIn(here)
    const crossSite = { headers: { 'sec-fetch-site': 'cross-site' } }
    expect((await browser.fetch('/api/x', crossSite)).status).toBe(403)
    expect((await browser.fetch('/api/x', { method: 'POST' })).status).toBe(405)
    expect((await here.browser().fetch('/api/x')).status).toBe(401)
    expect(await statusesOf(2, () => browser.fetch('/api/x'))).toEqual([200, 429])
  })

  test('do not wait for those who hung up while they were counted', async () => {
    const here = await world(limited({ per: 'address', requests: 1_000, window: '1h' }, 'none'))
    const { hostname, port } = new URL(here.url)
    for (let round = 0; round < 30; round++) {
      const socket = connect(Number(port), hostname).on('error', () => {})
      socket.write(head('GET /api/x', fromPage), () => socket.destroy())
      const start = performance.now()
      expect((await here.browser().fetch('/api/x')).status).toBe(200)
      expect(performance.now() - start).toBeLessThan(1_900)
    }
  })
})

test('a shared store goes on counting where it was when coatcheck is started again', async () => {
  const [as, api] = [closeAfterTest(await startAuthorizationServer()), closeAfterTest(await startUpstream())]
  const [store, disk] = [await sharedStore(), await newFolder()]
  const route = { ...limited({ per: 'address', requests: 3, window: '1h' }, 'none'), upstream: api.url }
  const before = await openCoatcheck(as, api, { store, routes: [route] }, { disk })
  try {
    expect(await statusesOf(2, () => before.browser().fetch('/api/x'))).toEqual([200, 200])
  } finally {
    await before.close()
  }
  const after = closeAfterTest(await openCoatcheck(as, api, before.config, { disk }))
  expect(await statusesOf(2, () => after.browser().fetch('/api/x'))).toEqual([200, 429])
})

test('instances with stores of their own count each for itself', async () => {
  const one = await startWorld(({ api }) => ({
    routes: [{ ...limited({ per: 'address', requests: 2, window: '1h' }, 'none'), upstream: api.url }],
  }))
  const two = await startCoatcheck(one.as, one.api, { routes: one.config.routes ?? [] })
  for (const { browser } of [one, two]) {
    expect(await statusesOf(3, () => browser().fetch('/api/x'))).toEqual([200, 200, 429])
  }
})

// Ends of sessions that meet a store which fails, a sign-in under way, or new keys.
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import type { Browser } from '../support/browser.ts'
import type { World } from '../support/coatcheck.ts'
import { startWithStore } from '../support/faulty-store.ts'
import { closeAfterTest } from '../support/http-server.ts'

/** As an authorization server sends it. */
const sendLogout = (world: World, token: string) =>
  world.browser().send('/auth/backchannel-logout', {
    method: 'POST',
    body: `logout_token=${token}`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })

const sessionCookies = (browser: Browser) => [...browser.cookies.keys()].filter((name) => !name.endsWith('-login'))

const isOver = async (browser: Browser) => (await browser.fetch('/api/orders')).json().code === 'session_expired'

/** Something that is waited for, and that is let go by hand. */
function gate() {
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>()
  const { promise: opened, resolve: open } = Promise.withResolvers<undefined>()
  const pass = () => {
    reach()
    return opened
  }
  return { reached, open: () => open(undefined), pass }
}

describe('R151 a logout token whose answer from the store is lost', () => {
  test('ends the session all the same, and is told to be sent again', async () => {
    let lost = 0
    const world = await startWithStore({
      faults: (inner) => ({
        async add(key, value, ttl) {
          const isNew = await inner.add(key, value, ttl)
          if (key.startsWith('jti-') && lost++ === 0) throw new Error('The answer is lost')
          return isNew
        },
      }),
    })
    const browser = world.browser()
    await browser.signIn()
    const token = await world.as.logoutToken({ sub: 'alice' })
    expect((await sendLogout(world, token)).status).toBe(503)
    expect(await isOver(browser)).toBe(true)
  })

  test('ends it when it is sent again, although the instance that lost it never told anybody', async () => {
    const as = closeAfterTest(await startAuthorizationServer())
    const store = memoryStore()
    const there = await startWithStore({ as, store })
    const here = await startWithStore(
      {
        as,
        store,
        faults: (inner) => ({
          async add(key, value, ttl) {
            const isNew = await inner.add(key, value, ttl)
            if (key.startsWith('jti-')) throw new Error('The answer is lost')
            return isNew
          },
          append: async () => {
            throw new Error('The store is away')
          },
        }),
      },
      there.config,
    )
    const [browser, later] = [there.browser(), there.browser()]
    await browser.signIn()
    const token = await as.logoutToken({ sub: 'alice' })
    expect((await sendLogout(here, token)).status).toBe(503)
    await later.signIn()
    expect((await sendLogout(there, token)).json().code).toBe('bad_request')
    expect(await isOver(browser)).toBe(true)
    expect(await isOver(later)).toBe(false)
  })
})

test('R154 a logout token is remembered for as long as it would be believed, however late it says that it ends', async () => {
  const times: number[] = []
  const world = await startWithStore({
    faults: (inner) => ({
      add(key, value, ttl) {
        if (key.startsWith('jti-')) times.push(ttl)
        return inner.add(key, value, ttl)
      },
    }),
  })
  const exp = Math.floor(Date.now() / 1_000) + 10_000_000
  expect((await sendLogout(world, await world.as.logoutToken({ sub: 'alice', exp }))).status).toBe(200)
  expect(times).toHaveLength(1)
  expect(times[0]).toBeGreaterThan(300_000)
  expect(times[0]).toBeLessThanOrEqual(360_000)
})

test('R146 a logout token whose body never ends is refused after some seconds', async () => {
  const { coatcheck, publicUrl } = await startWithStore()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const { promise: cancelled, resolve: cancel } = Promise.withResolvers<void>()
  const body = new ReadableStream<Uint8Array>({
    start: (stream) => stream.enqueue(new TextEncoder().encode('logout_token=')),
    cancel: () => cancel(),
  })
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const request = new Request(`${publicUrl}/auth/backchannel-logout`, {
    ...{ method: 'POST', body, headers, duplex: 'half' },
  } as RequestInit)
  const answer = coatcheck.fetch(request)
  await vi.advanceTimersByTimeAsync(10_000)
  expect((await answer).status).toBe(400)
  await vi.advanceTimersByTimeAsync(1)
  await cancelled
})

describe('R153 a logout that arrives while somebody signs in', () => {
  test.each(['/token', '/userinfo'])('(at %s) wins: no session begins, and its tokens are revoked', async (path) => {
    const world = await startWithStore()
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const { reached, open, pass } = gate()
    world.as.behaviour.faults[path] = pass
    const answer = browser.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
    await reached
    expect((await sendLogout(world, await world.as.logoutToken({ sub: 'alice' }))).status).toBe(200)
    open()
    expect((await answer).status).toBe(400)
    expect(sessionCookies(browser)).toEqual([])
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
    await expect.poll(() => world.as.to('/revoke').length).toBe(2)
    delete world.as.behaviour.faults[path]
    await browser.signIn()
    expect(await isOver(browser)).toBe(false)
  })

  test('wins also when another instance was told', async () => {
    const here = await startWithStore()
    const there = await startWithStore({ as: here.as, api: here.api, store: here.store }, here.config)
    const browser = here.browser()
    const callback = await browser.untilCallback()
    const { reached, open, pass } = gate()
    here.as.behaviour.faults['/userinfo'] = pass
    const answer = browser.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
    await reached
    expect((await sendLogout(there, await here.as.logoutToken({ sub: 'alice' }))).status).toBe(200)
    open()
    expect((await answer).status).toBe(400)
    expect(sessionCookies(browser)).toEqual([])
  })
})

describe('a sign-in that fails after its code was redeemed, because the store does', () => {
  test.each(['cookie', 'store'] as const)('leaves no tokens behind that are kept in the %s', async (storage) => {
    let isAway = false
    const world = await startWithStore(
      {
        faults: (inner) => ({
          async since(log, cursor) {
            if (isAway) throw new Error('The store is away')
            return inner.since(log, cursor)
          },
        }),
      },
      ({ config }) => ({ session: { ...config.session, storage } }),
    )
    const browser = world.browser()
    await browser.signIn()
    const callback = await browser.untilCallback()
    world.as.behaviour.faults['/userinfo'] = () => {
      isAway = true
      return undefined
    }
    const answer = await browser.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
    expect(answer.status).toBe(503)
    await expect.poll(() => world.as.to('/revoke').length).toBe(2)
    isAway = false
    expect(await isOver(browser)).toBe(false)
  })
})

test.each(['cookie', 'store'] as const)(
  'R141 signing out while the store is away, with tokens in the %s, clears the browser, and is told when it is back',
  async (storage) => {
    const here = await startWithStore({}, ({ config }) => ({ session: { ...config.session, storage } }))
    const browser = here.browser()
    await browser.signIn()
    const copy = browser.cookieHeader()
    let isAway = true
    const broken = async () => {
      if (isAway) throw new Error('The store is away')
    }
    const { as, api, store } = here
    // It has never seen this session.
    const there = await startWithStore(
      {
        ...{ as, api, store },
        faults: (inner) => ({
          get: (key) => broken().then(() => inner.get(key)),
          set: (...call) => broken().then(() => inner.set(...call)),
          delete: (key) => broken().then(() => inner.delete(key)),
          append: (...call) => broken().then(() => inner.append(...call)),
          since: (...call) => broken().then(() => inner.since(...call)),
        }),
      },
      here.config,
    )
    const atThere = there.browser()
    for (const [name, value] of browser.cookies) atThere.cookies.set(name, value)
    expect((await atThere.fetch('/auth/logout', { method: 'POST' })).status).toBe(303)
    expect(sessionCookies(atThere)).toEqual([])
    isAway = false
    expect((await atThere.fetch('/auth/session')).json().authenticated).toBe(false)
    const other = there.browser()
    await other.signIn()
    await expect
      .poll(async () => (await here.browser().fetch('/api/orders', { headers: { cookie: copy } })).json().code, {
        timeout: 3_000,
      })
      .toBe('session_expired')
  },
)

describe('the list of a user’s sessions', () => {
  test('R608 keeps one that lives on, however many others ended since', async () => {
    const world = await startWithStore()
    const living = world.browser()
    await living.signIn()
    const { id } = (await living.fetch('/auth/session')).json().session
    for (let round = 0; round < 51; round++) {
      const restless = world.browser()
      await restless.signIn()
      await restless.fetch('/auth/logout', { method: 'POST' })
    }
    const other = world.browser()
    await other.signIn()
    const listed = (await other.fetch('/auth/sessions')).json().sessions.map((one: { id: string }) => one.id)
    expect(listed).toContain(id)
    expect((await other.fetch(`/auth/sessions/${id}`, { method: 'DELETE' })).status).toBe(200)
    expect(await isOver(living)).toBe(true)
  })

  test('asks when they were seen together, and not at all to end one of them', async () => {
    let [under, most, reads] = [0, 0, 0]
    const world = await startWithStore({
      faults: (inner) => ({
        async get(key) {
          if (!key.endsWith('/seen')) return inner.get(key)
          reads++
          most = Math.max(most, ++under)
          await new Promise((resolve) => setTimeout(resolve, 10))
          under--
          return inner.get(key)
        },
      }),
    })
    const [here, ...others] = Array.from({ length: 8 }, () => world.browser())
    for (const browser of others) await browser.signIn()
    await here?.signIn()
    expect((await here?.fetch('/auth/sessions'))?.json().sessions).toHaveLength(8)
    expect([most, reads]).toEqual([7, 7])
    const id = (await others[0]?.fetch('/auth/session'))?.json().session.id
    expect((await here?.fetch(`/auth/sessions/${id}`, { method: 'DELETE' }))?.status).toBe(200)
    expect((await here?.fetch('/auth/sessions/unknown', { method: 'DELETE' }))?.status).toBe(404)
    expect(reads).toBe(7)
  })
  test('loses none that is entered while another is slow to be', async () => {
    const { reached, open, pass } = gate()
    let isFirst = true
    const world = await startWithStore({
      faults: (inner) => ({
        // Over before the slow one is done with it.
        lease: (key, ttl) => inner.lease(key, key.endsWith('/sessions') ? 50 : ttl),
        async get(key) {
          const value = await inner.get(key)
          if (key.endsWith('/sessions') && isFirst) {
            isFirst = false
            await pass()
          }
          return value
        },
      }),
    })
    const [slow, quick] = [world.browser(), world.browser()]
    await slow.signIn()
    await reached
    await quick.signIn()
    const listed = async () => (await quick.fetch('/auth/sessions')).json().sessions
    await expect.poll(listed, { timeout: 3_000 }).toHaveLength(1)
    open()
    await expect.poll(listed, { timeout: 3_000 }).toHaveLength(2)
    expect((await slow.fetch('/auth/sessions')).json().sessions).toHaveLength(2)
  })
})

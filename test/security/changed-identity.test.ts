// Changed identity: a sign-in on top of a live session that comes back as somebody else, because the browser is signed in at
// the authorization server as another user (R055, R310; ASVS 7.2.4).
import { describe, expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import type { Browser } from '../support/browser.ts'
import { providerFor, startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { links } from '../support/html.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { expectNoCanary, expectRefusal, sessionCookies } from '../support/oracles.ts'

/**
 * The way back from the authorization server as browsers take it: without what is SameSite=Strict, which is the session.
 * Cookies that the answer does not set stay as they are.
 */
async function comeBack(browser: Browser, callback: string) {
  const strict = [...browser.cookies].filter(([name]) => !name.includes('login'))
  for (const [name] of strict) browser.cookies.delete(name)
  const answer = await browser.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
  for (const [name, value] of strict) if (sessionCookies(answer).length === 0) browser.cookies.set(name, value)
  return answer
}

const signIn = async (browser: Browser, query = '') => comeBack(browser, await browser.untilCallback(query))

const sessionOf = async (browser: Browser) => (await browser.fetch('/auth/session')).json()

describe('a sign-in that is to keep the user', () => {
  const world = faultWorld(({ config }) => ({
    providers: config.providers.map((one) => ({ ...one, optionalScope: 'orders:write' })),
  }))

  async function aliceSignedIn(): Promise<Browser> {
    const browser = world.browser()
    await signIn(browser)
    world.as.behaviour.user = { sub: 'mallory', acr: 'gold', auth_time: Math.floor(Date.now() / 1_000) }
    return browser
  }

  async function expectAliceStays(browser: Browser, before: unknown): Promise<void> {
    const after = await sessionOf(browser)
    expect([after.user.sub, after.session.id]).toEqual(['alice', before])
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await expect.poll(() => world.logged('login.failed')).toMatchObject([{ reason: 'user_mismatch' }])
    expect(world.logged('session.ended')).toEqual([])
    // Nobody will use what the authorization server gave.
    await expect.poll(() => world.as.to('/revoke').length).toBeGreaterThan(0)
    expectNoCanary(world, browser)
  }

  test.each(['?acr_values=gold', '?max_age=0', '?scope=orders:write', '?acr_values=gold&prompt=login'])(
    'R055 R310 %s refuses another: the old session goes on',
    async (query) => {
      const browser = await aliceSignedIn()
      const before = (await sessionOf(browser)).session.id
      const answer = await signIn(browser, `${query}&returnTo=/orders`)
      expectRefusal(answer, 400, 'login_failed')
      expect(answer.text).toContain('ended as somebody else than it was meant for')
      // The link lets them say there who they are.
      const again = new URL(links(answer.text)[0] ?? '', world.publicUrl).searchParams
      expect([again.get('returnTo'), again.get('prompt')]).toEqual(['/orders', 'login'])
      expect(links(answer.text)[1]).toBe('/orders')
      expect(answer.text).toContain('Nothing was changed.')
      expect(sessionCookies(answer)).toEqual([])
      await expectAliceStays(browser, before)
    },
  )

  test('R310 prompt=none goes back as if nobody had been found', async () => {
    const browser = await aliceSignedIn()
    const before = (await sessionOf(browser)).session.id
    const answer = await signIn(browser, '?prompt=none&returnTo=/start')
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/start'])
    expect(sessionCookies(answer)).toEqual([])
    await expectAliceStays(browser, before)
  })

  test('R310 prompt=none that began before anybody was signed in takes no session that began since', async () => {
    const browser = world.browser()
    world.as.behaviour.user = { sub: 'mallory' }
    const callback = await browser.untilCallback('?prompt=none')
    world.as.behaviour.user = { sub: 'alice' }
    await signIn(browser)
    const before = (await sessionOf(browser)).session.id
    world.as.behaviour.user = { sub: 'mallory' }
    world.as.requests.length = 0
    await comeBack(browser, callback)
    await expectAliceStays(browser, before)
  })

  test('R055 it is also refused where the session comes along', async () => {
    const browser = await aliceSignedIn()
    const before = (await sessionOf(browser)).session.id
    expectRefusal(await browser.signIn('?acr_values=gold'), 400, 'login_failed')
    await expectAliceStays(browser, before)
  })

  test.each(['?prompt=none', '?acr_values=gold', '?max_age=60', '?scope=orders:write'])(
    '%s goes on as the same user, and without a session as anybody',
    async (query) => {
      world.as.behaviour.user = { sub: 'alice', acr: 'gold', auth_time: Math.floor(Date.now() / 1_000) }
      const browser = world.browser()
      for (const sub of ['alice', 'alice']) {
        expect((await signIn(browser, query)).status).toBe(303)
        expect((await sessionOf(browser)).user.sub).toBe(sub)
      }
      expect((await sessionOf(browser)).session).not.toHaveProperty('replacedUser')
      await expect.poll(() => world.logged('session.ended')).toMatchObject([{ reason: 'session_replaced' }])
    },
  )
})

describe('R310 a plain sign-in as somebody else', () => {
  const world = faultWorld()

  test('takes the place of the session, and says so to the page and to the operator', async () => {
    const browser = world.browser()
    await signIn(browser)
    const { session } = await sessionOf(browser)
    expect(session).not.toHaveProperty('replacedUser')
    world.as.behaviour.user = { sub: 'bob' }
    expect((await signIn(browser)).status).toBe(303)
    expect(await sessionOf(browser)).toMatchObject({ user: { sub: 'bob' }, session: { replacedUser: true } })
    await expect
      .poll(() => world.logged('session.ended'))
      .toMatchObject([{ session: session.id, reason: 'user_replaced' }])
  })
})

describe('R310 two tabs that sign in at the same time as two users', () => {
  const world = faultWorld()

  test('end with one session: the other is over, and the log says why', async () => {
    const browser = world.browser()
    const callbacks = [await browser.untilCallback(), await browser.untilCallback()]
    await comeBack(browser, callbacks[0] ?? '')
    const first = await sessionOf(browser)
    world.as.behaviour.user = { sub: 'bob' }
    await comeBack(browser, callbacks[1] ?? '')
    expect(await sessionOf(browser)).toMatchObject({ user: { sub: 'bob' }, session: { replacedUser: true } })
    await expect
      .poll(() => world.logged('session.ended'))
      .toMatchObject([{ session: first.session.id, reason: 'user_replaced' }])
  })
})

describe('R055 the same subject at another authorization server', () => {
  test('is another user, and a stronger sign-in goes to where the user came from', async () => {
    const other = closeAfterTest(await startAuthorizationServer())
    const world = await startWorld(({ as }) => ({ providers: [providerFor(as), providerFor(other, 'partners')] }))
    const browser = world.browser()
    await signIn(browser, '?provider=partners')
    for (const as of [world.as, other]) as.behaviour.user = { sub: 'alice', acr: 'gold' }
    expectRefusal(await signIn(browser, '?provider=main&acr_values=gold'), 400, 'login_failed')
    expect((await signIn(browser, '?acr_values=gold')).status).toBe(303)
    expect((await sessionOf(browser)).provider).toBe('partners')
  })
})

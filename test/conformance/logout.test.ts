// The conformance suite's modules for logout: started here, and told by the authorization server behind the browser's back.
import { describe, expect, test } from 'vitest'
import type { Browser, BrowserResponse } from '../support/browser.ts'
import { providerFor } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { hs256, jwt, readJwt, unsigned } from '../support/forge.ts'
import { expectNoCanary, expectSignedOut } from '../support/oracles.ts'

const world = faultWorld(({ as }) => ({ providers: [{ ...providerFor(as), frontchannelLogout: true }] }))

/** Signs out here; gives where the browser is sent. */
async function signOut(browser: Browser): Promise<URL> {
  const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
  expect(answer.status).toBe(200)
  await expectSignedOut(browser, answer)
  return new URL(answer.json().logoutUrl)
}

describe('oidcc-client-back-channel-logout-rp-basic', () => {
  const event = 'http://schemas.openid.net/event/backchannel-logout'

  /** Two sessions of a user, of which one signs out; then the suite's logout token arrives, with a change. */
  async function afterSignOut(
    make: (claims: Record<string, unknown>) => Promise<string>,
  ): Promise<{ answer: BrowserResponse; other: Browser }> {
    const sids: string[] = []
    world.as.behaviour.idToken = ({ sid }) => void sids.push(String(sid))
    const [leaving, other] = [world.browser(), world.browser()]
    await leaving.signIn()
    await other.signIn()
    await signOut(leaving)
    const token = await make({ sub: 'alice', sid: sids[0], unknown_claim: { must: 'be ignored' } })
    const answer = await leaving.send('/auth/backchannel-logout', {
      method: 'POST',
      body: new URLSearchParams({ logout_token: token }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded', cookie: '' },
    })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    await expectSignedOut(leaving, answer)
    expectNoCanary(world, leaving, other)
    return { answer, other }
  }

  async function isRefused(make: (claims: Record<string, unknown>) => Promise<string>): Promise<void> {
    // Of the whole user: if it were believed the other session would end, too.
    const { answer, other } = await afterSignOut((claims) => make({ ...claims, sid: undefined }))
    expect(answer.status).toBe(400)
    expect(answer.json()).toMatchObject({ error: 'invalid_request' })
    expect((await other.fetch('/api/orders')).status).toBe(200)
  }

  test('oidcc-client-test-rp-backchannel-rpinitlogout: answers 200 with `no-store`, and ends no other session', async () => {
    const { answer, other } = await afterSignOut((claims) => world.as.logoutToken(claims))
    expect([answer.status, answer.text]).toEqual([200, ''])
    expect((await other.fetch('/api/orders')).status).toBe(200)
  })

  test('oidcc-client-test-rp-backchannel-rpinitlogout-alg-none: answers 400, ends nothing', async () => {
    await isRefused(async (claims) => {
      const honest = readJwt(await world.as.logoutToken(claims))
      return jwt({ ...honest.header, alg: 'none' }, honest.claims, unsigned)
    })
  })

  test('oidcc-client-test-rp-backchannel-rpinitlogout-no-event: answers 400, ends nothing', async () => {
    await isRefused((claims) => world.as.logoutToken({ ...claims, events: undefined }))
  })

  test('oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce: answers 400, ends nothing', async () => {
    await isRefused((claims) => world.as.logoutToken({ ...claims, nonce: 'n-0S6_WzA2Mj' }))
  })

  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-alg: answers 400, ends nothing', async () => {
    await isRefused(async (claims) => {
      const honest = readJwt(await world.as.logoutToken(claims))
      return jwt({ ...honest.header, alg: 'HS256' }, honest.claims, hs256(world.as.clientSecret))
    })
  })

  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud: answers 400, ends nothing', async () => {
    await isRefused((claims) => world.as.logoutToken({ ...claims, aud: `${world.as.clientId}1` }))
  })

  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event: answers 400, ends nothing', async () => {
    await isRefused((claims) =>
      world.as.logoutToken({ ...claims, events: { [event.replace('backchannel-logout', 'foobar')]: {} } }),
    )
  })

  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss: answers 400, ends nothing', async () => {
    await isRefused((claims) => world.as.logoutToken({ ...claims, iss: `${world.as.issuer}1` }))
  })
})

describe('oidcc-client-rp-initiated-logout-rp-basic', () => {
  async function comesBack(browser: Browser, query: URLSearchParams): Promise<void> {
    const back = await browser.navigate(`/auth/logout/callback?${query}`, {
      headers: { 'sec-fetch-site': 'cross-site' },
    })
    expect([back.status, back.headers.get('location')]).toEqual([303, '/'])
    await expectSignedOut(browser, back)
    expectNoCanary(world, browser)
  }

  /** What came back counts for nothing with a session that is there: it neither ends nor changes. */
  async function leavesSessionAlone(query: URLSearchParams): Promise<void> {
    const browser = world.browser()
    await browser.signIn()
    const back = await browser.navigate(`/auth/logout/callback?${query}`, {
      headers: { 'sec-fetch-site': 'cross-site' },
    })
    expect([back.status, back.headers.get('location')]).toEqual([303, '/'])
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  }

  const confirmed = () => world.logged('logout.returned').map((event) => event.confirmed)

  test('oidcc-client-test-rp-init-logout: ends the session here first, then sends the browser with `client_id`, return address and `state`', async () => {
    const browser = world.browser()
    await browser.signIn()
    const url = await signOut(browser)
    expect(url.origin + url.pathname).toBe(`${world.as.issuer}/end-session`)
    expect(Object.fromEntries(url.searchParams)).toEqual({
      client_id: world.as.clientId,
      post_logout_redirect_uri: `${world.publicUrl}/auth/logout/callback`,
      state: expect.stringMatching(/^[\w-]{22,}$/),
    })
    await comesBack(browser, new URLSearchParams({ state: url.searchParams.get('state') ?? '' }))
    await expect.poll(confirmed).toEqual([true])
  })

  test('oidcc-client-test-rp-init-logout-other-state: goes on to the page, signed out, and does not count it as confirmed', async () => {
    const browser = world.browser()
    await browser.signIn()
    await signOut(browser)
    const query = new URLSearchParams({ state: 'A'.repeat(43) })
    await comesBack(browser, query)
    await leavesSessionAlone(query)
    await expect.poll(confirmed).toEqual([false, false])
  })

  test('oidcc-client-test-rp-init-logout-no-state: goes on to the page, signed out, and does not count it as confirmed', async () => {
    const browser = world.browser()
    await browser.signIn()
    await signOut(browser)
    await comesBack(browser, new URLSearchParams())
    await leavesSessionAlone(new URLSearchParams())
    await expect.poll(confirmed).toEqual([false, false])
  })
})

describe('front-channel logout', () => {
  async function framed(query: Record<string, string>): Promise<BrowserResponse> {
    return world.browser().send(`/auth/frontchannel-logout?${new URLSearchParams(query)}`, {
      headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
    })
  }

  /** Switched on, with one session; gives that and its name at the authorization server. */
  async function session(): Promise<{ browser: Browser; query: Record<string, string> }> {
    let named = ''
    world.as.behaviour.idToken = ({ sid }) => {
      named = String(sid)
    }
    const browser = world.browser()
    await browser.signIn()
    return { browser, query: { iss: world.as.issuer, sid: named } }
  }

  test('oidcc-client-test-rp-frontchannel-opinitlogout: ends the session of `iss` and `sid`', async () => {
    const { browser, query } = await session()
    const answer = await framed(query)
    expect(answer.status).toBe(200)
    expect((await browser.fetch('/api/orders')).status).toBe(401)
    expectNoCanary(world, browser)
  })

  test('oidcc-client-test-rp-frontchannel-rpinitlogout: ends what is left of the session of `iss` and `sid`, and no other', async () => {
    const [leaving, left, other] = [world.browser(), world.browser(), world.browser()]
    // Signed in at the authorization server once, and here twice.
    for (const [browser, sid] of [[leaving, 'one'] as const, [left, 'one'] as const, [other, 'other'] as const]) {
      world.as.behaviour.idToken = (claims) => Object.assign(claims, { sid })
      await browser.signIn()
    }
    const works = async (browser: Browser) => (await browser.fetch('/api/orders')).status
    await signOut(leaving)
    expect([await works(left), await works(other)]).toEqual([200, 200])
    const answer = await framed({ iss: world.as.issuer, sid: 'one' })
    expect([answer.status, answer.text]).toEqual([200, ''])
    await expectSignedOut(leaving, answer)
    expect([await works(left), await works(other)]).toEqual([401, 200])
    expectNoCanary(world, leaving, left, other)
  })
})

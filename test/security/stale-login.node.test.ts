// Old logins: a transaction that took longer than ten minutes, whatever the browser still holds (R033, R208).
// Node only: the clock is moved by hand.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'

const minute = 60_000

describe('R033 R208 a login', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('that took nine minutes and a half still works', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callback = await browser.untilCallback()
    vi.setSystemTime(Date.now() + 9.5 * minute)
    expect((await browser.navigate(callback)).status).toBe(303)
  })

  test('that took ten minutes is over, although the browser kept the cookie', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callback = await browser.untilCallback()
    vi.setSystemTime(Date.now() + 10 * minute)
    const answer = await browser.navigate(callback)
    expectRefusal(answer, 400, 'login_expired')
    await expectSignedOut(browser, answer)
    expectSilent(world.as, '/token')
  })

  test('that is old is not made young by a new one in the same cookie', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const old = await browser.untilCallback('?returnTo=/old')
    vi.setSystemTime(Date.now() + 6 * minute)
    const young = await browser.untilCallback('?returnTo=/young')
    vi.setSystemTime(Date.now() + 5 * minute)
    expectRefusal(await browser.navigate(old), 400, 'login_expired')
    expect((await browser.navigate(young)).headers.get('location')).toBe('/young')
  })

  test('that was used is not forgotten as long as its cookie could come back', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const cookie = browser.cookieHeader()
    await browser.navigate(callback)
    for (let passed = 0; passed < 11; passed++) {
      vi.setSystemTime(Date.now() + minute)
      expectRefusal(await world.browser().navigate(callback, { headers: { cookie } }), 400, 'login_expired')
    }
    expect(world.as.to('/token')).toHaveLength(1)
  })
})

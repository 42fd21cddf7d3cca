// A callback that comes again, or too late, as a browser really brings it: from another site, without cookies that are
// SameSite=Strict. Its page looks from this site whether somebody is signed in.
import { describe, expect, test } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { faultWorld } from '../support/fault-world.ts'
import { links } from '../support/html.ts'
import { expectRefusal, sessionCookies } from '../support/oracles.ts'

const fromElsewhere = { 'sec-fetch-site': 'cross-site' }

describe('a stale callback', () => {
  const world = faultWorld()

  /** Comes back from the authorization server, with what a browser sends then. */
  function comeBack(browser: Browser, callback: string) {
    const cookie = [...browser.cookies].filter(([name]) => name.endsWith('-login')).map((pair) => pair.join('='))
    return browser.navigate(callback, { headers: { ...fromElsewhere, cookie: cookie.join('; ') } })
  }

  const refreshOf = (text: string) =>
    /<meta http-equiv="refresh" content="0; url=([^"]*)">/.exec(text)?.[1]?.replaceAll('&amp;', '&')

  test('of who is signed in goes on to its returnTo, by way of its page', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback('?returnTo=/orders%3Fa=1%26b=%2522')
    expect((await comeBack(browser, callback)).status).toBe(303)
    const again = await comeBack(browser, callback)
    expectRefusal(again, 400, 'login_expired')
    expect(again.text).not.toContain('<script')
    const look = refreshOf(again.text) ?? ''
    expect(look).toMatch(/^\/auth\/continue\?/)
    const next = await browser.navigate(look)
    expect([next.status, next.headers.get('location')]).toEqual([303, '/orders?a=1&b=%22'])
    expect(next.setCookie).toEqual([])
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('of a tab whose place in the cookie another took ends where the user is signed in', async () => {
    const browser = world.browser()
    const lost = await browser.untilCallback('?returnTo=/lost')
    browser.cookies.clear()
    await browser.signIn('?returnTo=/kept')
    const look = refreshOf((await comeBack(browser, lost)).text) ?? ''
    expect((await browser.navigate(look)).headers.get('location')).toBe('/')
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('of who is not signed in ends on a page that goes nowhere by itself', async () => {
    const browser = world.browser()
    const first = await browser.navigate('/auth/callback?code=x&state=y', { headers: fromElsewhere })
    expectRefusal(first, 400, 'login_expired')
    const second = await browser.navigate(refreshOf(first.text) ?? '')
    expectRefusal(second, 400, 'login_expired')
    expect(second.headers.get('content-type')).toContain('text/html')
    expect(refreshOf(second.text)).toBeUndefined()
    expect(links(second.text)).toEqual(['/auth/login?returnTo=%2F', '/'])
    expect(sessionCookies(second)).toEqual([])
  })

  test('tells a browser that brought no cookie of it that it may keep none', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    expect((await comeBack(browser, callback)).status).toBe(303)
    expect((await comeBack(browser, callback)).text).not.toContain('it keeps no cookies')
    browser.cookies.clear()
    expect((await comeBack(browser, callback)).text).toContain('it keeps no cookies of this site')
  })

  test.each(['//evil.test', 'https://evil.test/', '/\\evil.test', 'javascript:alert(1)', '/auth/../\t/evil.test'])(
    'leads from its page to no other site: %s',
    async (returnTo) => {
      const browser = world.browser()
      await browser.signIn()
      const answer = await browser.navigate(`/auth/continue?returnTo=${encodeURIComponent(returnTo)}`)
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    },
  )

  test('R314 tells no other site whether somebody is signed in', async () => {
    const browser = world.browser()
    await browser.signIn()
    for (const more of [
      {},
      { 'sec-fetch-dest': 'iframe' },
      { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
    ]) {
      const headers = { ...fromElsewhere, ...more }
      expectRefusal(await browser.navigate('/auth/continue?returnTo=/x', { headers }), 400, 'login_expired')
      const answer = await browser.navigate('/auth/callback?state=x', { headers })
      expect(refreshOf(answer.text) !== undefined).toBe(Object.keys(more).length === 0)
    }
  })
})

describe('a sign-in that fails where somebody is signed in', () => {
  const world = faultWorld()

  test('says that nothing was changed, leads back, and asks for the same again', async () => {
    const browser = world.browser()
    await browser.signIn()
    const query = '?acr_values=gold&max_age=60&returnTo=/pay'
    const answer = await browser.signIn(query)
    expectRefusal(answer, 400, 'login_failed')
    expect(answer.text).toContain('Nothing was changed. You can go on where you were.')
    expect(answer.text).not.toContain('Nobody was signed in')
    const [again = '', back] = links(answer.text)
    expect(Object.fromEntries(new URL(again, world.publicUrl).searchParams)).toEqual({
      acr_values: 'gold',
      max_age: '60',
      returnTo: '/pay',
    })
    expect(back).toBe('/pay')
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
  })

  test('and nobody is, says that nobody was signed in', async () => {
    const answer = await world.browser().signIn('?acr_values=gold&returnTo=/pay')
    expect(answer.text).toContain('Nobody was signed in')
    expect(links(answer.text)).toEqual(['/auth/login?returnTo=%2Fpay&acr_values=gold'])
  })
})

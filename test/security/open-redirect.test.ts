// Open redirect: an address of the attacker's in every place that says where to go next, through the whole sign-in and the
// sign-out (R030, R124; RFC 9700 4.11, OWASP Unvalidated Redirects).
import { describe, expect, test } from 'vitest'
import type { World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { links } from '../support/html.ts'
import { expectRefusal, expectSignedOut } from '../support/oracles.ts'

const evil = 'evil.test'

/** Each of these leads off the site in some browser, some URL parser or some redirect that re-emits only the path. */
const hostile = [
  `//${evil}`,
  `///${evil}`,
  `////${evil}`,
  `//${evil}@app.localhost`,
  `//app.localhost@${evil}`,
  `//app.localhost.${evil}`,
  `/\\${evil}`,
  `/\\/${evil}`,
  `\\\\${evil}`,
  `\\/${evil}`,
  `/\t/${evil}`,
  `/\n/${evil}`,
  `/\r/${evil}`,
  `\t//${evil}`,
  `\x01//${evil}`,
  `\x00//${evil}`,
  ` //${evil}`,
  `/\x0b/${evil}`,
  `/\x7f/${evil}`,
  `/\u0085/${evil}`,
  `/..//${evil}`,
  `/.//${evil}`,
  `/../..//${evil}`,
  `/a/..//${evil}`,
  `/a/../..//${evil}`,
  `/%2e%2e//${evil}`,
  `/.%2E//${evil}`,
  `/%2e//${evil}`,
  `/..//${evil}/..`,
  `/.\\/${evil}`,
  `http:${evil}`,
  `http:/${evil}`,
  `http://${evil}`,
  `https://${evil}`,
  `https:///${evil}`,
  `HTTPS://${evil}`,
  `http:\\\\${evil}`,
  `javascript:alert(1)//${evil}`,
  `JaVaScRiPt:alert(1)//${evil}`,
  `java\tscript:alert(1)//${evil}`,
  `data:text/html,${evil}`,
  `vbscript:${evil}`,
  `blob:http://${evil}`,
  `about:blank#${evil}`,
  `ftp://${evil}`,
  `@${evil}`,
  `.${evil}`,
  `:80@${evil}`,
  `?//${evil}`,
  `#//${evil}`,
  `${evil}`,
  `/\r\nLocation: http://${evil}`,
  `/%0d%0aLocation:%20http://${evil}/\r\nSet-Cookie: x=1`,
  `/\u2028/${evil}`,
  `\ufeff//${evil}`,
  `\u3000//${evil}`,
  `/\ud800//${evil}`,
  `／／${evil}`,
  `/／${evil}`,
  `//${evil}%2f..`,
  `//%65vil.test`,
  `//0x7f.1`,
  `//[::1]/${evil}`,
  `/${'a'.repeat(8_000)}//${evil}`,
]

/** Fails when a browser that got this address from coatcheck would leave the site. */
function expectOwn(world: World, address: string | null): void {
  expect(address).toMatch(/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/)
  const read = new URL(address ?? '', `${world.publicUrl}/auth/callback`)
  expect(read.origin).toBe(new URL(world.publicUrl).origin)
  // A browser, or a page's script, may take only the path and read that again.
  expect(new URL(read.pathname + read.search + read.hash, world.publicUrl).href).toBe(read.href)
}

const shown = (value: string) =>
  JSON.stringify(value.length > 60 ? `${value.slice(0, 20)}... (${value.length})` : value)

describe('R030 returnTo', () => {
  const world = faultWorld()

  test.each(hostile.map((value) => [shown(value), value]))('%s never leaves the site', async (_, value) => {
    const query = `?returnTo=${encodeURIComponent(Buffer.from(value).toString())}`
    const browser = world.browser()
    const login = await browser.navigate(`/auth/login${query}`)
    expect(new URL(login.headers.get('location') ?? '').origin).toBe(world.as.issuer)

    const callback = await browser.untilCallback(query)
    const finished = await browser.navigate(callback)
    expect(finished.status).toBe(303)
    expectOwn(world, finished.headers.get('location'))

    const repeated = await browser.navigate(callback)
    expect(repeated.status).toBe(303)
    expectOwn(world, repeated.headers.get('location'))

    for (const name of [...browser.cookies.keys()]) if (!name.endsWith('-login')) browser.cookies.delete(name)
    const page = await browser.navigate(callback)
    expect(page.status).toBe(400)
    const addresses = links(page.text)
    expect(addresses).toHaveLength(2)
    for (const address of addresses) expectOwn(world, address)
    const again = new URL(addresses[0] ?? '', world.publicUrl)
    expectOwn(world, again.searchParams.get('returnTo'))
  })

  test.each(hostile.slice(0, 30).map((value) => [shown(value), value]))(
    '%s never leaves the site when prompt=none finds nobody',
    async (_, value) => {
      world.as.behaviour.callback = (parameters) => {
        parameters.delete('code')
        parameters.set('error', 'login_required')
      }
      const answer = await world.browser().signIn(`?prompt=none&returnTo=${encodeURIComponent(value)}`)
      expect(answer.status).toBe(303)
      expectOwn(world, answer.headers.get('location'))
    },
  )

  test.each(hostile.slice(0, 30).map((value) => [shown(value), value]))(
    '%s never leaves the site from the page of a failure',
    async (_, value) => {
      world.as.behaviour.callback = (parameters) => {
        parameters.delete('code')
        parameters.set('error', 'access_denied')
      }
      const page = await world.browser().signIn(`?returnTo=${encodeURIComponent(value)}`)
      expect(page.status).toBe(400)
      const [again = ''] = links(page.text)
      expectOwn(world, again)
      expectOwn(world, new URL(again, world.publicUrl).searchParams.get('returnTo'))
    },
  )

  test.each(hostile.slice(0, 30).map((value) => [shown(value), value]))(
    '%s never leaves the site from the page that asks first',
    async (_, value) => {
      const headers = { 'sec-fetch-site': 'cross-site' }
      const page = await world.browser().navigate(`/auth/login?returnTo=${encodeURIComponent(value)}`, { headers })
      expect(page.status).toBe(200)
      for (const address of links(page.text)) {
        expect(new URL(address, world.publicUrl).origin).toBe(world.publicUrl)
        expect(address).toMatch(/^\/(?:$|auth\/login\?)/)
      }
    },
  )

  test.each([
    '/',
    '/orders',
    '/orders?page=2&q=a%20b#note',
    '/a//b',
    '/%2F%2Fevil.test',
    '/ä',
    '/?u=https://evil.test',
  ])('%s of our own is kept', async (path) => {
    const answer = await world.browser().signIn(`?returnTo=${encodeURIComponent(path)}`)
    expectOwn(world, answer.headers.get('location'))
    expect(decodeURI(answer.headers.get('location') ?? '')).toBe(decodeURI(path))
  })

  test('given twice is refused, and nothing is set', async () => {
    const browser = world.browser()
    for (const query of [
      `?returnTo=/a&returnTo=//${evil}`,
      `?returnTo=//${evil}&returnTo=/a`,
      '?returnTo=/a&returnTo=/a',
    ]) {
      const answer = await browser.navigate(`/auth/login${query}`)
      expectRefusal(answer, 400, 'bad_request')
      expect(answer.setCookie).toEqual([])
    }
  })

  test.each([8_192, 16_384, 65_536, 131_072])('of %i characters leads nowhere and breaks nothing', async (length) => {
    const browser = world.browser()
    const answer = await browser.navigate(`/auth/login?returnTo=/${'a'.repeat(length)}`)
    expect([303, 400, 414, 431]).toContain(answer.status)
    for (const cookie of answer.setCookie) expect(cookie.length).toBeLessThanOrEqual(4_096)
    expect((await world.browser().signIn()).headers.get('location')).toBe('/')
  })

  test('in a form that frameworks read as an object or a list counts for nothing', async () => {
    for (const query of [
      `?returnTo[]=//${evil}`,
      `?returnTo[href]=//${evil}`,
      `?returnto=//${evil}`,
      `?%72eturnTo=//${evil}`,
    ]) {
      const answer = await world.browser().signIn(query)
      expect(answer.headers.get('location')).toBe('/')
    }
  })
})

describe('R030 R124 any other parameter that names an address', () => {
  const world = faultWorld()
  const names =
    'target_link_uri redirect_uri redirect redirectTo return_to next url rd continue post_logout_redirect_uri iss'

  test.each(names.split(' '))('%s at the login changes nothing', async (name) => {
    const honest = new URL((await world.browser().navigate('/auth/login')).headers.get('location') ?? '')
    const browser = world.browser()
    const answer = await browser.navigate(`/auth/login?${name}=${encodeURIComponent(`https://${evil}/`)}`)
    const asked = new URL(answer.headers.get('location') ?? '')
    expect(asked.origin + asked.pathname).toBe(honest.origin + honest.pathname)
    expect([...asked.searchParams.keys()]).toEqual([...honest.searchParams.keys()])
    expect(asked.searchParams.get('redirect_uri')).toBe(`${world.publicUrl}/auth/callback`)
    expect(asked.href).not.toContain(evil)
    expect((await browser.signIn(`?${name}=//${evil}`)).headers.get('location')).toBe('/')
  })

  test.each(['returnTo', 'post_logout_redirect_uri', 'redirect', 'state'])(
    '%s at the sign-out changes nothing',
    async (name) => {
      const browser = world.browser()
      await browser.signIn()
      const query = `?${name}=${encodeURIComponent(`https://${evil}/`)}`
      const body = query.slice(1)
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      const logout = await browser.fetch(`/auth/logout${query}`, { method: 'POST', headers, body })
      expect(logout.status).toBe(303)
      const end = new URL(logout.headers.get('location') ?? '')
      expect(end.origin + end.pathname).toBe(`${world.as.issuer}/end-session`)
      expect(end.href).not.toContain(evil)
      await expectSignedOut(browser, logout)
      const back = await browser.navigate(`/auth/logout/callback${query}`)
      expect([back.status, back.headers.get('location')]).toEqual([303, '/'])
    },
  )
})

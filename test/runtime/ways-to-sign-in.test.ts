import { describe, expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { type Overrides, providerFor, startWorld, type World } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'

async function worldWithTwo(more: Overrides = {}) {
  const other = closeAfterTest(await startAuthorizationServer())
  const world = await startWorld((parts) => ({
    ...(typeof more === 'function' ? more(parts) : more),
    providers: [{ ...providerFor(parts.as), name: 'Staff & <friends>' }, { ...providerFor(other, 'partners') }],
  }))
  return { world, other }
}

const asked = (answer: { headers: Headers }) => new URL(answer.headers.get('location') ?? 'none:')

describe('with several providers', () => {
  test('the first one is meant unless another is named', async () => {
    const { world, other } = await worldWithTwo()
    expect(asked(await world.browser().navigate('/auth/login')).origin).toBe(world.as.issuer)
    expect(asked(await world.browser().navigate('/auth/login?provider=partners')).origin).toBe(other.issuer)
  })

  test('a chooser asks the user, keeps what was asked for, and begins nothing itself', async () => {
    const { world, other } = await worldWithTwo({ login: { chooser: true } })
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login?returnTo=/orders%3Fa%3D1&prompt=login')
    expect(answer.status).toBe(200)
    expect(answer.setCookie).toEqual([])
    expect(answer.text).toContain('Staff &amp; &lt;friends&gt;')
    const [, href = ''] = /href="([^"]*provider=partners[^"]*)"/.exec(answer.text) ?? []
    const login = asked(await browser.navigate(href.replaceAll('&amp;', '&')))
    expect(login.origin).toBe(other.issuer)
    expect(login.searchParams.get('prompt')).toBe('login')
  })

  test('the same name at two of them is two users', async () => {
    const { world } = await worldWithTwo()
    const [one, two] = [world.browser(), world.browser()]
    await one.signIn()
    await two.signIn('?provider=partners')
    expect((await one.fetch('/auth/sessions')).json().sessions).toHaveLength(1)
    expect((await two.fetch('/auth/sessions')).json().sessions).toHaveLength(1)
  })
})

describe('a sign-in in a window of its own', () => {
  test('ends on a page that says so to its own origin, and has nothing else in it', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const back = await browser.signIn('?returnTo=/auth/popup')
    expect(back.headers.get('location')).toBe('/auth/popup')
    const page = await browser.navigate('/auth/popup')
    expect(page.text).toContain('new BroadcastChannel("coatcheck-login").postMessage(\'finished\')')
    expect(page.headers.get('content-security-policy')).toMatch(/script-src 'nonce-[\w-]+'/)
    expect(page.text).not.toContain('CANARY')
    expect(page.headers.get('cache-control')).toBe('no-store')
  })
})

describe('a sign-in that goes round in circles', () => {
  /** Signs in without keeping the session, as a browser that blocks cookies of pages, or an application that deletes them. */
  async function lost(world: World, times: number) {
    const browser = world.browser()
    for (let round = 0; round < times; round++) {
      await browser.signIn()
      for (const name of [...browser.cookies.keys()]) if (!name.includes('login')) browser.cookies.delete(name)
    }
    return browser
  }

  test('is stopped with an explanation, and can be tried again', async () => {
    const world = await startWorld()
    const browser = await lost(world, 4)
    const before = world.as.requests.length
    const stopped = await browser.navigate('/auth/login?returnTo=/orders')
    expect(stopped.status).toBe(400)
    expect(stopped.text).toContain('Signing in goes round in circles')
    expect(stopped.text).toContain('/auth/login?returnTo=%2Forders')
    expect(stopped.headers.get('coatcheck-error')).toBe('login_failed')
    expect(world.as.requests).toHaveLength(before)
    expect((await browser.navigate('/auth/login?returnTo=/orders')).status).toBe(303)
  })

  test('is not taken for one before that, nor where the user signs out in between', async () => {
    const world = await startWorld()
    expect((await (await lost(world, 3)).navigate('/auth/login')).status).toBe(303)
    const busy = world.browser()
    for (let round = 0; round < 8; round++) {
      await busy.signIn()
      await busy.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    }
    expect((await busy.navigate('/auth/login')).status).toBe(303)
  })

  test('is stopped for prompt=none too, when a page asks again and again', async () => {
    const world = await startWorld()
    world.as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      parameters.set('error', 'login_required')
    }
    const browser = world.browser()
    for (let round = 0; round < 4; round++) expect((await browser.signIn('?prompt=none')).status).toBe(303)
    expect((await browser.navigate('/auth/login?prompt=none')).status).toBe(400)
  })
})

describe('a sign-in that another site asks for (third-party initiated)', () => {
  const initiate = (world: World, query: Record<string, string>, headers = { 'sec-fetch-site': 'cross-site' }) =>
    world.browser().navigate(`/auth/initiate-login?${new URLSearchParams(query)}`, { headers })

  test('is not there unless it is switched on', async () => {
    const world = await startWorld()
    expect((await initiate(world, { iss: world.as.issuer })).status).toBe(404)
  })

  test('asks the user, and goes to the issuer and the page that were named', async () => {
    const world = await startWorld({ login: { thirdPartyInitiated: true } })
    const target = `${world.publicUrl}/orders?a=1`
    const answer = await initiate(world, { iss: world.as.issuer, login_hint: 'alice', target_link_uri: target })
    expect(answer.status).toBe(200)
    expect(answer.setCookie).toEqual([])
    const [, href = ''] = /href="(\/auth\/login[^"]*)"/.exec(answer.text) ?? []
    const browser = world.browser()
    const login = asked(await browser.navigate(href.replaceAll('&amp;', '&')))
    expect(login.searchParams.get('login_hint')).toBe('alice')
    expect(
      (await browser.signIn(href.replaceAll('&amp;', '&').replace('/auth/login', ''))).headers.get('location'),
    ).toBe('/orders?a=1')
  })

  test('is refused for an issuer that is not configured, and for a page elsewhere', async () => {
    const world = await startWorld({ login: { thirdPartyInitiated: true } })
    const iss = world.as.issuer
    const refused = [
      {},
      { iss: 'https://evil.test' },
      { iss: `${iss}/` },
      { iss, target_link_uri: 'https://evil.test/' },
      { iss, target_link_uri: `${world.publicUrl}.evil.test/` },
      { iss, target_link_uri: 'javascript:alert(1)' },
    ]
    for (const query of refused) expect((await initiate(world, query)).status, JSON.stringify(query)).toBe(400)
  })
})

import { describe, expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { type Overrides, providerFor, startWorld, storage, type World } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { expectSilent } from '../support/oracles.ts'

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

  describe('the address of another sign-in leads back to the one that the user came from', () => {
    /** Signs in with the second one. */
    async function atPartners(more: Overrides = {}) {
      const { world, other } = await worldWithTwo(more)
      other.behaviour.user = { sub: 'paula' }
      const browser = world.browser()
      await browser.signIn('?provider=partners')
      return { world, other, browser }
    }
    const query = (url: string) => Object.fromEntries(new URL(url, 'http://x').searchParams)

    test.each([
      ['insufficient_user_authentication", acr_values="gold', 401, { acr_values: 'gold' }],
      ['insufficient_scope", scope="orders', 403, { scope: 'orders', prompt: 'consent' }],
    ])('when an API says %s', async (error, status, asks) => {
      const { world, other, browser } = await atPartners()
      world.api.answer = (_, response) =>
        response.writeHead(status, { 'www-authenticate': `Bearer error="${error}"` }).end()
      const { loginUrl } = (await browser.fetch('/api/orders')).json()
      expect(query(loginUrl)).toMatchObject({ ...asks, provider: 'partners' })
      other.behaviour.user = { sub: 'paula', acr: 'gold' }
      expect((await browser.signIn(loginUrl.replace('/auth/login', ''))).status).toBe(303)
      expect((await browser.fetch('/auth/session')).json()).toMatchObject({
        provider: 'partners',
        user: { sub: 'paula' },
      })
      expectSilent(world.as, '/authorize')
    })

    test.each([
      ['acr', { acr: ['gold'] }, { acr_values: 'gold', provider: 'partners' }],
      ['scope', { scope: ['admin'] }, { scope: 'admin', prompt: 'consent', provider: 'partners' }],
    ])('when a route requires %s', async (_, require, asks) => {
      const { other, browser } = await atPartners(({ api }) => ({
        routes: [{ path: '/api', upstream: api.url, token: 'user', require }],
      }))
      other.behaviour.scope = 'openid'
      await browser.signIn('?provider=partners')
      expect(query((await browser.fetch('/api/orders')).json().loginUrl)).toEqual(asks)
    })

    test('when the session can go on no more, or is over', async () => {
      const { other, browser } = await atPartners()
      other.behaviour.expiresIn = 1
      other.behaviour.refreshTokens = false
      await browser.signIn('?provider=partners')
      const cookies = [...browser.cookies].filter(([name]) => !name.includes('login'))
      await expect.poll(async () => (await browser.fetch('/auth/session')).json().session.state).toBe('reauth_required')
      const refused = (await browser.fetch('/api/orders')).json()
      expect(refused).toMatchObject({ code: 'reauth_required', loginUrl: '/auth/login?provider=partners' })
      await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
      for (const [name, value] of cookies) browser.cookies.set(name, value)
      const ended = (await browser.fetch('/api/orders')).json()
      const known = storage === 'cookie' ? '?provider=partners' : ''
      expect(ended).toMatchObject({ code: 'session_expired', loginUrl: `/auth/login${known}` })
    })

    test('when a sign-in failed, or had happened before', async () => {
      const { other, browser } = await atPartners()
      const callback = await browser.untilCallback('?provider=partners&returnTo=/orders')
      await browser.navigate(callback)
      for (const name of ['coatcheck', 'coatcheck.1']) browser.cookies.delete(name)
      const again = '/auth/login?returnTo=%2Forders&amp;provider=partners'
      expect((await browser.navigate(callback)).text).toContain(again)
      other.behaviour.callback = (answer) => answer.set('error', 'access_denied')
      expect((await browser.signIn('?provider=partners&returnTo=/orders')).text).toContain(again)
    })

    test('also when a page asks for a stronger or silent sign-in without saying where', async () => {
      const { other, browser } = await atPartners({ login: { chooser: true } })
      for (const search of ['?acr_values=gold', '?prompt=none', '?max_age=60']) {
        expect(asked(await browser.navigate(`/auth/login${search}`)).origin).toBe(other.issuer)
      }
    })

    test('and asks for no scope that only another one granted', async () => {
      const { world, other, browser } = await atPartners(({ api }) => ({
        routes: [{ path: '/api', upstream: api.url, token: 'user', require: { scope: ['a', 'b'] } }],
      }))
      other.behaviour.scope = 'openid a'
      await browser.signIn('?provider=partners')
      const scopeAt = async (provider: string) =>
        asked(await browser.navigate(`/auth/login?scope=b&provider=${provider}`))
          .searchParams.get('scope')
          ?.split(' ')
      expect(await scopeAt('main')).not.toContain('a')
      expect(await scopeAt('partners')).toEqual(expect.arrayContaining(['a', 'b']))
      expect(world.as.to('/token')).toEqual([])
    })
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
  async function lost(world: World, times: number, query = '') {
    const browser = world.browser()
    for (let round = 0; round < times; round++) {
      await browser.signIn(query)
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

  test.each([10, 600, 1_000, 2_000])('is stopped for a deep link of %i characters too', async (length) => {
    const world = await startWorld()
    const query = `?returnTo=/${'x'.repeat(length)}`
    const browser = await lost(world, 4, query)
    expect((await browser.navigate(`/auth/login${query}`)).text).toContain('Signing in goes round in circles')
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
    const stopped = await browser.navigate('/auth/login?prompt=none&returnTo=/start')
    expect(stopped.status).toBe(400)
    expect(stopped.text).toContain('asks with prompt=none again and again')
    expect(stopped.text).toContain('href="/auth/login?returnTo=%2Fstart"')
  })

  test('is stopped for who is signed in, when a page sends them there by itself', async () => {
    const world = await startWorld()
    const browser = world.browser()
    for (let round = 0; round < 8; round++) expect((await browser.signIn('?returnTo=/app')).status).toBe(303)
    const stopped = await browser.navigate('/auth/login?returnTo=/app')
    expect(stopped.status).toBe(400)
    expect(stopped.text).toContain('You are signed in, and a page sent you to sign in again')
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
  })

  test('is not taken for one where it is the user who signs in again', async () => {
    const world = await startWorld()
    const browser = world.browser()
    for (let round = 0; round < 8; round++) await browser.signIn()
    const click = { 'sec-fetch-user': '?1' }
    expect((await browser.navigate('/auth/login', { headers: click })).status).toBe(303)
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

  test('takes hints as long as the sign-in does, and no longer', async () => {
    const world = await startWorld({ login: { thirdPartyInitiated: true } })
    const iss = world.as.issuer
    const answer = await initiate(world, { iss, login_hint: 'a'.repeat(512) })
    const [, href = ''] = /href="(\/auth\/login[^"]*)"/.exec(answer.text) ?? []
    expect((await world.browser().navigate(href.replaceAll('&amp;', '&'))).status).toBe(303)
    expect((await initiate(world, { iss, login_hint: 'a'.repeat(513) })).status).toBe(400)
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

// A real authorization server of other descent than oidc-provider: what is fitted to one server shows up at another. This
// one has a path in its issuer, signs with EdDSA, gives opaque access tokens, and tells of the end of a session itself.
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { type BetterAuth, startBetterAuth } from '../support/better-auth.ts'
import type { Browser, BrowserResponse } from '../support/browser.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { openProof } from '../support/dpop.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { expectSignedOut } from '../support/oracles.ts'
import { passed } from '../support/time.ts'

type Settings = { accessTokenLife?: number } & Partial<Pick<ConfigInput['providers'][number], 'dpop' | 'idTokenHint'>>

async function start({ accessTokenLife = 300, ...settings }: Settings = {}): Promise<{ world: World; as: BetterAuth }> {
  const as = closeAfterTest(await startBetterAuth(accessTokenLife))
  const world = await startWorld(({ config }) => {
    as.allow(config.publicUrl)
    const { issuer, clientId, clientSecret: secret } = as
    const clientAuth = { method: 'client_secret_basic' as const, secret }
    return { providers: [{ id: 'main', issuer, clientId, clientAuth, ...settings, allowInsecureRequests: true }] }
  })
  return { world, as }
}

async function authorizationUrl(browser: Browser, query = ''): Promise<string> {
  const login = await browser.navigate(`/auth/login${query}`)
  expect(login.status).toBe(303)
  return login.headers.get('location') ?? ''
}

async function signIn(as: BetterAuth, browser: Browser): Promise<BrowserResponse> {
  const { pathname, search } = await as.signIn(await authorizationUrl(browser))
  return browser.navigate(pathname + search, { headers: { 'sec-fetch-site': 'cross-site' } })
}

const redemptions = (as: BetterAuth) => as.requests.filter((line) => line.endsWith('/oauth2/token')).length

describe('better-auth as the authorization server', () => {
  test('signs a person in, and an API gets the access token', async () => {
    const { world, as } = await start()
    const browser = world.browser()
    const answer = await signIn(as, browser)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect((await browser.fetch('/auth/session')).json().user).toMatchObject({
      name: 'Alice',
      email: 'alice@example.com',
      sub: expect.any(String),
    })
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.api.requests[0]?.headers.authorization).toMatch(/^Bearer \S+$/)
    expect(world.events().filter(({ event }) => /failed|unavailable/.test(event))).toEqual([])
  })

  test('R048 R609 renews the tokens of ten requests at once with one refresh token, again and again', async () => {
    const { world, as } = await start({ accessTokenLife: 1 })
    const browser = world.browser()
    await signIn(as, browser)
    for (let round = 1; round <= 3; round++) {
      await passed(1_100)
      const before = redemptions(as)
      const answers = await Promise.all(Array.from({ length: 10 }, () => browser.fetch('/api/orders')))
      expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
      expect(redemptions(as) - before).toBe(1)
    }
    expect(new Set(world.api.requests.map(({ headers }) => headers.authorization)).size).toBe(3)
  })

  test('R067 R071 binds the tokens to a key of the session, and renews them with it', async () => {
    const { world, as } = await start({ accessTokenLife: 1, dpop: true })
    const browser = world.browser()
    expect((await signIn(as, browser)).status).toBe(303)
    const before = redemptions(as)
    await passed(1_100)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(redemptions(as) - before).toBe(1)
    const { method, target, headers } = world.api.last()
    const [scheme, token = ''] = String(headers.authorization).split(' ')
    expect(scheme).toBe('DPoP')
    await openProof({ method, headers }, `${world.api.url}${target}`, token)
    expect(world.events().filter(({ event }) => /failed|unavailable/.test(event))).toEqual([])
  })

  test('R084 R140 signs out here and revokes there; the server then asks the person', async () => {
    const { world, as } = await start()
    const browser = world.browser()
    await signIn(as, browser)
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    await expectSignedOut(browser, answer)
    expect(as.requests.filter((line) => line.endsWith('/oauth2/revoke'))).toHaveLength(2)
    expect(world.events().filter(({ event }) => /failed|unavailable/.test(event))).toEqual([])
    const there = await as.signIn(answer.json().logoutUrl)
    expect(there.pathname).toBe('/api/auth/oauth2/end-session')
  })

  test('R140 with the ID token as a hint the browser comes straight back', async () => {
    const { world, as } = await start({ idTokenHint: true })
    const browser = world.browser()
    await signIn(as, browser)
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    const back = await as.signIn(answer.json().logoutUrl)
    expect(back.origin + back.pathname).toBe(`${world.publicUrl}/auth/logout/callback`)
    const home = await browser.navigate(back.pathname + back.search)
    expect([home.status, home.headers.get('location')]).toEqual([303, '/'])
    await expect.poll(() => world.logged('logout.returned').map(({ confirmed }) => confirmed)).toEqual([true])
  })

  test('R149 ends the session here when the person signs out there', async () => {
    const { world, as } = await start()
    const browser = world.browser()
    await signIn(as, browser)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await as.signOut()
    await expect.poll(() => world.logged('backchannel.logout')).toHaveLength(1)
    await expect.poll(async () => (await browser.fetch('/api/orders')).status).toBe(401)
    const again = world.browser()
    expect((await signIn(as, again)).status).toBe(303)
    expect((await again.fetch('/api/orders')).status).toBe(200)
  })

  test('tells a silent sign-in that nobody is signed in', async () => {
    const { world, as } = await start()
    const browser = world.browser()
    const { pathname, search } = await as.arrive(await authorizationUrl(browser, '?prompt=none'))
    const answer = await browser.navigate(pathname + search, { headers: { 'sec-fetch-site': 'cross-site' } })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    await expectSignedOut(browser, answer)
  })
})

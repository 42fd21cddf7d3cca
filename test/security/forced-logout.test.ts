// Attacks on the sign-out: forced by another site, prevented by a failing server, undone by what is left behind
// (R084, R140-R144; OpenID Connect RP-Initiated Logout 1.0, ASVS 7.4.1).
import { describe, expect, test } from 'vitest'
import type { Answer, Behaviour } from '../support/authorization-server.ts'
import { startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { expectNoCanary, expectRefusal, expectSignedOut } from '../support/oracles.ts'
import { passed } from '../support/time.ts'

const post = { method: 'POST' }
const asJson = { ...post, headers: { accept: 'application/json' } }

async function signedIn(world: World) {
  const browser = world.browser()
  expect((await browser.signIn()).status).toBe(303)
  return browser
}

describe('R143 a sign-out that another site starts', () => {
  const world = faultWorld()
  const form = {
    'content-type': 'application/x-www-form-urlencoded',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
  }
  const attempts: [string, string, Record<string, string>][] = [
    ['a link', 'GET', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }],
    ['an image', 'GET', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
    ['a link of our own', 'GET', { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate' }],
    ['HEAD', 'HEAD', {}],
    ['a form', 'POST', { ...form, 'sec-fetch-site': 'cross-site', origin: 'https://evil.test' }],
    ['a form without Origin', 'POST', { ...form, 'sec-fetch-site': 'cross-site' }],
    ['a form of a sibling host', 'POST', { ...form, 'sec-fetch-site': 'same-site', origin: 'http://other.localhost' }],
    ['a form of a sandboxed frame', 'POST', { ...form, 'sec-fetch-site': 'cross-site', origin: 'null' }],
    [
      'a form of an old browser',
      'POST',
      { ...form, 'sec-fetch-mode': '', 'sec-fetch-dest': '', origin: 'https://evil.test' },
    ],
    ['a form of an old browser without a word', 'POST', { 'content-type': 'text/plain' }],
    ['a request from the address bar', 'POST', { 'sec-fetch-site': 'none' }],
    [
      'fetch with a header of ours',
      'POST',
      { 'sec-fetch-site': 'cross-site', origin: 'https://evil.test', 'x-csrf': '1' },
    ],
    [
      'a foreign Origin that claims to be same-origin',
      'POST',
      { 'sec-fetch-site': 'same-origin', origin: 'https://evil.test' },
    ],
    ['GET with a method override', 'GET', { 'x-http-method-override': 'POST', 'x-method-override': 'POST' }],
  ]

  test.each(attempts)('as %s ends nothing', async (_, method, headers) => {
    const browser = await signedIn(world)
    world.as.requests.length = 0
    const before = new Map(browser.cookies)
    const answer = await browser.send('/auth/logout?_method=POST', { method, headers })
    expectRefusal(answer, method === 'POST' ? 403 : 405, method === 'POST' ? 'csrf_rejected' : 'method_not_allowed')
    expect(answer.setCookie).toEqual([])
    expect(browser.cookies).toEqual(before)
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
    expect(world.as.requests).toEqual([])
  })
})

describe('R140 the way to the authorization server', () => {
  test('says who asks and where to return to, and nothing more', async () => {
    const world = await startWorld()
    const states = new Set<string>()
    for (let time = 0; time < 3; time++) {
      const browser = await signedIn(world)
      const end = new URL((await browser.fetch('/auth/logout', post)).headers.get('location') ?? '')
      expect(end.origin + end.pathname).toBe(`${world.as.issuer}/end-session`)
      expect([...end.searchParams.keys()].sort()).toEqual(['client_id', 'post_logout_redirect_uri', 'state'])
      expect(end.searchParams.get('client_id')).toBe(world.as.clientId)
      expect(end.searchParams.get('post_logout_redirect_uri')).toBe(`${world.publicUrl}/auth/logout/callback`)
      states.add(end.searchParams.get('state') ?? '')
      expectNoCanary(world, browser)
    }
    expect(states.size).toBe(3)
  })

  test('carries an id_token_hint where the operator chose so, and then no other token', async () => {
    const world = await startWorld(({ config }) => ({
      providers: config.providers.map((provider) => ({ ...provider, idTokenHint: true })),
    }))
    let idToken = ''
    world.as.behaviour.signedIdToken = (honest) => {
      idToken = honest
      return honest
    }
    const browser = await signedIn(world)
    const end = new URL((await browser.fetch('/auth/logout', post)).headers.get('location') ?? '')
    expect(end.searchParams.get('id_token_hint')).toBe(idToken)
    const rest = end.href.replace(idToken, '')
    expect(rest).not.toMatch(/eyJ|CANARY/)
  })
})

describe('R084 R141 a sign-out', () => {
  const revocation = (answer: () => Answer | Promise<Answer>) => ({ faults: { '/revoke': answer } })
  const page = { headers: { 'content-type': 'text/html' }, body: '<script>CANARY' }
  const elsewhere = { status: 307, headers: { location: 'http://169.254.169.254/' }, body: '' }
  const faults: [string, Partial<Behaviour>][] = [
    ['whose revocation fails', revocation(() => ({ status: 500, body: 'CANARY' }))],
    ['whose revocation is refused', revocation(() => ({ status: 400, body: { error: 'CANARY' } }))],
    ['whose revocation answers with a page', revocation(() => page)],
    ['whose revocation leads elsewhere', revocation(() => elsewhere)],
    ['whose revocation never answers', revocation(() => new Promise(() => {}))],
    ['whose authorization server is away', { away: true }],
  ]

  describe('works here', () => {
    const world = faultWorld()

    test.each(faults)('%s, and does not take long', async (_, behaviour) => {
      const browser = await signedIn(world)
      const copy = world.browser()
      for (const [name, value] of browser.cookies) copy.cookies.set(name, value)
      Object.assign(world.as.behaviour, behaviour)
      const start = Date.now()
      const answer = await browser.fetch('/auth/logout', asJson)
      expect(Date.now() - start).toBeLessThan(4_000)
      expect(answer.status).toBe(200)
      expect([...browser.cookies]).toEqual([])
      await expectSignedOut(browser, answer)
      const calls = world.api.requests.length
      expect((await copy.fetch('/api/orders')).status).toBe(401)
      expect(world.api.requests.length).toBe(calls)
      expectNoCanary(world, browser)
    })
  })

  test('works although the authorization server was never reached: a new instance, the cookies of the old one', async () => {
    const first = await startWorld()
    const browser = await signedIn(first)
    first.as.behaviour.away = true
    const second = await startCoatcheck(first.as, first.api, () => ({
      publicUrl: first.publicUrl,
      session: first.config.session,
    }))
    const later = second.browser()
    for (const [name, value] of browser.cookies) later.cookies.set(name, value)
    expect((await later.fetch('/auth/session')).json().authenticated).toBe(true)
    const answer = await later.fetch('/auth/logout', { ...post, headers: { origin: first.publicUrl } })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect([...later.cookies]).toEqual([])
    await expectSignedOut(later, answer)
  })

  test('with the cookie from before a refresh revokes the tokens from after it', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.expiresIn = 0.1
      return {}
    })
    const old = await signedIn(world)
    await passed(120)
    world.as.behaviour.expiresIn = 300
    let newest: unknown
    world.as.behaviour.tokenResponse = (response) => {
      newest = response.refresh_token
    }
    const other = world.browser()
    for (const [name, value] of old.cookies) other.cookies.set(name, value)
    expect((await other.fetch('/api/orders')).status).toBe(200)
    await old.fetch('/auth/logout', post)
    await expect.poll(() => world.as.to('/revoke').length).toBeGreaterThan(0)
    expect(world.as.to('/revoke').map(({ body }) => body.get('token'))).toContain(newest)
    expect((await other.fetch('/api/orders')).status).toBe(401)
  })

  test('is over before the answer: a call that is sent with it is the last', async () => {
    const world = await startWorld()
    const browser = await signedIn(world)
    const cookie = browser.cookieHeader()
    await browser.fetch('/auth/logout', post)
    for (const path of ['/api/orders', '/auth/session']) {
      const answer = await world.browser().fetch(path, { headers: { cookie } })
      expect(answer.setCookie.filter((line) => !line.includes('Max-Age=0'))).toEqual([])
      expect(answer.text).not.toContain('alice')
    }
    expect(world.api.requests).toEqual([])
  })

  test('twice, or without a session, is no error and asks nobody', async () => {
    const world = await startWorld()
    const browser = await signedIn(world)
    await browser.fetch('/auth/logout', post)
    world.as.requests.length = 0
    for (const other of [browser, world.browser()]) {
      const answer = await other.fetch('/auth/logout', post)
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    }
    expect(world.as.to('/revoke')).toEqual([])
  })
})

describe('R142 a return from the authorization server', () => {
  const world = faultWorld()

  test.each([
    ['with no state (rp-init-logout-no-state)', ''],
    ['with another state (rp-init-logout-other-state)', '?state=other'],
    ['with an empty state', '?state='],
    ['with two states', '?state=a&state=b'],
    ['with a state from the prototype', '?state=__proto__'],
    ['with a state of 8 KB', `?state=${'A'.repeat(8_192)}`],
    ['with an error', '?error=access_denied&error_description=%3Cscript%3ECANARY'],
    ['with markup', '?state=%22%3E%3Cscript%3E'],
    ['with a code', '?code=CANARY-code&state=x'],
  ])('%s looks like any other, and ends or begins nothing', async (_, query) => {
    const browser = await signedIn(world)
    const before = new Map(browser.cookies)
    world.as.requests.length = 0
    const answer = await browser.navigate(`/auth/logout/callback${query}`)
    expect([answer.status, answer.headers.get('location'), answer.text]).toEqual([303, '/', ''])
    expect(answer.headers.get('coatcheck-error')).toBeNull()
    expect(answer.setCookie).toEqual([])
    expect(browser.cookies).toEqual(before)
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
    expect(world.as.requests).toEqual([])
    await expect.poll(() => world.logged('logout.returned')).toMatchObject([{ confirmed: false }])
    expectNoCanary(world, browser)
  })

  test('with the state of somebody else’s sign-out ends nobody else’s session', async () => {
    const attacker = await signedIn(world)
    const end = new URL((await attacker.fetch('/auth/logout', post)).headers.get('location') ?? '')
    const victim = await signedIn(world)
    await victim.navigate(`/auth/logout/callback?state=${end.searchParams.get('state')}`)
    expect((await victim.fetch('/auth/session')).json().authenticated).toBe(true)
  })

  test('twice is confirmed once', async () => {
    const browser = await signedIn(world)
    const end = new URL((await browser.fetch('/auth/logout', post)).headers.get('location') ?? '')
    const back = `/auth/logout/callback?state=${end.searchParams.get('state')}`
    const answers = await Promise.all([browser.navigate(back), browser.navigate(back), browser.navigate(back)])
    expect(answers.map(({ status }) => status)).toEqual([303, 303, 303])
    await expect.poll(() => world.logged('logout.returned')).toHaveLength(3)
    expect(world.logged('logout.returned').filter(({ confirmed }) => confirmed)).toHaveLength(1)
  })

  test('has no use for other methods', async () => {
    for (const method of ['POST', 'PUT', 'DELETE']) {
      expectRefusal(await world.browser().send('/auth/logout/callback', { method }), 405, 'method_not_allowed')
    }
  })
})

describe('R144 what a sign-out deletes', () => {
  test.each([
    ['https', 'https://app.example.com', '__Host-Http-coatcheck'],
    ['http on loopback', undefined, 'coatcheck'],
  ])('has the names and attributes that it was set with: %s', async (_, publicUrl, name) => {
    const world = await startWorld(publicUrl === undefined ? {} : { publicUrl })
    world.as.behaviour.accessTokenPadding = 1_500
    const browser = world.browser()
    const login = await browser.navigate('/auth/login')
    const callback = await browser.untilCallback()
    const finished = await browser.navigate(callback)
    const attributesOf = (line: string) =>
      line
        .split('; ')
        .slice(1)
        .filter((attribute) => !/^(?:max-age|expires)=/i.test(attribute))
        .sort()
        .join('; ')
    const set = new Map(
      [...login.setCookie, ...finished.setCookie].map((line) => [line.split('=', 1)[0], attributesOf(line)]),
    )
    expect([...set.keys()].sort()).toEqual([name, `${name}-login`, `${name}.1`, `${name}.2`].sort())

    const answer = await browser.fetch('/auth/logout', asJson)
    const deleted = new Map(answer.setCookie.map((line) => [line.split('=', 1)[0], attributesOf(line)]))
    expect(deleted).toEqual(set)
    for (const line of answer.setCookie) {
      expect(line).toMatch(/^[\w.-]+=;/)
      expect(line).toContain('Max-Age=0')
      expect(line).not.toMatch(/domain=/i)
      expect(line.includes('; Secure')).toBe(publicUrl !== undefined)
    }
    expect([...browser.cookies]).toEqual([])
  })

  test('are also pieces that were left over, and nothing of anybody else', async () => {
    const world = await startWorld()
    const browser = await signedIn(world)
    for (const name of ['coatcheck.2', 'coatcheck.3', 'other', 'coatcheck2', 'coatcheck.9', 'xcoatcheck']) {
      browser.cookies.set(name, 'left-over')
    }
    await browser.fetch('/auth/logout', post)
    expect([...browser.cookies.keys()].sort()).toEqual(['coatcheck.9', 'coatcheck2', 'other', 'xcoatcheck'])
  })

  test('are the cookies of a dead session too, wherever it is noticed', async () => {
    const world = await startWorld()
    const browser = await signedIn(world)
    browser.cookies.set('coatcheck', 'Fe26.2*garbage')
    browser.cookies.set('coatcheck.3', 'left-over')
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(401)
    expect([...browser.cookies.keys()].filter((name) => !name.endsWith('-login'))).toEqual([])
  })
})

// Swapped cookies: a seal in the place of another, from another deployment, tampered with, or older than it may be
// (R034, R055, R601, R602, R605; ASVS 7.2, RFC 9700 update "Cross-User Session Fixation").
import { describe, expect, test } from 'vitest'
import { type Browser, createBrowser } from '../support/browser.ts'
import { sessionKey, startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'

const session = ['coatcheck', 'coatcheck.1']
const login = 'coatcheck-login'

async function expectWorthless(world: World, browser: Browser): Promise<void> {
  const calls = world.api.requests.length
  const answer = await browser.fetch('/api/orders')
  expect([401, 403]).toContain(answer.status)
  expect(world.api.requests.length).toBe(calls)
  await expectSignedOut(browser, answer)
  expectNoCanary(world, browser)
}

describe('R602 a seal in the place of another', () => {
  const world = faultWorld()

  test('a login cookie is no session, whole or as a piece of one', async () => {
    const browser = world.browser()
    await browser.navigate('/auth/login')
    const seal = browser.cookies.get(login) ?? ''
    for (const [ticket, piece] of [
      [seal, `1.${seal}`],
      [seal, seal],
    ]) {
      const thief = world.browser()
      thief.cookies.set('coatcheck', ticket ?? '').set('coatcheck.1', piece ?? '')
      await expectWorthless(world, thief)
    }
  })

  test('half of a session is no session: the ticket twice, the holding twice, the two swapped', async () => {
    const browser = world.browser()
    await browser.signIn()
    const [ticket = '', holding = ''] = session.map((name) => browser.cookies.get(name))
    const seal = holding.slice(2)
    const swaps: [string, string | undefined][] = [
      [ticket, `1.${ticket}`],
      [seal, holding],
      [seal, `1.${ticket}`],
      [ticket, undefined],
      ['', holding],
    ]
    for (const [first, second] of swaps) {
      const thief = world.browser()
      if (first) thief.cookies.set('coatcheck', first)
      if (second) thief.cookies.set('coatcheck.1', second)
      await expectWorthless(world, thief)
      expect([...thief.cookies]).toEqual([])
    }
  })

  test('the ticket of one user and the tokens of another make nobody', async () => {
    const alice = world.browser()
    await alice.signIn()
    world.as.behaviour.user = { sub: 'bob' }
    const bob = world.browser()
    await bob.signIn()
    const thief = world.browser()
    thief.cookies.set('coatcheck', bob.cookies.get('coatcheck') ?? '')
    thief.cookies.set('coatcheck.1', alice.cookies.get('coatcheck.1') ?? '')
    await expectWorthless(world, thief)
  })

  test('a session is no login: its seals in the login cookie finish nothing', async () => {
    const browser = world.browser()
    await browser.signIn()
    for (const name of session) {
      const thief = world.browser()
      const callback = await thief.untilCallback()
      thief.cookies.set(login, (browser.cookies.get(name) ?? '').replace(/^1\./, ''))
      world.as.requests.length = 0
      expectRefusal(await thief.navigate(callback), 400, 'login_expired')
      expectSilent(world.as, '/token')
      await expectSignedOut(thief)
    }
  })
})

describe('R034 R601 a login cookie that was tampered with', () => {
  const world = faultWorld()

  test.each([0, 1, 2, 3, 4, 5, 6, 7])('in part %i finishes nothing', async (part) => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const parts = (browser.cookies.get(login) ?? '').split('*')
    const old = parts[part] ?? ''
    parts[part] = old === '' ? '1' : (old.startsWith('A') || old.startsWith('0') ? '1' : '0') + old.slice(1)
    browser.cookies.set(login, parts.join('*'))
    const answer = await browser.navigate(callback)
    expectRefusal(answer, 400, 'login_expired')
    await expectSignedOut(browser, answer)
    expectSilent(world.as, '/token')
  })

  test.each([
    '',
    'x',
    'Fe26.2*1*',
    `Fe26.2*${'*'.repeat(50)}`,
    '[]',
    '[{"state":"x"}]',
    `Fe26.2*1*${'0'.repeat(64)}*${'A'.repeat(22)}*AAAA**${'0'.repeat(64)}*${'A'.repeat(43)}~2`,
    'A'.repeat(4_000),
  ])('to %j is as good as none', async (value) => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    browser.cookies.set(login, value)
    expectRefusal(await browser.navigate(callback), 400, 'login_expired')
    expect((await browser.signIn()).status).toBe(303)
  })
})

describe('R055 R605 a transaction of another browser', () => {
  const world = faultWorld()

  test('planted before the sign-in does not outlive it: the session of the victim is a new one', async () => {
    const attacker = world.browser()
    await attacker.signIn()
    const planted = new Map(attacker.cookies)
    const victim = world.browser()
    for (const [name, value] of planted) victim.cookies.set(name, value)
    world.as.behaviour.user = { sub: 'victim' }
    await victim.signIn()
    expect((await victim.fetch('/auth/session')).json().user.sub).toBe('victim')
    for (const name of session) expect(victim.cookies.get(name)).not.toBe(planted.get(name))
    // What the attacker still holds is over, and never becomes the victim.
    await expectWorthless(world, attacker)
  })

  test('two sign-ins of one browser, two users: nothing of the first is in the second', async () => {
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/orders')
    const tokenOfAlice = world.api.last().headers.authorization
    world.as.behaviour.user = { sub: 'bob' }
    world.as.behaviour.userinfo = { sub: 'bob' }
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().user).toEqual({ sub: 'bob' })
    await browser.fetch('/api/orders')
    expect(world.api.last().headers.authorization).not.toBe(tokenOfAlice)
  })
})

describe('R602 a session of another deployment', () => {
  test.each(['another address', 'another cookie name'])('with the same key and %s is worth nothing', async (what) => {
    const keys = [sessionKey()]
    const first = await startWorld(({ config }) => ({ session: { ...config.session, keys } }))
    const second = await startCoatcheck(first.as, first.api, ({ config }) => ({
      ...(what === 'another address' ? {} : { publicUrl: first.publicUrl }),
      session: { ...config.session, keys, ...(what === 'another address' ? {} : { cookieName: 'other' }) },
    }))
    const browser = first.browser()
    await browser.signIn()
    const thief = createBrowser(second.url, second.publicUrl)
    for (const [name, value] of browser.cookies) {
      thief.cookies.set(what === 'another address' ? name : name.replace('coatcheck', 'other'), value)
    }
    first.api.requests.length = 0
    expectRefusal(await thief.fetch('/api/orders'), 401, 'session_required')
    expect(first.api.requests).toEqual([])
    expect((await thief.fetch('/auth/session')).json()).toEqual({ authenticated: false })
  })
})

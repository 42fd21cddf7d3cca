import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { passed } from '../support/time.ts'

describe('/auth/session', () => {
  test('says that nobody is signed in', async () => {
    const world = await startWorld()
    const answer = await world.browser().fetch('/auth/session')
    expect(answer.status).toBe(200)
    expect(answer.json()).toEqual({ authenticated: false })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('content-type')).toBe('application/json')
  })

  test('says who is signed in and for how long', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const { authenticated, session } = (await browser.fetch('/auth/session')).json()
    expect(authenticated).toBe(true)
    expect(session).toMatchObject({ id: expect.stringMatching(/^[\w-]{20,}$/), state: 'active' })
    expect(session.expiresIn).toBeGreaterThanOrEqual(1_798)
    expect(session.absoluteExpiresIn).toBeGreaterThanOrEqual(43_198)
  })

  test('shows the configured claims and no others', async () => {
    const world = await startWorld(({ config }) => ({ session: { ...config.session, claims: ['email', 'locale'] } }))
    world.as.behaviour.user = { sub: 'alice', email: 'a@b.c', name: 'not shown', locale: 'de' }
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().user).toEqual({ email: 'a@b.c', locale: 'de' })
  })

  test('GET sets no cookie however long it is polled; POST moves the idle end', async () => {
    const world = await startWorld(({ config }) => ({ session: { ...config.session, idleTimeout: '5s' } }))
    const browser = world.browser()
    await browser.signIn()
    await passed(1_100)
    const polled = await browser.fetch('/auth/session')
    expect(polled.setCookie).toEqual([])
    expect(polled.json().session.expiresIn).toBeLessThanOrEqual(3)
    const extended = await browser.fetch('/auth/session', { method: 'POST' })
    expect(extended.json().session.expiresIn).toBeGreaterThanOrEqual(4)
    expect(extended.setCookie.map((line) => line.split('=')[0])).toEqual(['coatcheck'])
    expect((await browser.fetch('/auth/session')).json().session.expiresIn).toBeGreaterThanOrEqual(4)
  })

  test('an API call keeps the session alive, beyond the idle time-out', async () => {
    const world = await startWorld(({ config }) => ({ session: { ...config.session, idleTimeout: '1s' } }))
    const browser = world.browser()
    await browser.signIn()
    for (let round = 0; round < 3; round++) {
      await passed(600)
      expect((await browser.fetch('/api/orders')).status).toBe(200)
    }
  })

  test('without API calls the session is over after the idle time-out, although it was polled', async () => {
    const world = await startWorld(({ config }) => ({ session: { ...config.session, idleTimeout: '1s' } }))
    const browser = world.browser()
    await browser.signIn()
    const start = Date.now()
    await expect.poll(async () => (await browser.fetch('/auth/session')).json().authenticated).toBe(false)
    expect(Date.now() - start).toBeLessThan(3_000)
    expect([...browser.cookies.keys()]).toEqual(['coatcheck-login'])
  })

  test('the absolute time-out ends the busiest session', async () => {
    const world = await startWorld(({ config }) => ({ session: { ...config.session, absoluteTimeout: '1s' } }))
    const browser = world.browser()
    await browser.signIn()
    await expect.poll(async () => (await browser.fetch('/api/orders')).status, { timeout: 3_000 }).toBe(401)
  })
})

describe('an end that the provider sets (session_expiry of the ID token)', () => {
  const withExpiry = async (seconds: number) => {
    const world = await startWorld()
    world.as.behaviour.idToken = (claims) => {
      claims.session_expiry = Math.floor(Date.now() / 1_000) + seconds
    }
    const browser = world.browser()
    return { world, browser, back: await browser.signIn() }
  }

  test('bounds the session', async () => {
    const { browser } = await withExpiry(600)
    const { session } = (await browser.fetch('/auth/session')).json()
    expect(session.absoluteExpiresIn).toBeLessThanOrEqual(600)
    expect(session.expiresIn).toBeLessThanOrEqual(600)
  })

  test('that is over already signs nobody in', async () => {
    const { browser, back } = await withExpiry(-1)
    expect(back.status).toBe(400)
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
  })
})

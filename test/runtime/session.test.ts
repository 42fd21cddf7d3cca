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
    const world = await startWorld(({ config }) => ({ session: { ...config.session, idleTimeout: '10s' } }))
    const browser = world.browser()
    await browser.signIn()
    await passed(2_100)
    const polled = await browser.fetch('/auth/session')
    expect(polled.setCookie).toEqual([])
    expect(polled.json().session.expiresIn).toBeLessThanOrEqual(7)
    const extended = await browser.fetch('/auth/session', { method: 'POST' })
    expect(extended.json().session.expiresIn).toBeGreaterThanOrEqual(8)
    expect(extended.setCookie.map((line) => line.split('=')[0])).toEqual(['coatcheck'])
    expect((await browser.fetch('/auth/session')).json().session.expiresIn).toBeGreaterThanOrEqual(8)
  })

  test('an API call keeps the session alive, beyond the idle time-out', async () => {
    const world = await startWorld(({ config }) => ({ session: { ...config.session, idleTimeout: '4s' } }))
    const browser = world.browser()
    await browser.signIn()
    for (let round = 0; round < 2; round++) {
      await passed(2_200)
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

  /** Signed in without such an end, and refreshed with one so many seconds away. */
  const refreshedWith = async (seconds: number) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.expiresIn = 0.1
      return {}
    })
    const browser = world.browser()
    await browser.signIn()
    await passed(120)
    const end = Math.floor(Date.now() / 1_000) + seconds
    world.as.behaviour.idToken = (claims) => Object.assign(claims, { session_expiry: end })
    return { world, browser, end: end * 1_000 }
  }

  test('with a refresh bounds the session from then on', async () => {
    const { world, browser, end } = await refreshedWith(5)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const { session } = (await browser.fetch('/auth/session')).json()
    expect(session.absoluteExpiresIn).toBeLessThanOrEqual(5)
    expect(session.expiresIn).toBeLessThanOrEqual(5)
    // Neither a refresh that says nothing of it nor one that names a later end changes that.
    world.as.behaviour.idToken = () => {}
    await passed(120)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    world.as.behaviour.idToken = (claims) => Object.assign(claims, { session_expiry: end / 1_000 + 600 })
    await passed(120)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect((await browser.fetch('/auth/session')).json().session.absoluteExpiresIn).toBeLessThanOrEqual(5)
    await passed(0, end)
    const answer = await browser.fetch('/api/orders')
    expect(answer.headers.get('coatcheck-error')).toBe('session_expired')
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
  })

  test('with a refresh that is over already ends the session, and what came with it is revoked', async () => {
    const { world, browser } = await refreshedWith(-1)
    expect((await browser.fetch('/api/orders')).headers.get('coatcheck-error')).toBe('session_expired')
    expect(world.api.requests).toEqual([])
    await expect.poll(() => world.logged('session.ended')).toMatchObject([{ reason: 'session_too_old' }])
    await expect.poll(() => world.as.to('/revoke').length).toBeGreaterThanOrEqual(1)
  })
})

describe('how long the provider says that a refresh token lives', () => {
  test.each(['refresh_expires_in', 'refresh_token_expires_in'])('%s bounds the time that is left', async (name) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.expiresIn = 20
      as.behaviour.tokenResponse = (response) => void Object.assign(response, { [name]: 30 })
      return {}
    })
    const browser = world.browser()
    await browser.signIn()
    for (const method of ['GET', 'POST']) {
      const { session } = (await browser.fetch('/auth/session', { method })).json()
      expect(session).toMatchObject({ state: 'active' })
      expect(session.expiresIn).toBeLessThanOrEqual(30)
      expect(session.expiresIn).toBeGreaterThanOrEqual(25)
    }
  })

  test('0 means that it has no end', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.tokenResponse = (response) => void Object.assign(response, { refresh_expires_in: 0 })
      return {}
    })
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().session.expiresIn).toBeGreaterThanOrEqual(1_798)
  })

  test('is over: the session says that it needs a new sign-in, unless a refresh ran behind another request', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.expiresIn = 0.5
      as.behaviour.tokenResponse = (response) => void Object.assign(response, { refresh_expires_in: 0.3 })
      return {}
    })
    const browser = world.browser()
    await browser.signIn()
    const before = world.browser()
    for (const [name, value] of browser.cookies) before.cookies.set(name, value)
    const state = async () => (await before.fetch('/auth/session')).json().session.state
    await expect.poll(state).toBe('reauth_required')
    world.as.behaviour.expiresIn = 300
    // It is tried for a minute more.
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(await state()).toBe('active')
  })
})

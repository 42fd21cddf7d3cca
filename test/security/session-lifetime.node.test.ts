// Attack: a session that is kept alive for ever, by polling, by its Max-Age, or by a copy from long ago.
// R208 R606
import { describe, expect, test } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { movedClock } from '../support/moved-clock.ts'
import { expectRefusal, expectSignedOut } from '../support/oracles.ts'

const minute = 60_000
const hour = 60 * minute

const elapsed = movedClock()

/** Somebody who signed in at the start, at an authorization server whose tokens last longer than any test. */
async function signedIn(session: Partial<World['config']['session']> = {}): Promise<{ world: World; user: Browser }> {
  const world = await startWorld(({ as, config }) => {
    as.behaviour.expiresIn = 7 * 86_400
    return { session: { ...config.session, ...session } }
  })
  const user = world.browser()
  await user.signIn()
  return { world, user }
}

const copyOf = (world: World, user: Browser) => {
  const copy = world.browser()
  for (const [name, value] of user.cookies) copy.cookies.set(name, value)
  return copy
}

describe('R606 The idle timeout', () => {
  test('ends a session that makes no calls, to the second, and says so', async () => {
    const { world, user } = await signedIn()
    elapsed(30 * minute - 1_000)
    expect((await copyOf(world, user).fetch('/auth/session')).json()).toMatchObject({
      authenticated: true,
      session: { expiresIn: 1 },
    })
    elapsed(30 * minute)
    const answer = await user.fetch('/api/x')
    expectRefusal(answer, 401, 'session_expired')
    expect(world.api.requests).toEqual([])
    expect([...user.cookies.keys()].filter((name) => !name.includes('login'))).toEqual([])
    await expectSignedOut(user)
  })

  test('is not put off by asking who is signed in', async () => {
    const { world, user } = await signedIn()
    for (let time = 0; time < 30 * minute; time += 20_000) {
      elapsed(time)
      const answer = await user.fetch('/auth/session')
      expect(answer.json().authenticated).toBe(true)
      expect(answer.setCookie).toEqual([])
    }
    elapsed(30 * minute + 1)
    await expectSignedOut(user)
    expect(world.api.requests).toEqual([])
  })

  test('is put off by calls and by POST /auth/session, for the browser that makes them and not for a copy from before', async () => {
    const { world, user } = await signedIn()
    const copy = copyOf(world, user)
    elapsed(20 * minute)
    expect((await user.fetch('/api/x')).status).toBe(200)
    elapsed(40 * minute)
    expect((await user.fetch('/auth/session', { method: 'POST' })).json().authenticated).toBe(true)
    elapsed(65 * minute)
    expect((await user.fetch('/api/x')).status).toBe(200)
    expectRefusal(await copy.fetch('/api/x'), 401, 'session_expired')
  })

  test('is not put off by calls that were refused', async () => {
    const { user } = await signedIn()
    for (let time = 0; time < 30 * minute; time += 5 * minute) {
      elapsed(time)
      await user.send('/api/x', { headers: { 'sec-fetch-site': 'cross-site' } })
      await user.fetch('/api/%00')
      await user.fetch('/api/x', { method: 'TRACE' })
      await user.fetch('/api/open/x')
    }
    elapsed(30 * minute + 1)
    await expectSignedOut(user)
  })
})

describe('R606 The absolute timeout', () => {
  test('ends a session however busy it is', async () => {
    const { world, user } = await signedIn()
    let calls = 0
    for (let time = 10 * minute; time < 12 * hour; time += 10 * minute) {
      elapsed(time)
      expect((await user.fetch('/api/x')).status, `after ${time / minute} minutes`).toBe(200)
      calls++
    }
    elapsed(12 * hour)
    expectRefusal(await user.fetch('/api/x'), 401, 'session_expired')
    expect(world.api.requests.length).toBe(calls)
  })

  test('is not put off by refreshing tokens', async () => {
    const { world, user } = await signedIn({ absoluteTimeout: '1h' })
    world.as.behaviour.expiresIn = 60
    for (let time = 5 * minute; time < hour; time += 5 * minute) {
      elapsed(time)
      expect((await user.fetch('/api/x')).status, `after ${time / minute} minutes`).toBe(200)
    }
    elapsed(hour + 1)
    expectRefusal(await user.fetch('/api/x'), 401, 'session_expired')
  })

  test('counts as it is configured now, also for sessions from before it was made shorter', async () => {
    const { world, user } = await signedIn({ absoluteTimeout: '2h', idleTimeout: '2h' })
    const session = { ...world.config.session, absoluteTimeout: '1h' }
    const stricter = await startCoatcheck(world.as, world.api, { session, publicUrl: world.publicUrl })
    elapsed(90 * minute)
    expectRefusal(await copyOf(stricter, user).fetch('/api/x'), 401, 'session_expired')
    expect((await user.fetch('/api/x')).status).toBe(200)
  })
})

describe('R208 Expiry', () => {
  test('is inside the seal: a cookie kept beyond its Max-Age is refused', async () => {
    const { world, user } = await signedIn({ idleTimeout: '12h' })
    const copy = copyOf(world, user)
    elapsed(12 * hour + 1)
    const before = world.api.requests.length
    expectRefusal(await copy.fetch('/api/x'), 401, 'session_expired')
    elapsed(400 * 24 * hour)
    expect((await copyOf(world, user).fetch('/api/x')).status).toBe(401)
    expect(world.api.requests.length).toBe(before)
  })

  test('is not put off by a session that was opened before, and is remembered', async () => {
    const { world, user } = await signedIn({ idleTimeout: '12h' })
    const copy = copyOf(world, user)
    for (const time of [0, hour, 11 * hour]) {
      elapsed(time)
      expect((await copyOf(world, copy).fetch('/api/x')).status).toBe(200)
    }
    elapsed(12 * hour)
    expect((await copy.fetch('/api/x')).status).toBe(401)
  })

  test('of the cookies is told to the browser as Max-Age, never later than the end of the session', async () => {
    const { user } = await signedIn()
    elapsed(10 * hour)
    const answers = [await user.fetch('/auth/session', { method: 'POST' })]
    await user.signIn()
    elapsed(11 * hour)
    answers.push(await user.fetch('/auth/session', { method: 'POST' }))
    const ages = answers.flatMap(({ setCookie }) => setCookie.map((line) => Number(/Max-Age=(\d+)/.exec(line)?.[1])))
    for (const age of ages) expect(age).toBeLessThanOrEqual(12 * 3_600)
  })

  test('of a login cookie is inside the seal, too: ten minutes', async () => {
    const { world } = await signedIn()
    const late = world.browser()
    const callback = await late.untilCallback()
    elapsed(10 * minute + 1)
    const answer = await late.navigate(callback)
    expectRefusal(answer, 400, 'login_expired')
    await expectSignedOut(late, answer)
    expect(world.as.to('/token')).toHaveLength(1)
  })
})

describe('R208 The life of the refresh token that the provider announced', () => {
  async function withHint(hint: object, expiresIn: number) {
    const world = await startWorld(({ as, config }) => {
      as.behaviour.expiresIn = expiresIn
      as.behaviour.tokenResponse = (response) => void Object.assign(response, hint)
      return { session: { ...config.session, idleTimeout: '2h' } }
    })
    const user = world.browser()
    await user.signIn()
    world.as.requests.length = 0
    const session = async (method = 'GET') => (await user.fetch('/auth/session', { method })).json().session
    return { world, user, session }
  }

  test('ends with it, for all that activity can do', async () => {
    const { world, user, session } = await withHint({ refresh_expires_in: 30 }, 20)
    elapsed(2 * minute)
    expect(await session()).toMatchObject({ expiresIn: 0, state: 'reauth_required' })
    expect(await session('POST')).toMatchObject({ expiresIn: 0, state: 'reauth_required' })
    expectRefusal(await user.fetch('/api/x'), 401, 'session_expired')
    expect(world.logged('session.ended')).toMatchObject([{ reason: 'refresh_token_over' }])
    expect(world.as.to('/token')).toEqual([])
    await expectSignedOut(user)
  })

  test('does not take an access token with it that is still good', async () => {
    const { world, user, session } = await withHint({ refresh_token_expires_in: 30 }, 600)
    for (const time of [2 * minute, 10 * minute - 1_000]) {
      elapsed(time)
      expect((await user.fetch('/api/x')).status).toBe(200)
      expect(await session()).toMatchObject({ expiresIn: (10 * minute - time) / 1_000, state: 'active' })
    }
    expect(world.as.to('/token')).toEqual([])
    elapsed(10 * minute)
    expect(await session()).toMatchObject({ expiresIn: 0, state: 'reauth_required' })
    expectRefusal(await user.fetch('/api/x'), 401, 'session_expired')
  })

  test('goes on with a refresh token that goes on, also when it is not said again', async () => {
    const { world, user, session } = await withHint({ refresh_expires_in: 3_600 }, 300)
    world.as.behaviour.rotate = false
    world.as.behaviour.tokenResponse = () => {}
    elapsed(30 * minute)
    expect((await user.fetch('/api/x')).status).toBe(200)
    expect(await session()).toMatchObject({ expiresIn: 1_800, state: 'active' })
  })
})

// Attack: a copied cookie outlives its session, or a planted one becomes the victim's.
// R020 R022 R203 R604 R605 R607
import { describe, expect, test } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { expectNoCanary, expectRefusal, expectSignedOut } from '../support/oracles.ts'

/** Another browser with a copy of all the cookies. */
function thief(world: World, victim: Browser): Browser {
  const copy = world.browser()
  for (const [name, value] of victim.cookies) copy.cookies.set(name, value)
  return copy
}

/** Nothing the copied cookie is good for: no call, no extension, no refresh, and it is deleted. */
async function expectDead(world: World, stolen: Browser): Promise<void> {
  const { api, as } = world
  const [calls, tokens] = [api.requests.length, as.to('/token').length]
  const again = thief(world, stolen)
  expectRefusal(await again.fetch('/api/x'), 401, 'session_expired')
  expect([...again.cookies.keys()].filter((name) => /^coatcheck(\.\d)?$/.test(name))).toEqual([])
  const maybe = thief(world, stolen)
  await maybe.fetch('/api/maybe/x')
  for (const { headers } of api.requests.slice(calls)) expect(headers).not.toHaveProperty('authorization')
  const extended = await thief(world, stolen).fetch('/auth/session', { method: 'POST' })
  expect(extended.json()).toEqual({ authenticated: false })
  expect(extended.setCookie.filter((line) => !line.includes('Max-Age=0'))).toEqual([])
  await expectSignedOut(thief(world, stolen))
  expect(api.requests.filter(({ target }) => target.startsWith('/v1')).length).toBe(
    api.requests.slice(0, calls).filter(({ target }) => target.startsWith('/v1')).length,
  )
  expect(as.to('/token').length).toBe(tokens)
}

describe('R607 A copied cookie', () => {
  test('R020 R022 is dead once its owner signed out: upstream silent, refresh token revoked', async () => {
    const world = await startWorld()
    const victim = world.browser()
    await victim.signIn()
    const stolen = thief(world, victim)
    expect((await stolen.fetch('/api/x')).status).toBe(200)
    const answer = await victim.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    expect(answer.status).toBe(200)
    expect([...victim.cookies.keys()]).toEqual([])
    await expectDead(world, stolen)
    // What somebody took from the server instead of the browser is dead as well.
    await expect.poll(() => world.as.to('/revoke').length).toBeGreaterThan(0)
    expectNoCanary(world, victim, stolen)
  })

  test('is dead although the authorization server cannot be reached at sign-out', async () => {
    const world = await startWorld()
    const victim = world.browser()
    await victim.signIn()
    const stolen = thief(world, victim)
    world.as.behaviour.faults['/revoke'] = () => ({ status: 500, body: 'CANARY broken' })
    expect((await victim.fetch('/auth/logout', { method: 'POST' })).status).toBe(303)
    await expectDead(world, stolen)
  })

  test('is dead once the authorization server ended the session', async () => {
    const world = await startWorld()
    const victim = world.browser()
    await victim.signIn()
    const stolen = thief(world, victim)
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_grant' } })
    world.api.answer = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' })
      response.end()
    }
    expectRefusal(await victim.fetch('/api/x'), 401, 'session_expired')
    await expectDead(world, stolen)
  })

  test('is dead even if the thief extended it after it was copied, and whoever signs out', async () => {
    const world = await startWorld()
    const victim = world.browser()
    await victim.signIn()
    const stolen = thief(world, victim)
    await stolen.fetch('/auth/session', { method: 'POST' })
    expect(stolen.cookies.get('coatcheck')).not.toBe(victim.cookies.get('coatcheck'))
    await victim.fetch('/auth/logout', { method: 'POST' })
    await expectDead(world, stolen)
    // And the other way round: the thief's sign-out signs the victim out, too.
    await victim.signIn()
    const second = thief(world, victim)
    await second.fetch('/auth/logout', { method: 'POST' })
    expect((await victim.fetch('/api/x')).status).toBe(401)
  })

  test('is not brought back by an answer that was on its way when its owner signed out', async () => {
    const world = await startWorld()
    const victim = world.browser()
    await victim.signIn()
    // The call is refreshed on its way, so that its answer would bring new cookies.
    const honest = world.api.answer
    const called = new Promise<() => void>((resolve) => {
      world.api.answer = (_, refused) => {
        refused.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
        world.api.answer = (_, response) => {
          world.api.answer = honest
          resolve(() => response.end('{}'))
        }
      }
    })
    const slow = thief(world, victim)
    const answer = slow.fetch('/api/slow')
    const finish = await called
    await victim.fetch('/auth/logout', { method: 'POST' })
    finish()
    expect((await answer).setCookie.filter((line) => !line.includes('Max-Age=0'))).toEqual([])
    await expectDead(world, slow)
  })
})

describe('R604 A new sign-in', () => {
  test('makes a new session, and the old one is dead wherever its cookie was copied to', async () => {
    const world = await startWorld()
    const victim = world.browser()
    await victim.signIn()
    const before = (await victim.fetch('/auth/session')).json().session.id
    const stolen = thief(world, victim)
    await victim.signIn()
    const after = (await victim.fetch('/auth/session')).json().session.id
    expect(after).not.toBe(before)
    for (const name of ['coatcheck', 'coatcheck.1']) expect(victim.cookies.get(name)).not.toBe(stolen.cookies.get(name))
    await expectDead(world, stolen)
    expect((await victim.fetch('/api/x')).status).toBe(200)
  })

  test('as somebody else leaves nothing of the first user behind', async () => {
    const world = await startWorld()
    const shared = world.browser()
    world.as.behaviour.accessTokenPadding = 2_600
    await shared.signIn()
    const stolen = thief(world, shared)
    world.as.behaviour.accessTokenPadding = 0
    world.as.behaviour.user = { sub: 'bob', name: 'Bob' }
    await shared.signIn()
    expect((await shared.fetch('/auth/session')).json().user.sub).toBe('bob')
    await shared.fetch('/api/x')
    const [, payload = ''] = (world.api.last().headers.authorization ?? '').split('.')
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString()).sub).toBe('bob')
    await expectDead(world, stolen)
  })

  test('that fails leaves the session that was there as it was', async () => {
    const world = await startWorld()
    const victim = world.browser()
    await victim.signIn()
    const before = (await victim.fetch('/auth/session')).json().session.id
    world.as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      parameters.set('error', 'access_denied')
    }
    await victim.signIn()
    expect((await victim.fetch('/auth/session')).json().session.id).toBe(before)
    expect((await victim.fetch('/api/x')).status).toBe(200)
  })
})

describe('R605 A planted cookie', () => {
  test("of the attacker's session is not what the victim gets by signing in", async () => {
    const world = await startWorld()
    const attacker = world.browser()
    world.as.behaviour.user = { sub: 'mallory', name: 'Mallory' }
    await attacker.signIn()
    const victim = world.browser()
    for (const [name, value] of attacker.cookies) victim.cookies.set(name, value)
    world.as.behaviour.user = { sub: 'alice', name: 'Alice' }
    await victim.signIn()
    expect((await victim.fetch('/auth/session')).json().user.sub).toBe('alice')
    // The attacker sees nothing of the victim, whichever cookie is used.
    const session = (await thief(world, attacker).fetch('/auth/session')).json()
    expect(session.user?.sub ?? 'nobody').not.toBe('alice')
    await expectDead(world, attacker)
  })

  test('of any kind neither becomes a session nor stands in the way of one', async () => {
    const world = await startWorld()
    const planted = [
      'x',
      'Fe26.2*1*',
      `Fe26.2*1*${'0'.repeat(64)}*${'A'.repeat(22)}*AAAA**${'0'.repeat(64)}*${'A'.repeat(43)}~2`,
    ]
    for (const value of planted) {
      const victim = world.browser()
      for (const name of ['coatcheck', 'coatcheck.1', 'coatcheck.2', 'coatcheck.3', 'coatcheck-login'])
        victim.cookies.set(name, value)
      expect((await victim.signIn()).status, value).toBe(303)
      const { user, session } = (await victim.fetch('/auth/session')).json()
      expect(user.sub).toBe('alice')
      expect(session.id).toMatch(/^[\w-]{22,}$/)
      expect((await victim.fetch('/api/x')).status).toBe(200)
    }
  })

  test('with a login of the attacker in it does not sign the victim in with his code', async () => {
    const world = await startWorld()
    const attacker = world.browser()
    world.as.behaviour.user = { sub: 'mallory' }
    const callback = await attacker.untilCallback()
    const victim = world.browser()
    await victim.navigate('/auth/login')
    const answer = await victim.navigate(callback)
    expectRefusal(answer, 400, 'login_expired')
    await expectSignedOut(victim, answer)
  })
})

// Attack: time. Metadata and keys that were honest when they were fetched, and are hostile, withdrawn or away an hour later
// (R044, R114, R116, R118; OpenID Connect Core 10.1.1, ASVS 16.5.2).

import { KeyObject } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Answer } from '../support/authorization-server.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { jwt, readJwt, rs256 } from '../support/forge.ts'
import { movedClock } from '../support/moved-clock.ts'
import { expectLoginRefused, expectNoCanary } from '../support/oracles.ts'

const minute = 60_000
const discovery = '/.well-known/openid-configuration'

const elapsed = movedClock()

async function longLived(): Promise<World> {
  return startWorld(({ as, config }) => {
    as.behaviour.expiresIn = 86_400
    return { session: { ...config.session, idleTimeout: '12h' } }
  })
}

describe('R118 metadata that is an hour old', () => {
  const faults: [string, (world: World) => Answer][] = [
    ['is away', () => ({ status: 500, body: 'CANARY' })],
    ['is a page', () => ({ headers: { 'content-type': 'text/html' }, body: '<p>CANARY</p>' })],
    ['names another issuer', ({ as }) => ({ body: { ...described(as.issuer), issuer: 'https://evil.test' } })],
    ['leads inside', ({ as }) => ({ body: { ...described(as.issuer), token_endpoint: 'https://169.254.169.254/' } })],
  ]
  const described = (issuer: string) => ({
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
  })

  test.each(faults)('and %s now hurts no session and no sign-in, and is asked for once a minute', async (_, fault) => {
    const world = await longLived()
    const user = world.browser()
    await user.signIn()
    world.as.behaviour.faults[discovery] = () => fault(world)
    elapsed(61 * minute)
    const asked = () => world.as.to(discovery).length
    const before = asked()
    for (let time = 0; time < 5; time++) {
      expect((await user.fetch('/api/orders')).status).toBe(200)
      expect((await world.browser().signIn()).status).toBe(303)
    }
    await expect.poll(() => world.logged('provider.unavailable')).toHaveLength(1)
    expect(asked() - before).toBe(1)
    elapsed(63 * minute)
    expect((await world.browser().signIn()).status).toBe(303)
    await expect.poll(() => asked() - before).toBe(2)
    expectNoCanary(world, user)
  })

  test('is fetched anew beside the traffic, and what it says then counts', async () => {
    const world = await longLived()
    expect((await world.browser().signIn()).status).toBe(303)
    const { as } = world
    as.behaviour.metadata = (metadata) => {
      metadata.jwks_uri = `${as.issuer}/keys/2`
    }
    as.behaviour.faults['/keys/2'] = () => ({ body: { keys: as.publicKeys } })
    as.behaviour.faults['/jwks'] = () => ({ status: 410, body: '' })
    const before = world.logged('provider.ready').length
    elapsed(61 * minute)
    await world.browser().navigate('/auth/login')
    await expect.poll(() => world.logged('provider.ready').length).toBe(before + 1)
    expect((await world.browser().signIn()).status).toBe(303)
    expect(as.to('/keys/2')).toHaveLength(1)
  })
})

describe('R118 keys that cannot be had any more', () => {
  const away = (): Answer => ({ status: 500, body: 'CANARY' })
  const logOut = async (world: World, sid: string) => {
    const logout_token = await world.as.logoutToken({ sub: 'alice', sid })
    const answer = await world.browser().send('/auth/backchannel-logout', {
      method: 'POST',
      body: new URLSearchParams({ logout_token }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    return answer.status
  }
  /** A user who is signed in, and how that session is called at the authorization server. */
  async function signedIn(world: World) {
    let sid = ''
    world.as.behaviour.idToken = (claims) => {
      sid = String(claims.sid)
    }
    const user = world.browser()
    expect((await user.signIn()).status).toBe(303)
    return { user, sid }
  }

  test.each([
    ['eleven minutes', 11 * minute],
    ['an hour, when the metadata is fetched anew', 61 * minute],
    ['most of a day', 23 * 60 * minute],
  ])('are used on after %s: sign-ins go on, and what ends there ends here', async (_, time) => {
    const world = await longLived()
    expect((await signedIn(world)).sid).not.toBe('')
    world.as.behaviour.faults['/jwks'] = away
    world.as.requests.length = 0
    elapsed(time)
    const ready = world.logged('provider.ready').length
    for (let round = 0; round < 8; round++) expect((await world.browser().signIn()).status).toBe(303)
    if (time > 60 * minute) await expect.poll(() => world.logged('provider.ready').length).toBe(ready + 1)
    const { user, sid } = await signedIn(world)
    expect((await user.fetch('/auth/session')).json().authenticated).toBe(true)
    expect(await logOut(world, sid)).toBe(200)
    expect((await user.fetch('/auth/session')).json().authenticated).toBe(false)
    expect(world.as.to('/jwks').length).toBeLessThanOrEqual(2)
    expectNoCanary(world, user)
  })

  test('are believed no more after a day', async () => {
    const world = await longLived()
    const { sid } = await signedIn(world)
    world.as.behaviour.faults['/jwks'] = away
    elapsed(24 * 60 * minute)
    expect((await world.browser().signIn()).status).toBe(503)
    expect(await logOut(world, sid)).toBe(503)
    world.as.behaviour.faults = {}
    expect((await world.browser().signIn()).status).toBe(303)
    expect(await logOut(world, sid)).toBe(200)
  })
})

test('R116 signed responses that name keys nobody has delay a new key by twenty seconds, and no longer', async () => {
  const world = await startWorld(({ config }) => ({
    providers: config.providers.map((one) => ({ ...one, responseMode: 'jwt' as const })),
  }))
  expect((await world.browser().signIn()).status).toBe(303)
  world.as.requests.length = 0
  for (let round = 0; round < 6; round++) {
    const browser = world.browser()
    const { searchParams } = new URL(await browser.untilCallback(), world.url)
    const { header, claims } = readJwt(searchParams.get('response') ?? '')
    const response = jwt({ ...header, kid: `k${round}` }, claims, () => 'forged')
    const headers = { 'sec-fetch-site': 'cross-site' }
    const answer = await browser.navigate(`/auth/callback?${new URLSearchParams({ response })}`, { headers })
    expect(answer.status).toBe(400)
  }
  expect(world.as.to('/jwks').length).toBeLessThanOrEqual(5)
  await world.as.rotateKeys()
  expect((await world.browser().signIn()).status).toBe(400)
  const reasons = world.logged('login.failed').map(({ reason }) => reason)
  expect(reasons).toEqual(Array(7).fill('authorization_response_key'))
  elapsed(20_000)
  expect((await world.browser().signIn()).status).toBe(303)
})

describe('R116 a key that the server has withdrawn', () => {
  test('verifies nothing any more after ten minutes', async () => {
    const world = await longLived()
    expect((await world.browser().signIn()).status).toBe(303)
    const stolen = { key: KeyObject.from(world.as.signingKey()), kid: world.as.publicKeys[0]?.kid }
    await world.as.rotateKeys()
    world.as.behaviour.signedIdToken = (honest) =>
      jwt({ alg: 'RS256', kid: stolen.kid }, readJwt(honest).claims, rs256(stolen.key))
    elapsed(11 * minute)
    world.as.requests.length = 0
    const browser = world.browser()
    await expectLoginRefused(world, browser, await browser.signIn(), 'id_token_key')
  })
})

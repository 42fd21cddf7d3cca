// Attack: time. Metadata and keys that were honest when they were fetched, and are hostile, withdrawn or away an hour later
// (R044, R114, R116, R118; OpenID Connect Core 10.1.1, ASVS 16.5.2).

import { KeyObject } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Answer } from '../support/authorization-server.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { jwt, readJwt, rs256 } from '../support/forge.ts'
import { expectLoginRefused, expectNoCanary } from '../support/oracles.ts'

const minute = 60_000
const start = Date.parse('2026-11-22T12:00:00Z')
const discovery = '/.well-known/openid-configuration'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.setSystemTime(start)
})
afterEach(() => {
  vi.useRealTimers()
})

const elapsed = (milliseconds: number) => vi.setSystemTime(start + milliseconds)

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

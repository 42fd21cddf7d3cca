// Attack: access tokens that were good once: over, revoked, or of a key that was withdrawn; while what is remembered of them,
// and of the keys, would still let them in.
// R085 R531
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { readJwt, jwt as signed } from '../support/forge.ts'
import { movedClock, start } from '../support/moved-clock.ts'

type Bearer = NonNullable<NonNullable<ConfigInput['routes']>[number]['bearer']>

const second = 1_000
const minute = 60 * second
const hour = 60 * minute

const elapsed = movedClock()

const bearerWorld = (bearer: Bearer = { audience: 'api' }) =>
  startWorld(({ api }) => ({ routes: [{ path: '/api', upstream: api.url, token: 'user', bearer }] }))

const status = async (world: World, token: string) =>
  (await world.browser().send('/api/x', { headers: { authorization: `Bearer ${token}` } })).status

/** A token that outlives the test. */
const lasting = (world: World) => world.as.accessToken({ exp: start / 1_000 + 7 * 86_400 })

describe('R531 a token that was good', () => {
  test('is over when it says, and half a minute for clocks that differ', async () => {
    const world = await bearerWorld()
    const token = await world.as.accessToken({ exp: start / 1_000 + 60 })
    expect(await status(world, token)).toBe(200)
    elapsed(89 * second)
    expect(await status(world, token)).toBe(200)
    elapsed(90 * second)
    expect(await status(world, token)).toBe(401)
  })

  test('ends with its key, ten minutes after that was withdrawn at the latest', async () => {
    const world = await bearerWorld()
    const token = await lasting(world)
    expect(await status(world, token)).toBe(200)
    await world.as.rotateKeys()
    elapsed(5 * minute + second)
    // Nobody waits for the keys: they are fetched behind this call. What was found out with the old ones then counts no more.
    expect(await status(world, token)).toBe(200)
    await expect.poll(() => world.as.to('/jwks').length).toBe(2)
    await expect.poll(() => status(world, token)).toBe(401)
    expect(await status(world, await lasting(world))).toBe(200)
  })

  test('ends with its key although nobody has called for hours, and so does every other token of that key', async () => {
    const world = await bearerWorld()
    const [token, other] = [await lasting(world), await lasting(world)]
    expect(await status(world, token)).toBe(200)
    await world.as.rotateKeys()
    elapsed(20 * hour)
    expect(await Promise.all([other, token, other].map((one) => status(world, one)))).toEqual([401, 401, 401])
    // One fetch for their age, and not more than one for each of them because their key is not there.
    expect(world.as.to('/jwks').length).toBeLessThanOrEqual(4)
  })

  test('stays good while newer keys cannot be had, and nobody waits for them twice in a minute', async () => {
    const world = await bearerWorld()
    const tokens = await Promise.all(Array.from({ length: 5 }, () => lasting(world)))
    expect(await status(world, tokens[0] ?? '')).toBe(200)
    world.as.behaviour.faults['/jwks'] = () => ({ status: 500, body: '' })
    elapsed(2 * hour)
    for (const token of tokens) expect(await status(world, token)).toBe(200)
    expect(world.as.to('/jwks')).toHaveLength(2)
  })

  test('stays good for a day while the server is away, and no longer', async () => {
    const world = await bearerWorld()
    const token = await lasting(world)
    expect(await status(world, token)).toBe(200)
    world.as.behaviour.away = true
    elapsed(24 * hour - second)
    expect(await status(world, token)).toBe(200)
    elapsed(24 * hour + 6 * minute)
    expect(await status(world, token)).toBe(503)
    world.as.behaviour.away = false
    elapsed(24 * hour + 7 * minute)
    expect(await status(world, token)).toBe(200)
  })
})

test('R531 forged keys by the dozen delay a new key by twenty seconds, and no longer', async () => {
  const world = await bearerWorld()
  const good = await lasting(world)
  expect(await status(world, good)).toBe(200)
  const { header, claims } = readJwt(good)
  for (let n = 0; n < 12; n++) {
    expect(
      await status(
        world,
        signed({ ...header, kid: `k${n}` }, claims, () => 'forged'),
      ),
    ).toBe(401)
  }
  await world.as.rotateKeys()
  const next = await lasting(world)
  expect(await status(world, next)).toBe(401)
  expect(world.as.to('/jwks').length).toBeLessThanOrEqual(5)
  elapsed(20 * second)
  expect(await status(world, next)).toBe(200)
})

test('R085 a revoked token is good for as long as the route believes an answer, to the second', async () => {
  const world = await bearerWorld({ audience: 'api', introspection: { cacheFor: '30s' } })
  world.as.behaviour.introspected.opaque = { active: true, aud: 'api', sub: 'alice', token_type: 'Bearer' }
  expect(await status(world, 'opaque')).toBe(200)
  world.as.behaviour.introspected = {}
  elapsed(30 * second - 1)
  expect(await status(world, 'opaque')).toBe(200)
  elapsed(30 * second)
  expect(await status(world, 'opaque')).toBe(401)
})

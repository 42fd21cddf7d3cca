import { expect, test } from 'vitest'
import { providerFor, startWorld } from '../support/coatcheck.ts'
import { movedClock } from '../support/moved-clock.ts'

const elapsed = movedClock()

test('R069 what an authorization server wants in proofs is not forgotten when its metadata are fetched again', async () => {
  const world = await startWorld(({ as }) => {
    as.behaviour.dpop = { nonce: 'as-nonce', ahead: 300_000 }
    return { providers: [{ ...providerFor(as), dpop: true }] }
  })
  const { as } = world
  await world.browser().signIn()
  const before = as.to('/token').length
  for (let hour = 2; hour <= 6; hour += 2) {
    elapsed(hour * 3_600_000)
    expect((await world.browser().signIn()).status).toBe(303)
    await expect.poll(() => as.to('/.well-known/openid-configuration').length).toBe(1 + hour / 2)
  }
  expect(as.to('/token').length - before).toBe(3)
})

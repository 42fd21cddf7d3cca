// Attack: an API that refuses every token for hours, and one that is right to: its tokens are revoked as soon as they are there.
// R516
import { describe, expect, test } from 'vitest'
import { sessionKey, startWorld } from '../support/coatcheck.ts'
import { movedClock } from '../support/moved-clock.ts'

const second = 1_000
const minute = 60 * second

const elapsed = movedClock()

const lastingWorld = async () => {
  const world = await startWorld(({ as }) => {
    as.behaviour.expiresIn = 7 * 86_400
    return { session: { keys: [sessionKey()], idleTimeout: '7d', absoluteTimeout: '7d' } }
  })
  const user = world.browser()
  await user.signIn()
  const revoked = new Set<unknown>()
  let refusesAll = false
  world.api.answer = ({ headers }, response) => {
    const isRefused = refusesAll || revoked.has(headers.authorization)
    response.writeHead(isRefused ? 401 : 200, isRefused ? { 'www-authenticate': 'Bearer error="invalid_token"' } : {})
    response.end('{}')
  }
  const before = world.as.to('/token').length
  return {
    user,
    replacements: () => world.as.to('/token').length - before,
    refuseAll() {
      refusesAll = true
    },
    revokeNewest: () => revoked.add(world.api.last().headers.authorization),
  }
}

describe('R516 A token that is refused', () => {
  test('is replaced at once however new it is, and its replacement again after half a minute, a minute, two', async () => {
    const { user, replacements, refuseAll } = await lastingWorld()
    refuseAll()
    const counts: [seconds: number, replacements: number][] = [
      [0, 1],
      [29, 1],
      [30, 2],
      [89, 2],
      [90, 3],
      [209, 3],
      [210, 4],
    ]
    for (const [seconds, count] of counts) {
      elapsed(seconds * second)
      for (let call = 0; call < 3; call++) expect((await user.fetch('/api/x')).status).toBe(401)
      expect(replacements(), `after ${seconds} seconds`).toBe(count)
    }
    for (let time = 210; time < 24 * 3_600; time += 60) {
      elapsed(time * second)
      await user.fetch('/api/x')
    }
    // Every quarter of an hour.
    expect(replacements()).toBeLessThanOrEqual(4 + 4 * 24 + 4)
  })

  test('is replaced at once when the last one was replaced long ago, and so is each that was good for a while', async () => {
    const { user, replacements, revokeNewest } = await lastingWorld()
    await user.fetch('/api/x')
    for (const [round, time] of [0, 20 * minute, 60 * minute, 100 * minute].entries()) {
      elapsed(time)
      revokeNewest()
      expect((await user.fetch('/api/x')).status).toBe(200)
      expect(replacements()).toBe(round + 1)
    }
  })
})

// A schedule is told by its seed: whatever is found once can be looked at again.
import './smaller-caches.ts'
import { describe, expect, test } from 'vitest'
import { planOf } from './plan.ts'
import { simulate } from './simulate.ts'

describe('a schedule', () => {
  const seeds = Array.from({ length: 40 }, (_, index) => index * 7 + 1)

  test('is the same each time it is told, to the last event', async () => {
    for (const seed of seeds) {
      const [first, second] = [await simulate(planOf(seed)), await simulate(planOf(seed))]
      expect(second.trace).toEqual(first.trace)
      expect(first.trace.length).toBeGreaterThan(20)
    }
  })

  test('is another for another seed', async () => {
    const traces = new Set<string>()
    for (const seed of seeds) traces.add((await simulate(planOf(seed))).trace.join('\n'))
    expect(traces.size).toBe(seeds.length)
  })
})

test('timers, clock and chance are the real ones again after a schedule', async () => {
  const before = [setTimeout, clearTimeout, setInterval, clearInterval, Date, Math.random, crypto, AbortSignal.timeout]
  await simulate(planOf(1))
  const after = [setTimeout, clearTimeout, setInterval, clearInterval, Date, Math.random, crypto, AbortSignal.timeout]
  expect(after).toEqual(before)
})

test('schedules together contain everything there is to happen', () => {
  const kinds = new Set(
    Array.from({ length: 500 }, (_, seed) => planOf(seed).actions.map((action) => action.do)).flat(),
  )
  expect([...kinds].sort()).toMatchInlineSnapshot(`
    [
      "back-channel logout",
      "break server",
      "break store",
      "call",
      "end everywhere",
      "extend",
      "kill",
      "logout",
      "look",
      "refuse tokens",
      "repeat back-channel logout",
      "restart",
      "sign in",
      "withdraw grant",
    ]
  `)
})

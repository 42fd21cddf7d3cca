// The schedules of a test run, in shards that run beside each other. By default they are the same each time, so that a
// change is to blame for what it breaks. SIMULATION_FROM=<seed> takes others, SIMULATION_SCHEDULES=<number> more or fewer
// of them, and SIMULATION_SEED=<seed> runs a single one and tells all that happens in it.
import { expect, test } from 'vitest'
import { planOf } from './plan.ts'
import { firstViolation, report, shortened } from './report.ts'
import { simulate } from './simulate.ts'

const shards = 4
const { SIMULATION_SEED: single, SIMULATION_FROM = '1', SIMULATION_SCHEDULES = '10400' } = process.env
const perShard = Math.ceil(Number(SIMULATION_SCHEDULES) / shards)
/** Schedules of one test: small enough to see where the time goes. */
const perTest = 325

/** @param shard from 1 on. */
export function testSchedules(shard: number): void {
  if (single !== undefined) {
    test.runIf(shard === 1)(`every invariant holds in schedule ${single}`, async () => {
      const plan = planOf(Number(single))
      const told = await simulate(plan)
      console.log(report({ plan, told }))
      expect(told.violations).toEqual([])
    })
    return
  }
  const begin = Number(SIMULATION_FROM) + (shard - 1) * perShard
  const ranges = Array.from({ length: Math.ceil(perShard / perTest) }, (_, index) => {
    const from = begin + index * perTest
    return [from, Math.min(from + perTest, begin + perShard) - 1] as const
  })
  test.each(ranges)('every invariant holds in schedules %i to %i', { timeout: 300_000 }, async (from, to) => {
    const found = await firstViolation(from, to - from + 1)
    if (!found) return
    throw new Error(`${report(found)}\n\nThe same, shortened:\n${report(await shortened(found))}`)
  })
}

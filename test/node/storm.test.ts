// A small version of `npm run bench:refresh`: processes of `coatcheck serve`, and one of them killed.
import { expect, test } from 'vitest'
import { broken, count, graceIn, middleOf, type Scenario } from '../../bench/refresh/scenarios.ts'
import type { Behaviour } from '../../bench/refresh/servers/authorization-server.ts'
import { type Found, runStorm, type StormOptions } from '../../bench/refresh/storm.ts'
import { startWorld, type World, type WorldOptions } from '../../bench/refresh/world.ts'

/** Short, so that the lease of a dead instance is over after seven seconds. */
const refresh = { timeout: '2s' }
const small: StormOptions = { sessions: 20, parallel: 20, overlap: 5 }
const patience = 60_000

async function weather(
  scenario: Scenario,
  options: WorldOptions,
  storm = small,
  behaviour: Partial<Behaviour> = {},
): Promise<Found> {
  const world = await startWorld({ refresh, ...options })
  try {
    await world.authorizationServer.behave({ latency: 50, jitter: 25, grace: graceIn(scenario), ...behaviour })
    const inTheMiddle = middleOf(scenario, 1)
    return await runStorm(world, { ...(inTheMiddle && { inTheMiddle }), ...storm })
  } finally {
    await world.close()
  }
}

async function killInTheMiddleOfRefreshes({ authorizationServer, instances }: World): Promise<void> {
  await expect.poll(authorizationServer.underWay, { interval: 20 }).toBe(10)
  await instances[1]?.kill()
}

test.concurrent.each([
  ['sqlite', 'cookie'],
  ['redis', 'store'],
] as const)(
  'two processes on %s, tokens in the %s, refresh each session once',
  async (store, storage) => {
    const found = await weather('storm', { store, storage })
    expect(broken('storm', found)).toEqual([])
    expect(count(found)).toMatchObject({ refreshRequests: 20, reuse: 0, failed: 0, lost: 0 })
  },
  patience,
)

test.concurrent(
  'nothing is lost when one of two processes is killed and refresh tokens have a grace',
  async () => {
    const found = await weather('crash-grace', { store: 'redis', storage: 'cookie' })
    expect(broken('crash-grace', found)).toEqual([])
  },
  patience,
)

test.concurrent(
  'a process killed in the middle of refreshes takes those sessions with it, and no other',
  async () => {
    const storm = { sessions: 10, parallel: 10, overlap: 10, inTheMiddle: killInTheMiddleOfRefreshes }
    const behaviour = { latency: 1_200, jitter: 0 }
    const found = await weather('crash', { store: 'sqlite', storage: 'cookie' }, storm, behaviour)
    expect(broken('crash', found)).toEqual([])
    const { lost, reuse, postponed } = count(found)
    expect(lost).toBeGreaterThan(0)
    expect(reuse).toBe(lost)
    // The others waited until it was known what came of it: nobody was sent away to ask again.
    expect(postponed).toBe(0)
  },
  patience,
)

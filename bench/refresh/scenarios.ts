// What happens in the middle of a storm, and what must be true after it.
import { pause } from '../support/processes.ts'
import { type Found, isLost } from './storm.ts'
import type { World } from './world.ts'

/**
 * `alone`: one session at a time. `storm`: many, and nothing happens. `crash`: one instance is killed in the middle;
 * `crash-grace`: the same, and the authorization server answers a refresh token again that comes back soon. `restart`:
 * redis is killed in the middle and comes back with what it wrote down.
 */
export type Scenario = 'alone' | 'storm' | 'crash' | 'crash-grace' | 'restart'

/** Longer than the lease of a dead instance: `refresh.timeout` and five seconds. Milliseconds. */
const grace = 30_000
/** Around the kill: what the authorization server decided this long before or after it may have been lost with it. */
const aroundTheKill = 1_000

/** How the authorization server behaves in a scenario, besides its latency. */
export const graceIn = (scenario: Scenario): number => (scenario === 'crash-grace' ? grace : 0)

/** What happens in the middle. @param away how long redis is gone, in seconds */
export function middleOf(scenario: Scenario, away: number): ((world: World) => Promise<void>) | undefined {
  if (scenario === 'crash' || scenario === 'crash-grace') return async ({ instances }) => instances[1]?.kill()
  if (scenario !== 'restart') return undefined
  return async ({ redis }) => {
    await redis?.kill()
    await pause(away * 1_000)
    await redis?.start()
  }
}

/** What a storm came to, in numbers. */
export interface Counts {
  readonly refreshRequests: number
  readonly reuse: number
  /** Sessions that ended, and those of them whose tokens were under way to an instance when it was killed. */
  readonly lost: number
  readonly lostInFlight: number
  /** Calls of other sessions that did not come to a 200, after all repetitions. */
  readonly failed: number
  /** Calls that were sent again: elsewhere because the instance was dead, or later because of a 503. */
  readonly moved: number
  readonly postponed: number
}

export function count({ storm, late, calm, redemptions, middleAt }: Found): Counts {
  const lost = new Set(storm.filter(isLost).map(({ user }) => user))
  const calls = [...storm, ...late, ...calm]
  const others = calls.filter(({ user }) => !lost.has(user)).flatMap((one) => one.calls)
  const inFlight = redemptions.filter(
    ({ outcome, at }) => outcome === 'issued' && Math.abs(at - middleAt) <= aroundTheKill,
  )
  const all = calls.flatMap((one) => one.calls)
  return {
    refreshRequests: redemptions.length,
    reuse: redemptions.filter(({ outcome }) => outcome === 'reused').length,
    lost: lost.size,
    lostInFlight: new Set(inFlight.filter(({ user }) => lost.has(user)).map(({ user }) => user)).size,
    failed: others.filter(({ status }) => status !== 200).length,
    moved: all.filter(({ moved }) => moved > 0).length,
    postponed: all.filter(({ postponed }) => postponed > 0).length,
  }
}

/** What is not as it must be. Empty when all is well. */
export function broken(scenario: Scenario, found: Found): string[] {
  const counts = count(found)
  const { refreshRequests, reuse, lost, lostInFlight, failed } = counts
  const { expired, foreign, tokens, usersWithSeveral } = found.seen
  const repeated = found.redemptions.filter(({ outcome }) => outcome === 'repeated').length
  const mayLose = scenario === 'crash'
  const mayRepeat = scenario === 'crash-grace'
  const wanted = found.sessions + (mayLose ? lost : 0) + (mayRepeat ? repeated : 0)
  const first = found.storm.flatMap(({ calls }) => calls).find(({ status }) => status !== 200 && status !== 401)
  const rules: [holds: boolean, otherwise: string][] = [
    [refreshRequests === wanted, `${refreshRequests} refresh requests, and not ${wanted}`],
    [reuse === (mayLose ? lost : 0), `${reuse} refresh tokens came twice`],
    [lost === (mayLose ? lostInFlight : 0), `${lost} sessions were lost, ${lostInFlight} of them with the instance`],
    [failed === 0, `${failed} calls failed${first ? `, such as with ${first.status} ${first.code}` : ''}`],
    [expired === 0, `${expired} calls reached the API with an expired token`],
    [foreign === 0, `${foreign} calls reached the API with the token of somebody else`],
    [usersWithSeveral === 0 || mayRepeat, `${usersWithSeveral} sessions came with more than one new token`],
    [tokens >= found.sessions - lost, `only ${tokens} access tokens reached the API`],
  ]
  return rules.filter(([holds]) => !holds).map(([, otherwise]) => otherwise)
}

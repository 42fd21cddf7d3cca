// The storm itself: many sessions, each with many requests at once that find the same access token expired.
import { pause } from '../support/processes.ts'
import type { Redemption } from './servers/authorization-server.ts'
import type { Seen } from './servers/upstream.ts'
import { createVisitors, type Outcome, type Visitor } from './visitor.ts'
import type { World } from './world.ts'

export interface StormOptions {
  readonly sessions: number
  /** Requests of one session, all sent at once. */
  readonly parallel: number
  /** Sessions that storm at the same time; when one is done the next begins. */
  readonly overlap: number
  /** Done once half of the sessions have begun. The storm goes on meanwhile. */
  readonly inTheMiddle?: (world: World) => Promise<void>
}

/** One session and its calls. */
export interface Stormed {
  readonly user: string
  readonly calls: readonly Outcome[]
}

/** What came of a storm, with nothing judged yet. */
export interface Found {
  readonly sessions: number
  /** The calls that found the token expired; one more of each session that came late, with the old cookie. */
  readonly storm: readonly Stormed[]
  readonly late: readonly Stormed[]
  /** The same calls again, afterwards, with fresh tokens: what the load alone costs. */
  readonly calm: readonly Stormed[]
  readonly redemptions: readonly Redemption[]
  readonly seen: Seen
  /** When the middle was. Milliseconds since 1970. */
  readonly middleAt: number
  /** How long the storm took. Milliseconds. */
  readonly duration: number
}

/** Sessions begin this far apart at first, so that not all connections are made at once. Milliseconds. */
const stagger = 25
/** Sign-ins at a time. */
const signIns = 16

/** Signs in, waits until every token is over, and lets go. */
export async function runStorm(world: World, options: StormOptions): Promise<Found> {
  const { sessions, parallel, overlap, inTheMiddle } = options
  const connections = overlap * parallel
  const visitors = createVisitors(world, { connections, repeats: inTheMiddle !== undefined })
  try {
    const all = Array.from({ length: sessions }, (_, index) => visitors.visitor(`user-${index}`))
    await world.authorizationServer.behave({ firstLifetime: 1, lifetime: 3_600 })
    await together(all, signIns, (visitor, index) => visitor.signIn(index))
    await pause(1_100)

    const oldCookies = new Map(all.map((visitor) => [visitor, visitor.cookieHeader()]))
    let middle: Promise<void> | undefined
    let middleAt = Number.NaN
    const startedAt = performance.now()
    const storm: Stormed[] = []
    const late: Stormed[] = []
    await together(all, overlap, async (visitor, index) => {
      if (index < overlap) await pause(index * stagger)
      if (index === Math.floor(sessions / 2) && inTheMiddle) {
        // Not before those that have begun are well under way.
        middle = pause(world.instances.length * 20).then(() => {
          middleAt = Date.now()
          return inTheMiddle(world)
        })
      }
      storm.push(await rush(visitor, parallel, index))
      late.push({ user: visitor.user, calls: [await visitor.call(index + 1, oldCookies.get(visitor))] })
    })
    await middle
    const duration = performance.now() - startedAt
    // Those that were lost are lost; what is left must go on without another refresh.
    const lost = new Set(storm.filter(isLost).map(({ user }) => user))
    const calm: Stormed[] = []
    await together(
      all.filter(({ user }) => !lost.has(user)),
      overlap,
      async (visitor, index) => void calm.push(await rush(visitor, parallel, index)),
    )
    const [redemptions, seen] = await Promise.all([world.authorizationServer.redemptions(), world.upstream.seen()])
    return { sessions, storm, late, calm, redemptions, seen, middleAt, duration }
  } finally {
    await visitors.close()
  }
}

/** Whether the session ended: somebody was told to sign in again. */
export function isLost({ calls }: Stormed): boolean {
  return calls.some(({ status }) => status === 401)
}

async function rush(visitor: Visitor, parallel: number, first: number): Promise<Stormed> {
  const calls = Array.from({ length: parallel }, (_, index) => visitor.call(first + index))
  return { user: visitor.user, calls: await Promise.all(calls) }
}

/** Does something with each, at most `width` at a time. */
async function together<T>(all: readonly T[], width: number, work: (one: T, index: number) => Promise<void>) {
  let next = 0
  const worker = async () => {
    while (next < all.length) {
      const index = next++
      await work(all[index] as T, index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, all.length) }, worker))
}

// One of many does the work, and the others are handed what came of it: by a lease, over processes and machines.
import type { Platform } from '../platform.ts'
import { memoryStore } from '../stores/memory.ts'
import type { Lease } from '../stores/store.ts'
import { createWaiting } from '../stores/waiting.ts'
import { unavailable } from './authorization-server-fetch.ts'

/** The lease while the work is done. It is renewed until the work is over, however long that takes. */
export interface Held {
  /**
   * Whether it is held still, and for long enough to go on: a process may have been stopped for longer than it lasts.
   * While the store is away it is held for as long as it was last taken for. Never rejects.
   */
  check(): Promise<boolean>
  /** Holds on to it beyond the work, until this settles. */
  until(settled: Promise<void>): void
}

/** What work comes to that found its lease lost: somebody else is at it by now, or has done it. */
export const lost = Symbol('lost')

/** Work that must not be done twice at once. */
export interface Exclusive<T> {
  /** Name of the lease; what the work changes is told under this key too. */
  readonly key: string
  /** What came of the work, if somebody has done it. */
  find(): Promise<T | undefined>
  work(held: Held): Promise<T | typeof lost>
}

/** Takes turns, for work that takes about `timeout` milliseconds at most. */
export type Once = <T>(exclusive: Exclusive<T>) => Promise<T>

/**
 * Who waits looks again after this, in milliseconds: what changed between being refused the lease and listening for a
 * change was not heard.
 */
const lookAgain = 500

/**
 * Who waits for a holder that has died outlasts its lease by this, in milliseconds: to notice, and to be told what came of
 * the next attempt.
 */
const afterLease = 2_000

/** How long the lease of such work is taken at a time. Milliseconds. */
export const leaseTimeFor = (timeout: number) => timeout + 5_000

/** Takes turns in this process alone, for work that is not worth telling others of. */
export function createOnceHere(timeout: number, { now, waitUntil }: Pick<Platform, 'now' | 'waitUntil'>): Once {
  return createOnce(timeout, { now, waitUntil, store: memoryStore(now) })
}

/** Makes an attempt, or joins the one that is under way. */
export type Attempts<T> = (admit?: () => void) => Promise<T>

/**
 * What everybody here needs the same of, such as keys: one attempt at a time. Who comes while it is under way is handed what
 * comes of it, whether that is an answer or a failure.
 *
 * @param timeout how long an attempt takes at most, about, in milliseconds.
 * @returns a function that rejects with what the attempt rejects with. `admit` is called before an attempt begins, and not
 * where there is one to join; what it throws keeps this caller from it, and no other.
 */
export function createAttempts<T extends object>(
  attempt: () => Promise<T>,
  timeout: number,
  platform: Pick<Platform, 'now' | 'waitUntil'>,
): Attempts<T> {
  const { wait, wake } = createWaiting()
  /** Until when somebody is at it, unless that request died. Milliseconds since 1970. */
  let busyUntil = 0
  let ended = 0
  let outcome: { readonly value: T } | { readonly error: unknown } | undefined

  async function begin(): Promise<T> {
    busyUntil = platform.now() + leaseTimeFor(timeout)
    try {
      const value = await attempt()
      outcome = { value }
      return value
    } catch (error) {
      outcome = { error }
      throw error
    } finally {
      busyUntil = 0
      ended += 1
      wake('attempt')
    }
  }

  return async (admit) => {
    const before = ended
    for (;;) {
      if (outcome !== undefined && ended !== before) {
        if ('error' in outcome) throw outcome.error
        return outcome.value
      }
      const wayToGo = busyUntil - platform.now()
      if (wayToGo > 0) {
        await wait('attempt', Math.min(wayToGo, lookAgain))
        continue
      }
      admit?.()
      const begun = begin()
      // A caller that goes away does not take with it what others wait for.
      platform.waitUntil(begun.catch(() => {}))
      return begun
    }
  }
}

export function createOnce(
  timeout: number,
  { now, store, waitUntil }: Pick<Platform, 'now' | 'store' | 'waitUntil'>,
): Once {
  const leaseTime = leaseTimeFor(timeout)

  /** Renews the lease while something is under way. */
  async function holding<T>(lease: Lease, work: () => Promise<T>): Promise<T> {
    const timer = setInterval(() => void lease.renew(leaseTime).catch(() => {}), leaseTime / 3)
    try {
      return await work()
    } finally {
      clearInterval(timer)
    }
  }

  async function turn<T>(lease: Lease, takenAt: number, { find, work }: Exclusive<T>): Promise<T | typeof lost> {
    const release = () => lease.release().catch(() => {})
    let heldUntil = takenAt + leaseTime
    let beyond: Promise<void> | undefined
    const held: Held = {
      async check() {
        const time = now()
        try {
          if (!(await lease.renew(leaseTime))) return false
          heldUntil = time + leaseTime
          return true
        } catch {
          return now() < heldUntil
        }
      },
      until(settled) {
        beyond = settled
      },
    }
    try {
      // Between the look and the lease somebody may have finished, or the store may have moved on long ago.
      return (await find()) ?? (await holding(lease, () => work(held)))
    } finally {
      const settled = beyond
      if (settled === undefined) await release()
      else waitUntil(holding(lease, () => settled.catch(() => {})).then(release))
    }
  }

  return async (exclusive) => {
    const deadline = now() + leaseTime + afterLease
    for (;;) {
      const known = await exclusive.find()
      if (known !== undefined) return known
      const time = now()
      const lease = await store.lease(exclusive.key, leaseTime)
      const outcome = lease ? await turn(lease, time, exclusive) : lost
      if (outcome !== lost) return outcome
      if (!lease) await store.changed(exclusive.key, Math.min(deadline - now(), lookAgain))
      if (now() >= deadline) throw unavailable('timeout')
    }
  }
}

// Which sessions are over: a tombstone beats every cookie, copied or late, on every instance within a second (ASVS 7.4.1).
import { LRUCache } from 'lru-cache'
import type { Platform } from '../platform.ts'

/** What ends: every session with one of these names that began before a moment. Times in milliseconds since 1970. */
export interface Ending {
  /** Names as `Names` gives them. */
  readonly marks: readonly string[]
  /** Sessions that began later live on. */
  readonly before: number
  /** Until when this must be remembered: their cookies end by themselves then. */
  readonly until: number
}

export interface Endings {
  /**
   * Ends sessions here, at once and for good. Resolves when every other instance will know within a second; if the
   * store is away it rejects, and the others are told as soon as it is back.
   */
  end(ending: Ending): Promise<void>
  /** Whether a session with these names, begun at `createdAt`, is over, as far as this instance knows. */
  isOver(marks: readonly string[], createdAt: number): boolean
  /**
   * Learns what ended elsewhere. `undefined` when that was done less than a second ago, so that almost no request waits.
   * @param now asks now, whenever it was done last.
   */
  catchUp(now?: 'now'): Promise<void> | undefined
}

/** After this an instance asks what ended elsewhere, beside the request that notices. Milliseconds. */
const askAfter = 500
/** Nobody is let in on older knowledge than this. Milliseconds. */
const freshness = 1_000
/** The log that all instances share. */
const log = 'endings'
/** Endings that are remembered, the latest. */
const mostEndings = 1_000_000
/** Endings that could not be told yet; more than this are told by nobody. */
const mostUntold = 10_000
/** How long telling may take before somebody else tries: whoever began may have been cut off. Milliseconds. */
const tellingTime = 5_000

export function createEndings({
  now,
  store,
  waitUntil,
  sharesPromises = false,
}: Pick<Platform, 'now' | 'store' | 'waitUntil' | 'sharesPromises'>): Endings {
  const ended = new LRUCache<string, { before: number; until: number }>({
    // By size and not by number: the room for a number would be taken at once.
    maxSize: mostEndings,
    sizeCalculation: () => 1,
    perf: { now },
    ttlResolution: 0,
  })
  /** With the time until which somebody is at it. */
  const untold = new Map<Ending, number>()
  let cursor = ''
  let knownAt = Number.NEGATIVE_INFINITY
  let askedAt = Number.NEGATIVE_INFINITY

  function learn({ marks, before, until }: Ending): void {
    for (const mark of marks) {
      const known = ended.get(mark)
      const later = { before: Math.max(before, known?.before ?? 0), until: Math.max(until, known?.until ?? 0) }
      const ttl = later.until - now()
      if (ttl > 0) ended.set(mark, later, { ttl })
    }
  }

  async function tell(ending: Ending): Promise<void> {
    const ttl = ending.until - now()
    if (untold.size < mostUntold || untold.has(ending)) untold.set(ending, now() + tellingTime)
    try {
      if (ttl > 0) await store.append(log, written(ending), ttl)
      untold.delete(ending)
    } catch (error) {
      if (untold.has(ending)) untold.set(ending, Number.NEGATIVE_INFINITY)
      throw error
    }
  }

  /** Tells what could not be told before, until that fails again. */
  async function tellRest(): Promise<void> {
    for (const [ending, busyUntil] of untold) if (busyUntil <= now()) await tell(ending)
  }

  async function ask(): Promise<void> {
    const time = now()
    askedAt = time
    if (untold.size > 0) waitUntil(tellRest().catch(() => {}))
    for (let more = true; more; ) {
      const page = await store.since(log, cursor)
      for (const entry of page.entries) {
        const ending = read(entry)
        if (ending) learn(ending)
      }
      cursor = page.cursor
      more = page.entries.length > 0
    }
    knownAt = Math.max(knownAt, time)
  }

  /** The question that is under way, and one that begins when it is answered. */
  let running: Promise<void> | undefined
  let following: Promise<void> | undefined

  /** An answer to a question that is asked from now on: an older one may not have seen what its caller did before. */
  function askFromNow(): Promise<void> {
    if (!sharesPromises) return ask()
    if (!running) return askOnce()
    following ??= running
      .catch(() => {})
      .then(() => {
        following = undefined
        return askOnce()
      })
    return following
  }

  function askOnce(): Promise<void> {
    if (!sharesPromises) return ask()
    running ??= ask().finally(() => {
      running = undefined
    })
    return running
  }

  /** Knowledge that is fresh at this moment: that of a question under way may be too old by the time it is there. */
  async function askFresh(): Promise<void> {
    const time = now()
    await askOnce()
    if (knownAt <= time - freshness) await askFromNow()
  }

  return {
    async end(ending) {
      learn(ending)
      await tell(ending)
    },
    isOver(marks, createdAt) {
      for (const mark of marks) {
        const found = ended.get(mark)
        if (found && createdAt <= found.before && found.until > now()) return true
      }
      return false
    },
    catchUp(when) {
      if (when === 'now') return askFromNow()
      const age = now() - knownAt
      // A clock that was set back must not make old knowledge look new.
      if (age >= 0 && age < askAfter) return undefined
      if (age < 0 || age >= freshness) return askFresh()
      const isAsking = now() - askedAt < askAfter
      if (!isAsking) waitUntil(askOnce().catch(() => {}))
      return undefined
    },
  }
}

/** One line of the log. */
function written({ marks, before, until }: Ending): string {
  return `${before} ${until} ${marks.join(' ')}`
}

/** `undefined` for what was not written by us. */
function read(entry: string): Ending | undefined {
  const [before = '', until = '', ...marks] = entry.split(' ')
  if (!/^\d+$/.test(before) || !/^\d+$/.test(until)) return undefined
  return { before: Number(before), until: Number(until), marks }
}

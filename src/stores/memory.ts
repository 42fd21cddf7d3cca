// A store for one process (or one Workers isolate). Nothing survives a restart.
import { LRUCache } from 'lru-cache'
import { lifetime, pageSize } from './patience.ts'
import type { Lease, Store } from './store.ts'
import { createWaiting } from './waiting.ts'

/** Beyond this the entries that were not used for longest are forgotten, so that nobody can fill the memory. Bytes. */
const capacity = 128 * 1_024 * 1_024
/** The same for counters, which have room of their own: whoever is counted often must not push out anything else. Bytes. */
const counterCapacity = 32 * 1_024 * 1_024
/** What an entry takes besides its text, roughly. Bytes. */
const overhead = 200

/** Where the entries numbered above `at` begin; they are in order, and searched from the end, where the reader is. */
function firstAfter(entries: readonly { at: number }[], at: number): number {
  return entries.findLastIndex((one) => one.at <= at) + 1
}

/** Makes an empty store. `now` is in milliseconds. */
export function memoryStore(now: () => number = Date.now): Store {
  const values = new LRUCache<string, string>({
    maxSize: capacity,
    sizeCalculation: (value, key) => value.length + key.length + overhead,
    perf: { now },
    ttlResolution: 0,
  })
  const counters = new LRUCache<string, { total: number; until: number }>({
    maxSize: counterCapacity,
    sizeCalculation: (_, key) => key.length + overhead,
    perf: { now },
    ttlResolution: 0,
  })
  const leases = new Map<string, { fence: number; until: number }>()
  const logs = new Map<string, { entries: { at: number; entry: string; until: number }[]; next: number }>()
  const { wait, wake } = createWaiting()
  let fences = 0

  function heldLease(key: string): { fence: number; until: number } | undefined {
    const lease = leases.get(key)
    if (lease && lease.until > now()) return lease
    leases.delete(key)
    return undefined
  }

  function put(key: string, value: string, ttl: number): void {
    // A time limit of 0 would mean none to the cache.
    if (ttl > 0) values.set(key, value, { ttl })
    else values.delete(key)
    wake(key)
  }

  return {
    async get(key) {
      return values.get(key)
    },
    async set(key, value, ttl) {
      put(key, value, ttl)
    },
    async add(key, value, ttl) {
      if (values.get(key) !== undefined) return false
      put(key, value, ttl)
      return true
    },
    async delete(key) {
      values.delete(key)
      wake(key)
    },
    async lease(key, ttl): Promise<Lease | undefined> {
      if (heldLease(key)) return undefined
      const fence = ++fences
      leases.set(key, { fence, until: now() + ttl })
      const isHeld = () => heldLease(key)?.fence === fence
      return {
        fence,
        async renew(more) {
          if (!isHeld()) return false
          leases.set(key, { fence, until: now() + more })
          return true
        },
        async release() {
          if (isHeld()) leases.delete(key)
          wake(key)
        },
      }
    },
    changed: wait,
    async append(name, entry, ttl) {
      const log = logs.get(name) ?? { entries: [], next: 1 }
      logs.set(name, log)
      const time = now()
      // Entries of one log live equally long, or nearly: the oldest are the first to go.
      const fresh = log.entries.findIndex(({ until }) => until > time)
      log.entries.splice(0, fresh === -1 ? log.entries.length : fresh)
      log.entries.push({ at: log.next++, entry, until: time + ttl })
    },
    async since(name, cursor) {
      const { entries = [] } = logs.get(name) ?? {}
      const after = Number(cursor)
      const time = now()
      const fresh = entries.slice(firstAfter(entries, after)).filter(({ until }) => until > time)
      const page = fresh.slice(0, pageSize)
      return {
        entries: page.map(({ entry }) => entry),
        cursor: String(page.at(-1)?.at ?? after),
      }
    },
    async count(key, points, ttl) {
      const time = now()
      const known = counters.get(key)
      const counter = known && known.until > time ? known : { total: 0, until: time + lifetime(ttl) }
      counter.total += points
      if (counter !== known) counters.set(key, counter, { ttl: lifetime(ttl) })
      return { total: counter.total, milliseconds: counter.until - time }
    },
    async healthy() {
      return true
    },
  }
}

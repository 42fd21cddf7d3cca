// A store for one process (or one Workers isolate): a map with time-outs. Nothing survives a restart.
import type { Lease, Store } from './store.ts'

/** Beyond this many entries the oldest are forgotten, so that nobody can fill the memory. */
const capacity = 100_000

/** Makes an empty store. `now` is in milliseconds. */
export function memoryStore(now: () => number = Date.now): Store {
  const values = new Map<string, { value: string; until: number }>()
  const leases = new Map<string, { fence: number; until: number }>()
  const waiting = new Map<string, Set<() => void>>()
  let fences = 0

  function fresh<T extends { until: number }>(map: Map<string, T>, key: string): T | undefined {
    const entry = map.get(key)
    if (entry && entry.until > now()) return entry
    map.delete(key)
    return undefined
  }

  function put<T extends { until: number }>(map: Map<string, T>, key: string, entry: T): void {
    map.delete(key)
    if (map.size >= capacity) forget(map)
    map.set(key, entry)
    wake(key)
  }

  /** Drops what is over; if that frees nothing, drops the oldest tenth. */
  function forget(map: Map<string, { until: number }>): void {
    const time = now()
    for (const [key, { until }] of map) if (until <= time) map.delete(key)
    const oldest = map.keys()
    while (map.size > capacity * 0.9) map.delete(oldest.next().value ?? '')
  }

  function wake(key: string): void {
    const woken = waiting.get(key)
    waiting.delete(key)
    for (const resume of woken ?? []) resume()
  }

  return {
    async get(key) {
      return fresh(values, key)?.value
    },
    async set(key, value, ttl) {
      put(values, key, { value, until: now() + ttl })
    },
    async add(key, value, ttl) {
      if (fresh(values, key)) return false
      put(values, key, { value, until: now() + ttl })
      return true
    },
    async delete(key) {
      values.delete(key)
      wake(key)
    },
    async lease(key, ttl): Promise<Lease | undefined> {
      if (fresh(leases, key)) return undefined
      const fence = ++fences
      put(leases, key, { fence, until: now() + ttl })
      const held = () => fresh(leases, key)?.fence === fence
      return {
        fence,
        async renew(more) {
          if (!held()) return false
          leases.set(key, { fence, until: now() + more })
          return true
        },
        async release() {
          if (held()) leases.delete(key)
          wake(key)
        },
      }
    },
    changed(key, timeout) {
      return new Promise((resolve) => {
        const all = waiting.get(key) ?? new Set()
        waiting.set(key, all)
        const resume = () => {
          clearTimeout(timer)
          all.delete(resume)
          if (all.size === 0 && waiting.get(key) === all) waiting.delete(key)
          resolve()
        }
        const timer = setTimeout(resume, timeout)
        all.add(resume)
      })
    },
    async healthy() {
      return true
    },
  }
}

// A store that counts what is asked of it, and adds up what it keeps.
import { familyOf, type Lease, type Store } from '../../src/stores/store.ts'

export interface CountingStore extends Store {
  /** Calls since the last `reset()`, by name: `get 2, add 1`. Reads of the log are `since`. */
  told(): string
  calls(name: keyof Store | 'renew' | 'release'): number
  /** Families that were named since the last `reset()`: one Durable Object each. */
  families(): number
  reset(): void
  /** What is kept now under keys of some kind, names included. Bytes. */
  bytes(kind: RegExp): number
}

export function countingStore(store: Store): CountingStore {
  const counts = new Map<string, number>()
  const named = new Set<string>()
  const kept = new Map<string, number>()

  /** One call, and the family it is about. */
  function note(call: string, key: string): void {
    counts.set(call, (counts.get(call) ?? 0) + 1)
    named.add(familyOf(key))
  }
  const keep = (key: string, value: string) => void kept.set(key, key.length + value.length)

  return {
    async get(key) {
      note('get', key)
      return store.get(key)
    },
    async set(key, value, ttl) {
      note('set', key)
      keep(key, value)
      return store.set(key, value, ttl)
    },
    async add(key, value, ttl) {
      note('add', key)
      const isAdded = await store.add(key, value, ttl)
      if (isAdded) keep(key, value)
      return isAdded
    },
    async delete(key) {
      note('delete', key)
      kept.delete(key)
      return store.delete(key)
    },
    async lease(key, ttl): Promise<Lease | undefined> {
      note('lease', key)
      const lease = await store.lease(key, ttl)
      return (
        lease && {
          fence: lease.fence,
          async renew(more) {
            note('renew', key)
            return lease.renew(more)
          },
          async release() {
            note('release', key)
            return lease.release()
          },
        }
      )
    },
    async changed(key, timeout) {
      note('changed', key)
      return store.changed(key, timeout)
    },
    async append(log, entry, ttl) {
      note('append', `log ${log}`)
      keep(`log ${log} ${kept.size}`, entry)
      return store.append(log, entry, ttl)
    },
    async since(log, cursor) {
      note('since', `log ${log}`)
      return store.since(log, cursor)
    },
    async count(key, points, ttl) {
      note('count', key)
      return store.count(key, points, ttl)
    },
    healthy: () => store.healthy(),

    told: () => [...counts].map(([name, count]) => `${name} ${count}`).join(', ') || 'none',
    calls: (name) => counts.get(name) ?? 0,
    families: () => named.size,
    reset() {
      counts.clear()
      named.clear()
    },
    bytes: (kind) => [...kept].reduce((sum, [key, bytes]) => sum + (kind.test(key) ? bytes : 0), 0),
  }
}

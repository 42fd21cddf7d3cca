// A store between instances that is slow, away for a while, or takes a call and loses the answer; and a book of what is
// in it. What it promises it keeps: nothing is forgotten before its time.
import { memoryStore } from '../../src/stores/memory.ts'
import type { Lease, Store } from '../../src/stores/store.ts'
import type { Clock } from './clock.ts'
import type { Random } from './random.ts'

/** How it fails: before the call did anything, after it did, or after two seconds of either. */
export type StoreFault = 'refuses' | 'loses' | 'hangs'

/** A lease as it was, for those who judge later whether it was held. */
export interface LeaseRecord {
  readonly key: string
  readonly instance: number
  readonly takenAt: number
  /** Until when it is held if nothing happens. */
  heldUntil: number
  releasedAt?: number
}

export interface StoreOptions {
  clock: Clock
  random: Random
  /** Longest time of one call, in milliseconds. */
  latency: number
  note: (line: string) => void
  /** Told when a value was put, and when an ending was entered in the log. */
  onPut: (key: string, value: string) => Promise<void> | void
  onEnding: (entry: string, instance: number) => void
}

/** Who calls. What the dead ask is never answered, and what they would still do is not done. */
export interface Caller {
  readonly number: number
  readonly isAlive: boolean
}

interface Outage {
  readonly fault: StoreFault
  readonly instances: readonly number[]
  /** Of the calls in this time, how many fail. */
  readonly share: number
  readonly until: number
}

export type SimulatedStore = ReturnType<typeof createStore>

/** Longest time before a call that gets no answer is given up. Milliseconds. */
const patience = 2_000

export function createStore({ clock, random, latency, note, onPut, onEnding }: StoreOptions) {
  const inner = memoryStore(clock.now)
  const leases: LeaseRecord[] = []
  const putAt = new Map<string, number>()
  const lastFailure = new Map<number, number>()
  let lastOfAll = Number.NEGATIVE_INFINITY
  let outages: Outage[] = []

  function faultFor(instance: number): StoreFault | undefined {
    outages = outages.filter(({ until }) => until > clock.now())
    return outages.find((one) => one.instances.includes(instance) && random.chance(one.share))?.fault
  }

  async function fail(instance: number, what: string): Promise<never> {
    lastFailure.set(instance, clock.now())
    lastOfAll = clock.now()
    note(`I${instance} store: ${what} failed`)
    throw new Error('The store is away')
  }

  /** One call, with everything that may happen to it on the way. */
  async function call<T>(who: Caller, what: string, work: () => Promise<T>): Promise<T> {
    const fault = faultFor(who.number)
    const apart = () => clock.sleep(random.between(0, Math.ceil(latency / 2)))
    const never = new Promise<T>(() => {})
    if (!who.isAlive) return never
    const isLost = fault === 'refuses' || (fault === 'hangs' && random.chance(0.5))
    await (isLost && fault === 'hangs' ? clock.sleep(patience) : apart())
    if (!who.isAlive) return never
    if (isLost) return fail(who.number, what)
    const result = await work()
    await (fault === 'hangs' ? clock.sleep(patience) : apart())
    if (!who.isAlive) return never
    return fault === undefined ? result : fail(who.number, what)
  }

  async function put(instance: number, key: string, value: string): Promise<void> {
    putAt.set(key, clock.now())
    note(`I${instance} store: ${key} is ${value.length > 40 ? `a seal of ${value.length}` : value}`)
    await onPut(key, value)
  }

  async function takeLease(who: Caller, key: string, ttl: number): Promise<Lease | undefined> {
    const lease = await inner.lease(key, ttl)
    if (!lease) return undefined
    const record: LeaseRecord = { key, instance: who.number, takenAt: clock.now(), heldUntil: clock.now() + ttl }
    leases.push(record)
    note(`I${who.number} store: lease of ${key}`)
    return {
      fence: lease.fence,
      renew: (more) =>
        call(who, 'renewing a lease', async () => {
          const held = await lease.renew(more)
          if (held) record.heldUntil = clock.now() + more
          return held
        }),
      release: () =>
        call(who, 'giving a lease back', async () => {
          record.releasedAt ??= clock.now()
          await lease.release()
          note(`I${who.number} store: lease of ${key} given back`)
        }),
    }
  }

  return {
    leases,
    /** When a key was last written. */
    putAt: (key: string) => putAt.get(key),
    /** When a call of an instance, or of any, last failed. */
    failedAt: (instance?: number) =>
      instance === undefined ? lastOfAll : (lastFailure.get(instance) ?? Number.NEGATIVE_INFINITY),

    break(fault: StoreFault, instances: readonly number[], share: number, milliseconds: number): void {
      outages.push({ fault, instances, share, until: clock.now() + milliseconds })
    },
    heal(): void {
      outages = []
    },

    /** The store as one instance reaches it. */
    asSeenBy(who: Caller): Store {
      return {
        get: (key) => call(who, 'get', () => inner.get(key)),
        set: (key, value, ttl) =>
          call(who, 'set', async () => {
            await inner.set(key, value, ttl)
            await put(who.number, key, value)
          }),
        add: (key, value, ttl) =>
          call(who, 'add', async () => {
            const isNew = await inner.add(key, value, ttl)
            if (isNew) await put(who.number, key, value)
            return isNew
          }),
        delete: (key) => call(who, 'delete', () => inner.delete(key)),
        lease: (key, ttl) => call(who, 'lease', () => takeLease(who, key, ttl)),
        changed: (key, timeout) => call(who, 'changed', () => inner.changed(key, timeout)),
        append: (log, entry, ttl) =>
          call(who, 'append', async () => {
            await inner.append(log, entry, ttl)
            note(`I${who.number} store: ending ${entry}`)
            onEnding(entry, who.number)
          }),
        since: (log, cursor) => call(who, 'since', () => inner.since(log, cursor)),
        count: (key, points, ttl) => call(who, 'count', () => inner.count(key, points, ttl)),
        healthy: async () => true,
      }
    },
  }
}

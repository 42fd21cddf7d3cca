// A store for Cloudflare Workers: a Durable Object for each family and each log, reached from every location.
import { DurableObject, waitUntil } from 'cloudflare:workers'
import { inTime, inTimeOrUndone, lifetime, pageSize } from './patience.ts'
import { type Count, familyOf, type Lease, type LogPage, type Store } from './store.ts'
import { createWaiting } from './waiting.ts'

/** After this somebody who waits looks again in any case: an object that is moved forgets who waits. Milliseconds. */
const longestWait = 5_000
/** A change this long ago may have happened while the call of somebody who waits was on its way. Milliseconds. */
const journeyTime = 250
/** Entries of a log that are cleared away with each new one, at most: more than it can leave behind. */
const clearedAtOnce = 16

interface Kept {
  readonly value: string
  /** Milliseconds since 1970. */
  readonly until: number
}

interface KeptCount {
  readonly total: number
  /** Milliseconds since 1970. */
  readonly until: number
}

interface KeptLease {
  readonly fence: number
  /** When it is over, by its time. */
  readonly until: number
  readonly isReleased?: boolean
}

/**
 * One family of keys, or one log. What is kept is `v` values, `l` leases, `c` counters and `e` log entries, each with the
 * time when it is over; an alarm clears that away, and an object that keeps nothing any more ceases to exist.
 */
export class SessionObject extends DurableObject {
  readonly #waiting = createWaiting()
  /** When a key changed, for as long as that may matter to somebody on the way. */
  readonly #changes = new Map<string, number>()
  #hasAlarm = false

  read(key: string): string | undefined {
    return this.#fresh<Kept>(`v${key}`)?.value
  }

  async write(key: string, value: string, ttl: number, onlyNew: boolean): Promise<boolean> {
    if (onlyNew && this.#fresh<Kept>(`v${key}`)) return false
    await this.#keep<Kept>(`v${key}`, { value, until: Date.now() + lifetime(ttl) })
    this.#changed(key)
    return true
  }

  forget(key: string): void {
    this.ctx.storage.kv.delete(`v${key}`)
    this.#changed(key)
  }

  /** The fence of the lease, or `undefined` while somebody has it. */
  async take(key: string, ttl: number): Promise<number | undefined> {
    const last = this.ctx.storage.kv.get<KeptLease>(`l${key}`)
    if (last && !last.isReleased && last.until > Date.now()) return undefined
    const fence = numberAfter(last?.fence)
    await this.#keep<KeptLease>(`l${key}`, { fence, until: Date.now() + lifetime(ttl) })
    return fence
  }

  async renew(key: string, fence: number, ttl: number): Promise<boolean> {
    if (!this.#isHeld(key, fence)) return false
    await this.#keep<KeptLease>(`l${key}`, { fence, until: Date.now() + lifetime(ttl) })
    return true
  }

  release(key: string, fence: number): void {
    if (!this.#isHeld(key, fence)) return
    const { kv } = this.ctx.storage
    const lease = kv.get<KeptLease>(`l${key}`)
    // It stays until its time is over, so that the next fence is larger.
    if (lease) kv.put<KeptLease>(`l${key}`, { ...lease, isReleased: true })
    this.#changed(key)
  }

  async change(key: string, timeout: number): Promise<void> {
    if ((this.#changes.get(key) ?? 0) > Date.now() - journeyTime) return
    await this.#waiting.wait(key, timeout)
  }

  async append(entry: string, ttl: number): Promise<void> {
    const { kv } = this.ctx.storage
    const now = Date.now()
    const [last] = [...kv.list({ prefix: 'e', reverse: true, limit: 1 })]
    for (const [name, { until }] of [...kv.list<Kept>({ prefix: 'e', limit: clearedAtOnce })]) {
      if (until > now) break
      kv.delete(name)
    }
    const at = numberAfter(last && Number(last[0].slice(1)))
    await this.#keep<Kept>(`e${cursorAt(at)}`, { value: entry, until: now + lifetime(ttl) })
  }

  since(cursor: string): LogPage {
    const now = Date.now()
    const entries: string[] = []
    let last = cursor
    for (const [name, { value, until }] of this.ctx.storage.kv.list<Kept>({ prefix: 'e', startAfter: `e${cursor}` })) {
      last = name.slice(1)
      if (until > now) entries.push(value)
      if (entries.length === pageSize) break
    }
    return { entries, cursor: last }
  }

  async count(key: string, points: number, ttl: number): Promise<Count> {
    const now = Date.now()
    const { total, until } = this.#fresh<KeptCount>(`c${key}`) ?? { total: 0, until: now + lifetime(ttl) }
    await this.#keep<KeptCount>(`c${key}`, { total: total + points, until })
    return { total: total + points, milliseconds: until - now }
  }

  async alarm(): Promise<void> {
    const { storage } = this.ctx
    this.#hasAlarm = false
    const now = Date.now()
    const over: string[] = []
    let last = 0
    for (const [name, { until }] of storage.kv.list<Kept | KeptLease | KeptCount>()) {
      if (until <= now) over.push(name)
      else last = Math.max(last, until)
    }
    for (const name of over) storage.kv.delete(name)
    if (last === 0) await storage.deleteAll()
    else await this.#wakeUpAt(last)
  }

  #fresh<T extends { until: number }>(name: string): T | undefined {
    const kept = this.ctx.storage.kv.get<T>(name)
    return kept && kept.until > Date.now() ? kept : undefined
  }

  #isHeld(key: string, fence: number): boolean {
    const lease = this.#fresh<KeptLease>(`l${key}`)
    return lease?.fence === fence && !lease.isReleased
  }

  async #keep<T extends { until: number }>(name: string, kept: T): Promise<void> {
    this.ctx.storage.kv.put(name, kept)
    if (!this.#hasAlarm) await this.#wakeUpAt(kept.until)
  }

  /** One alarm is enough: it sets the next one while anything is left. */
  async #wakeUpAt(time: number): Promise<void> {
    const { storage } = this.ctx
    if ((await storage.getAlarm()) === null) await storage.setAlarm(time)
    this.#hasAlarm = true
  }

  #changed(key: string): void {
    const now = Date.now()
    for (const [one, at] of this.#changes) if (at <= now - journeyTime) this.#changes.delete(one)
    this.#changes.delete(key)
    this.#changes.set(key, now)
    this.#waiting.wake(key)
  }
}

/** Numbers are times, so that they grow even when nothing is left of earlier ones. */
function numberAfter(last = 0): number {
  return Math.max(Date.now() * 1_000, last + 1)
}

/** In sixteen digits, so that the order of the text is that of the numbers. */
function cursorAt(number: number): string {
  return String(number).padStart(16, '0')
}

/** The calls of a `SessionObject` as they arrive elsewhere. */
type Remote = {
  [Name in Exclude<keyof SessionObject, 'alarm'>]: SessionObject[Name] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never
}

/** A store in the Durable Objects of a binding whose class is `SessionObject`. */
export function durableObjectStore(namespace: DurableObjectNamespace): Store {
  // Made for each call: on Workers one request must not use what another one opened.
  const object = (name: string) => namespace.get(namespace.idFromName(name)) as Remote
  const family = (key: string) => object(`family ${familyOf(key)}`)

  return {
    get: (key) => inTime(family(key).read(key)),
    async set(key, value, ttl) {
      await inTime(family(key).write(key, value, ttl, false))
    },
    add: (key, value, ttl) => inTime(family(key).write(key, value, ttl, true)),
    async delete(key) {
      await inTime(family(key).forget(key))
    },
    async lease(key, ttl): Promise<Lease | undefined> {
      const giveBack = async (late: number | undefined) => late !== undefined && family(key).release(key, late)
      const fence = await inTimeOrUndone(family(key).take(key, ttl), giveBack, waitUntil)
      if (fence === undefined) return undefined
      return {
        fence,
        renew: (more) => inTime(family(key).renew(key, fence, more)),
        async release() {
          await inTime(family(key).release(key, fence))
        },
      }
    },
    async changed(key, timeout) {
      const patience = Math.min(timeout, longestWait)
      const { promise: late, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, patience)
      // An object that breaks down wakes nobody; whoever waits then looks again when the time is over.
      const woken = family(key)
        .change(key, patience)
        .catch(() => late)
      await Promise.race([woken, late])
      clearTimeout(timer)
    },
    async append(log, entry, ttl) {
      await inTime(object(`log ${log}`).append(entry, ttl))
    },
    since: (log, cursor) => inTime(object(`log ${log}`).since(cursor)),
    count: (key, points, ttl) => inTime(family(key).count(key, points, ttl)),
    healthy: () =>
      inTime(object('healthy').write('healthy', '', 1_000, false)).then(
        () => true,
        () => false,
      ),
  }
}

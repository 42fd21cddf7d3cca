// A store as the rest of coatcheck sees it: when it cannot answer, that is one error with one meaning.
import { CoatcheckError } from '../errors.ts'
import type { Log } from '../observability.ts'
import type { Store } from './store.ts'

/** Seconds after which trying again makes sense. */
const retryAfter = 2
/** A store that is away is mentioned this often, however many requests notice. Milliseconds. */
const mentionEvery = 5_000

/**
 * The same store, whose failures are CoatcheckErrors with the code `store_unavailable`: the request is refused, and the
 * session it belongs to is kept.
 */
export function guarded(store: Store, { log, now }: { log: Log; now: () => number }): Store {
  let mentionedAt = Number.NEGATIVE_INFINITY

  const failed = (error: unknown): never => {
    if (now() - mentionedAt >= mentionEvery) {
      mentionedAt = now()
      log({ event: 'store.failed', reason: 'store_failed' })
    }
    throw new CoatcheckError('store_unavailable', 'store_failed', { retryAfter }, error)
  }

  /** Also what is thrown at once, by a store that is not ours. */
  async function told<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      return failed(error)
    }
  }

  return {
    get: (key) => told(() => store.get(key)),
    set: (key, value, ttl) => told(() => store.set(key, value, ttl)),
    add: (key, value, ttl) => told(() => store.add(key, value, ttl)),
    delete: (key) => told(() => store.delete(key)),
    lease: (key, ttl) => told(() => store.lease(key, ttl)),
    changed: (key, timeout) => told(() => store.changed(key, timeout)),
    append: (name, entry, ttl) => told(() => store.append(name, entry, ttl)),
    since: (name, cursor) => told(() => store.since(name, cursor)),
    count: (key, points, ttl) => told(() => store.count(key, points, ttl)),
    healthy: () => told(() => store.healthy()).catch(() => false),
  }
}

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

  return {
    get: (key) => store.get(key).catch(failed),
    set: (key, value, ttl) => store.set(key, value, ttl).catch(failed),
    add: (key, value, ttl) => store.add(key, value, ttl).catch(failed),
    delete: (key) => store.delete(key).catch(failed),
    lease: (key, ttl) => store.lease(key, ttl).catch(failed),
    changed: (key, timeout) => store.changed(key, timeout).catch(failed),
    append: (log, entry, ttl) => store.append(log, entry, ttl).catch(failed),
    since: (log, cursor) => store.since(log, cursor).catch(failed),
    count: (key, points, ttl) => store.count(key, points, ttl).catch(failed),
    healthy: () => store.healthy().catch(() => false),
  }
}

// How often a route may be called by one session, user or address, counted together by all instances.
import RateLimiterRes from 'rate-limiter-flexible/lib/RateLimiterRes.js'
import RateLimiterStore from 'rate-limiter-flexible/lib/RateLimiterStoreAbstract.js'
import { CoatcheckError } from '../errors.ts'
import type { Names } from '../session/names.ts'
import type { Holding, Session } from '../session/session.ts'
import type { Count, Store } from '../stores/store.ts'
import { networkOf } from './client-address.ts'
import type { Route } from './routes.ts'

/**
 * Counts one call of a route. A store that cannot answer refuses nobody: this instance then counts for itself.
 * @throws CoatcheckError `rate_limited`, with the seconds to wait
 */
export type RateLimit = (route: Route, caller: Caller | undefined, address: string | undefined) => Promise<void>

/** Who is counted: a session, or a caller whose token says who it is. That has no session but itself. */
export type Caller = Session | Pick<Holding, 'issuer' | 'subject'>

/** A store that failed is left alone for this long; then one call has a look. Milliseconds. */
const pause = 1_000
/** Callers that are known to be over their limit, for each route. Who is forgotten is looked up in the store again. */
const mostBlocked = 5_000

type Counting = Pick<Store, 'count'>
type Limit = NonNullable<Route['rateLimit']>

export interface RateLimitParts {
  store: Counting
  /** Counts in this process while `store` cannot answer. */
  spare: Counting
  /** What callers are called in a store that others share; without it by what they are. */
  names?: Names | undefined
  /** Milliseconds. */
  now: () => number
}

export function rateLimit({ store, spare, names, now }: RateLimitParts): RateLimit {
  const limiters = new Map<Route, Limiter>()
  const patient = patiently(store, now)

  function limiterOf(route: Route, limit: Limit): Limiter {
    const limiter = limiters.get(route) ?? new Limiter(limit, patient, new Limiter(limit, spare))
    limiters.set(route, limiter)
    return limiter
  }

  return async (route, caller, address) => {
    const limit = route.rateLimit
    if (limit === undefined) return
    // Callers without a session share what their address has left.
    const counted = limit.per === 'address' ? undefined : caller
    const key = names
      ? await hashedKey(names, route.path, limit, counted, address)
      : plainKey(route.path, limit, counted, address)
    try {
      await limiterOf(route, limit).consume(key)
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused
      const retryAfter = Math.max(1, Math.ceil(refused.msBeforeNext / 1_000))
      throw new CoatcheckError('rate_limited', 'rate_limited', { retryAfter })
    }
  }
}

function plainKey(path: string, { per }: Limit, caller: Caller | undefined, address: string | undefined): string {
  if (caller === undefined) return `${path} address ${networkOf(address)}`
  if (per === 'session' && 'holding' in caller) return `${path} session ${caller.id}`
  const { issuer, subject } = 'holding' in caller ? caller.holding : caller
  return `${path} user ${issuer} ${subject}`
}

/** A family for each caller: no Durable Object, and no slot of a Redis cluster, has to count them all. */
async function hashedKey(
  names: Names,
  path: string,
  { per, window }: Limit,
  caller: Caller | undefined,
  address: string | undefined,
): Promise<string> {
  const limit = await names.limit(JSON.stringify([path, per, window]))
  return `${await familyOf(names, per, caller, address)}/${limit}`
}

async function familyOf(names: Names, per: Limit['per'], caller: Caller | undefined, address: string | undefined) {
  if (caller === undefined) return names.address(networkOf(address))
  if (!('holding' in caller)) return (await names.user(caller.issuer, caller.subject))[0]
  return per === 'user' ? (await names.of(caller.holding)).user : caller.family
}

/** The library's limiter over counters. All that it keeps itself is who is known to be over the limit; it has no timers. */
class Limiter extends RateLimiterStore {
  readonly #counters: Counting
  readonly #window: number
  #blocked = 0

  constructor({ requests, window }: Limit, counters: Counting, insuranceLimiter?: Limiter) {
    super({
      storeClient: undefined,
      keyPrefix: '',
      points: requests,
      duration: window / 1_000,
      inMemoryBlockOnConsumed: requests,
      ...(insuranceLimiter && { insuranceLimiter }),
    })
    this.#counters = counters
    this.#window = window
  }

  _upsert(key: string, points: number): Promise<Count> {
    return this.#counters.count(key, points, this.#window)
  }

  _getRateLimiterRes(_key: string, points: number, { total, milliseconds }: Count): RateLimiterRes {
    // The library bounds neither how many it blocks nor what it costs to look through them.
    if (total >= this.points && ++this.#blocked > mostBlocked) {
      this.deleteInMemoryBlockedAll()
      this.#blocked = 1
    }
    return new RateLimiterRes(Math.max(0, this.points - total), milliseconds, total, total === points)
  }
}

/** The counters of a store, which is not asked for a moment after it failed: not every call should wait to learn that. */
function patiently(store: Counting, now: () => number): Counting {
  let isAway = false
  let askedAt = 0
  return {
    async count(...args) {
      const time = now()
      if (isAway && Math.abs(time - askedAt) < pause) throw new Error('The store was away a moment ago')
      askedAt = time
      try {
        const counted = await store.count(...args)
        isAway = false
        return counted
      } catch (error) {
        isAway = true
        askedAt = now()
        throw error
      }
    },
  }
}

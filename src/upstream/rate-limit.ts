// How often a route may be called by one session, user or address.
import RateLimiterMemory from 'rate-limiter-flexible/lib/RateLimiterMemory.js'
import RateLimiterRes from 'rate-limiter-flexible/lib/RateLimiterRes.js'
import { CoatcheckError } from '../errors.ts'
import type { Session } from '../session/session.ts'
import type { Route } from './routes.ts'

/**
 * Counts one call of a route.
 * @throws CoatcheckError `rate_limited`, with the seconds to wait
 */
export type RateLimit = (route: Route, session: Session | undefined, address: string | undefined) => Promise<void>

/** Counts in this process. */
export function rateLimit(): RateLimit {
  const limiters = new Map<Route, RateLimiterMemory>()
  return async (route, session, address) => {
    const limit = route.rateLimit
    if (limit === undefined) return
    const limiter =
      limiters.get(route) ?? new RateLimiterMemory({ points: limit.requests, duration: limit.window / 1_000 })
    limiters.set(route, limiter)
    await limiter.consume(caller(limit.per, session, address)).catch((refused: unknown) => {
      const wait = refused instanceof RateLimiterRes ? refused.msBeforeNext : limit.window
      throw new CoatcheckError('rate_limited', 'rate_limited', { retryAfter: Math.max(1, Math.ceil(wait / 1_000)) })
    })
  }
}

/** Callers without a session share what their address has left. */
function caller(
  per: 'session' | 'user' | 'address',
  session: Session | undefined,
  address: string | undefined,
): string {
  if (per === 'address' || session === undefined) return `address ${address ?? 'unknown'}`
  if (per === 'user') return `user ${session.holding.issuer} ${session.holding.subject}`
  return `session ${session.id}`
}

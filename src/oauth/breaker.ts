// Leaves an authorization server alone that does not answer: asked again now and then, by one request at a time.
import { CoatcheckError } from '../errors.ts'
import type { Reason } from '../reasons.ts'
import { unavailable } from './authorization-server-fetch.ts'

/** Failures in a row before a server is left alone. */
const patience = 5
/** How long it is left alone at first, and at most, in milliseconds. Doubles with every further failure. */
const pauses = { first: 1_000, longest: 30_000 }

/** Reasons that speak of the server and not of the request. */
const outages = new Set<Reason>(['timeout', 'unreachable', 'server_error'])

interface Breaker {
  /**
   * Does the work, unless the server is being left alone.
   * @throws CoatcheckError `authorization_server_unavailable` with `refresh_backing_off`, or what the work throws
   */
  run<T>(work: () => Promise<T>): Promise<T>
}

/** One breaker for each name: a provider, and what it is asked for besides the tokens of sessions. */
export interface Breakers {
  /** See `Breaker.run`. */
  run<T>(name: string, work: () => Promise<T>): Promise<T>
}

export function createBreakers(now: () => number): Breakers {
  const breakers = new Map<string, Breaker>()
  return {
    run(name, work) {
      const breaker = breakers.get(name) ?? createBreaker(now)
      breakers.set(name, breaker)
      return breaker.run(work)
    },
  }
}

function createBreaker(now: () => number): Breaker {
  let failures = 0
  let closedUntil = 0

  function pause(): number {
    return Math.min(pauses.first * 2 ** (failures - patience), pauses.longest)
  }

  return {
    async run(work) {
      const wait = closedUntil - now()
      if (wait > 0) throw unavailable('refresh_backing_off', undefined, Math.ceil(wait / 1_000))
      // Whoever comes while this one tries is told to wait: one request is enough to find out.
      if (failures >= patience) closedUntil = now() + pause()
      try {
        const result = await work()
        failures = 0
        closedUntil = 0
        return result
      } catch (error) {
        const isAway = error instanceof CoatcheckError && outages.has(error.reason)
        // An answer, whatever it says, is a sign of life.
        failures = isAway ? failures + 1 : 0
        closedUntil = failures >= patience ? now() + pause() : 0
        throw error
      }
    },
  }
}

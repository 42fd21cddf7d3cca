// Keeps sessions fresh: when to renew, who waits for it, and catching up with what was renewed elsewhere.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { RenewedHolding, Session } from '../session/session.ts'
import { unavailable } from './authorization-server-fetch.ts'
import { leaseTimeFor } from './once.ts'
import {
  createRedemption,
  type Outcome,
  type Purpose,
  type RedemptionParts,
  spendingOf,
  type Wanted,
} from './redemption.ts'
import { isExpired, isRefreshOver, isStale } from './token-set.ts'

export interface Refresher {
  /**
   * Makes sure that the session has an access token to send, and leaves the cookies that go with it on the session.
   *
   * A good token is used at once. A stale one that is still good is used too, while one refresh runs behind it. Only
   * when the token is over does the request wait for the authorization server.
   *
   * @throws CoatcheckError `session_expired` when the session ended with this, `reauth_required` when there is no way
   * to renew, `authorization_server_unavailable` when it has to be tried again.
   */
  ensureFresh(session: Session): Promise<void> | undefined
  /**
   * Renews although the token looks good, because an upstream refused `refused`. Throws as `ensureFresh`.
   * @param unasked says that the answer has gone out, so that no browser gets the cookies that go with it.
   */
  renewRefused(session: Session, refused: string, unasked?: 'unasked'): Promise<void>
  /**
   * Redeems until the token for an API is there, each time for all who wait for it. Throws as `ensureFresh`, and
   * `forbidden` or `insufficient_scope` when the user may not have it.
   */
  obtain(session: Session, wanted: Wanted, unasked?: 'unasked'): Promise<void>
  /** Puts the newest tokens that are known in this process into a session. */
  adoptNewest(session: Session): void
  /** Puts the newest tokens that are known anywhere into a session that may have come with an old cookie. Never throws. */
  bringUpToDate(session: Session): Promise<void>
}

/** A session that was refreshed more often than this since the browser got its cookie is not caught up with. */
const longestCatchUp = 8

/**
 * The refresh of one token as this process knows it. Only settled values are shared: on Workers a promise may die with
 * the request that made it.
 */
interface Flight {
  successor?: RenewedHolding
  /** Until when somebody here is at it. Milliseconds since 1970. */
  busyUntil: number
}

/** Where the flight of a redemption is: two sessions that were given one refresh token have each their own. */
const flightOf = ({ id }: Session, spending: string) => `${id} ${spending}`

export function createRefresher(config: Pick<Config, 'refresh'>, parts: RedemptionParts): Refresher {
  const { sessions, platform } = parts
  const { now, log, waitUntil } = platform
  const { timeout, replayWindow } = config.refresh
  const leaseTime = leaseTimeFor(timeout)
  const { successorOf, recall } = createRedemption(config, parts)
  const flights = new LRUCache<string, Flight>({
    max: 5_000,
    ttl: Math.max(replayWindow, leaseTime),
    perf: { now },
    // With any other the cache would keep the time in a timer, which on Workers dies with the request.
    ttlResolution: 0,
  })
  /** Until when some token is remembered that was replaced before its time. Almost always over: then nobody looks. */
  let refusedUntil = 0

  /** Runs a refresh and leaves its outcome where the requests beside and after it look. */
  async function fly(session: Session, spending: string, purpose: Purpose): Promise<Outcome> {
    const flight: Flight = flights.get(flightOf(session, spending)) ?? { busyUntil: 0 }
    flight.busyUntil = now() + leaseTime
    flights.set(flightOf(session, spending), flight)
    try {
      const outcome = await successorOf(session, spending, purpose)
      if (outcome !== 'unchanged') flight.successor = outcome
      return outcome
    } catch (error) {
      if (error instanceof CoatcheckError && error.code === 'session_expired') {
        if (!sessions.isOver(session)) log({ event: 'session.ended', session: session.id, reason: error.reason })
        const setCookie = await sessions.end(session)
        throw new CoatcheckError('session_expired', error.reason, { ...error.details, setCookie }, error)
      }
      throw error
    } finally {
      flight.busyUntil = 0
    }
  }

  /** Catches up with refreshes that happened here since the browser got its cookie. */
  function catchUp(session: Session): Flight | undefined {
    for (let round = 0; round < longestCatchUp; round++) {
      const spending = spendingOf(session)
      const flight = spending === undefined ? undefined : flights.get(flightOf(session, spending))
      if (!flight?.successor) return flight
      sessions.adopt(session, flight.successor)
    }
    return undefined
  }

  async function renewNow(session: Session, purpose: Purpose = { unasked: false }): Promise<void> {
    const spending = spendingOf(session)
    if (spending === undefined) throw new CoatcheckError('reauth_required', 'refresh_token_absent')
    const flight = fly(session, spending, purpose)
    // A browser that goes away does not take the refresh with it.
    waitUntil(flight.catch(() => {}))
    const outcome = await flight
    if (outcome !== 'unchanged') sessions.adopt(session, outcome)
  }

  async function freshen(session: Session, flight: Flight | undefined): Promise<void> {
    for (let round = 0; isExpired(session.holding.tokens, now()); round++) {
      if (round === longestCatchUp) throw unavailable('response_malformed')
      await renewNow(session)
    }
    const spending = spendingOf(session)
    const { tokens } = session.holding
    if (!isStale(tokens, now()) || spending === undefined || isRefreshOver(tokens, now())) return
    // Still good: one refresh runs behind this request, and the next one finds its outcome.
    const busy = flight !== undefined && flight.busyUntil > now()
    if (!busy) waitUntil(fly(session, spending, { unasked: true }).catch(() => {}))
  }

  return {
    ensureFresh(session) {
      const isOld = isStale(session.holding.tokens, now())
      // A token that looks good may have been refused and replaced already.
      if (!isOld && now() >= refusedUntil) return undefined
      const flight = catchUp(session)
      return isStale(session.holding.tokens, now()) ? freshen(session, flight) : undefined
    },

    adoptNewest: (session) => void catchUp(session),

    async bringUpToDate(session) {
      for (let round = 0; round < longestCatchUp; round++) {
        const spending = spendingOf(session)
        if (spending === undefined) return
        const next = flights.get(flightOf(session, spending))?.successor ?? (await recall(session, spending))
        if (!next) return
        sessions.adopt(session, next)
      }
    },

    async renewRefused(session, refused, unasked) {
      catchUp(session)
      if (session.holding.tokens.accessToken !== refused) return
      refusedUntil = now() + flights.ttl
      await renewNow(session, { unasked: unasked === 'unasked', early: true })
    },

    async obtain(session, wanted, unasked) {
      for (let round = 0; !(await wanted.isThere()); round++) {
        // Each round somebody spent the refresh token, for this or for something else.
        if (round === longestCatchUp) throw unavailable('response_malformed')
        catchUp(session)
        await renewNow(session, { unasked: unasked === 'unasked', wanted })
      }
    },
  }
}

// At most one refresh: whoever holds the lease redeems, everybody else is handed what came of it.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { RenewedHolding, Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Lease } from '../stores/store.ts'
import { unavailable } from './authorization-server-fetch.ts'
import { createBreaker } from './breaker.ts'
import type { RelyingParty } from './relying-party.ts'
import { createSuccessors } from './successors.ts'
import { isExpired, isStale, type TokenSet } from './token-set.ts'

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
  /** Puts the newest tokens that are known anywhere into a session that may have come with an old cookie. Never throws. */
  bringUpToDate(session: Session): Promise<void>
}

/**
 * Who waits for somebody else's refresh looks again after this, in milliseconds: what changed between being refused the
 * lease and listening for a change was not heard.
 */
const lookAgain = 500

/**
 * Who waits for a holder that has died outlasts its lease by this, in milliseconds: to notice, and to be told what came of
 * the next attempt.
 */
const afterLease = 2_000

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

/** One redemption, from the taking of the lease to its end. */
interface Turn {
  readonly session: Session
  readonly key: string
  readonly lease: Lease
  /** Whether it runs behind a request that does not wait, and whose answer does not bring what comes of it. */
  readonly unasked: boolean
  /** Goes on when the store could not be told what came of it, until it can. Never rejects. */
  telling?: Promise<void>
}

/**
 * What names one redemption: the refresh token, and the generation that spends it, because a server that does not rotate
 * gives the same token again. `undefined` when there is nothing to spend.
 */
function spendingOf({ holding }: Session): string | undefined {
  const { refreshToken } = holding.tokens
  return refreshToken === undefined ? undefined : `${holding.generation} ${refreshToken}`
}

export interface RefresherParts {
  sessions: Sessions
  relyingParties: ReadonlyMap<string, RelyingParty>
  platform: Pick<Platform, 'now' | 'log' | 'store' | 'waitUntil'>
}

export function createRefresher(
  config: Pick<Config, 'refresh'>,
  { sessions, relyingParties, platform }: RefresherParts,
): Refresher {
  const { now, log, store, waitUntil } = platform
  const { timeout, replayWindow } = config.refresh
  const leaseTime = timeout + 5_000
  const flights = new LRUCache<string, Flight>({
    max: 5_000,
    ttl: Math.max(replayWindow, leaseTime),
    perf: { now },
    // With any other the cache would keep the time in a timer, which on Workers dies with the request.
    ttlResolution: 0,
  })
  /** Until when some token is remembered that was replaced before its time. Almost always over: then nobody looks. */
  let refusedUntil = 0
  const successors = createSuccessors(replayWindow, { sessions, platform })
  const breakers = new Map([...relyingParties.keys()].map((id) => [id, createBreaker(now)]))

  /** Redeems the session's refresh token, or learns what came of somebody else's redemption of it. */
  async function successorOf(session: Session, spending: string, unasked: boolean): Promise<RenewedHolding> {
    const key = await successors.keyOf(session, spending)
    const deadline = now() + leaseTime + afterLease
    for (;;) {
      const known = await successors.recall(session, key)
      if (known) return known
      const lease = await store.lease(key, leaseTime)
      if (lease) {
        const turn: Turn = { session, key, lease, unasked }
        try {
          // Between the look and the lease somebody may have finished, or the store may have moved on long ago.
          return (await successors.recall(session, key)) ?? (await redeem(turn))
        } finally {
          await end(turn)
        }
      }
      await store.changed(key, Math.min(deadline - now(), lookAgain))
      if (now() >= deadline) throw unavailable('timeout')
    }
  }

  /** Holds the lease until the work is over, however slow the authorization server is. */
  async function holding<T>(lease: Lease, work: () => Promise<T>): Promise<T> {
    const timer = setInterval(() => void lease.renew(leaseTime).catch(() => {}), leaseTime / 3)
    try {
      return await work()
    } finally {
      clearInterval(timer)
    }
  }

  /** Gives the lease back: at once, or when the others can see what it was held for. */
  async function end({ lease, telling }: Turn): Promise<void> {
    const release = () => lease.release().catch(() => {})
    if (telling === undefined) return release()
    waitUntil(holding(lease, () => telling).then(release))
  }

  /** The one place where a refresh token is spent. Never bound to the browser's connection: the token is gone either way. */
  async function redeem(turn: Turn): Promise<RenewedHolding> {
    const { session, key, lease } = turn
    const { provider } = session.holding
    const relyingParty = relyingParties.get(provider)
    const breaker = breakers.get(provider)
    if (!relyingParty || !breaker) throw new CoatcheckError('reauth_required', 'provider_unknown')
    const about = { provider, session: session.id }
    const startedAt = now()
    try {
      const tokens = await holding(lease, () => breaker.run(() => relyingParty.refresh(session.holding)))
      const renewed = await publish(turn, tokens, relyingParty)
      const { generation } = renewed.holding
      log({ event: 'refresh.completed', ...about, generation, milliseconds: now() - startedAt })
      return renewed
    } catch (error) {
      const told = error instanceof CoatcheckError ? error : unavailable('unexpected', error)
      const over = told.code === 'session_expired'
      // Nothing was tried: others need not hear of it.
      if (told.reason === 'refresh_backing_off') throw told
      log({ event: 'refresh.failed', ...about, reason: told.reason, sessionKept: !over })
      // Somebody else may have been faster with the same token: then what they got is the truth.
      const mayBeBeaten = over && told.reason !== 'session_ended'
      const other = mayBeBeaten ? await successors.recall(session, key) : undefined
      if (other) return other
      // Whoever cannot be told tries for themselves, and hears the same.
      await successors.mark(key, over ? 'dead' : told.reason).catch(() => {})
      throw told
    }
  }

  /** Leaves new tokens where everybody finds them, unless the session ended in the meantime. */
  async function publish(turn: Turn, tokens: TokenSet, relyingParty: RelyingParty): Promise<RenewedHolding> {
    const { session, key, unasked } = turn
    const withdraw = () => waitUntil(relyingParty.revoke(tokens).catch(() => {}))
    const renewed = await sessions.renew(session, tokens).catch((error) => {
      withdraw()
      throw error
    })
    try {
      await sessions.save(session, renewed, unasked)
      const other = await successors.enter(session, key, renewed)
      if (other) return other
      // First told, then asked: either this sees the end of the session, or who ended it saw these tokens.
      if (!(await sessions.isOverAnywhere(session))) return renewed
    } catch (error) {
      if (!(error instanceof CoatcheckError) || error.code !== 'store_unavailable') throw error
      // The old token is spent, so these must not be lost: this instance goes on with them, others are told when it can.
      // Until then the lease is kept, or the next of them would spend the old token again.
      turn.telling = successors.enterLater(session, key, renewed, unasked)
      return renewed
    }
    withdraw()
    throw new CoatcheckError('session_expired', 'session_ended')
  }

  /** Runs a refresh and leaves its outcome where the requests beside and after it look. */
  async function fly(session: Session, spending: string, unasked: boolean): Promise<RenewedHolding> {
    const flight: Flight = flights.get(spending) ?? { busyUntil: 0 }
    flight.busyUntil = now() + leaseTime
    flights.set(spending, flight)
    try {
      flight.successor = await successorOf(session, spending, unasked)
      return flight.successor
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
      const flight = spending === undefined ? undefined : flights.get(spending)
      if (!flight?.successor) return flight
      sessions.adopt(session, flight.successor)
    }
    return undefined
  }

  async function renewNow(session: Session, unasked = false): Promise<void> {
    const spending = spendingOf(session)
    if (spending === undefined) throw new CoatcheckError('reauth_required', 'refresh_token_absent')
    const flight = fly(session, spending, unasked)
    // A browser that goes away does not take the refresh with it.
    waitUntil(flight.catch(() => {}))
    sessions.adopt(session, await flight)
  }

  async function freshen(session: Session, flight: Flight | undefined): Promise<void> {
    for (let round = 0; isExpired(session.holding.tokens, now()); round++) {
      if (round === longestCatchUp) throw unavailable('response_malformed')
      await renewNow(session)
    }
    const spending = spendingOf(session)
    if (!isStale(session.holding.tokens, now()) || spending === undefined) return
    // Still good: one refresh runs behind this request, and the next one finds its outcome.
    const busy = flight !== undefined && flight.busyUntil > now()
    if (!busy) waitUntil(fly(session, spending, true).catch(() => {}))
  }

  return {
    ensureFresh(session) {
      const isOld = isStale(session.holding.tokens, now())
      // A token that looks good may have been refused and replaced already.
      if (!isOld && now() >= refusedUntil) return undefined
      const flight = catchUp(session)
      return isStale(session.holding.tokens, now()) ? freshen(session, flight) : undefined
    },

    async bringUpToDate(session) {
      for (let round = 0; round < longestCatchUp; round++) {
        const spending = spendingOf(session)
        if (spending === undefined) return
        const next =
          flights.get(spending)?.successor ??
          (await successors
            .keyOf(session, spending)
            .then((key) => successors.recall(session, key))
            .catch(() => undefined))
        if (!next) return
        sessions.adopt(session, next)
      }
    },

    async renewRefused(session, refused, unasked) {
      catchUp(session)
      if (session.holding.tokens.accessToken !== refused) return
      refusedUntil = now() + flights.ttl
      await renewNow(session, unasked === 'unasked')
    },
  }
}

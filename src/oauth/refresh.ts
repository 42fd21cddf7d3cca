// At most one refresh: whoever holds the lease redeems, everybody else is handed what came of it.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { Sealer } from '../session/seal.ts'
import type { Holding, Session, Sessions } from '../session/sessions.ts'
import { unavailable } from './authorization-server-fetch.ts'
import type { RelyingParty } from './relying-party.ts'
import { isExpired, isStale } from './token-set.ts'

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
  /** Renews although the token looks good, because an upstream refused `refused`. Throws as `ensureFresh`. */
  renewRefused(session: Session, refused: string): Promise<void>
  /** Puts the newest tokens that are known anywhere into a session that may have come with an old cookie. Never throws. */
  bringUpToDate(session: Session): Promise<void>
}

/** Marks under the key of a refresh token that has no successor. `failed` is followed by the reason. */
const deadMark = 'dead'
const failedMark = 'failed '
/** How long a refresh token that was refused is not tried again. Milliseconds. */
const deadFor = 30_000
/** Pause after a refresh that failed for a passing reason, before this token is tried again. Milliseconds. */
const pauseAfterFailure = 1_000
/** A session that was refreshed more often than this since the browser got its cookie is not caught up with. */
const longestCatchUp = 8

interface Successor {
  readonly holding: Holding
  readonly seal: string
}

/**
 * The refresh of one token as this process knows it. Only settled values are shared: on Workers a promise may die with
 * the request that made it.
 */
interface Flight {
  successor?: Successor
  /** Until when somebody here is at it. Milliseconds since 1970. */
  busyUntil: number
}

/**
 * What names one redemption: the refresh token, and the generation that spends it, because a server that does not rotate
 * gives the same token again. `undefined` when there is nothing to spend.
 */
function spendingOf({ holding }: Session): string | undefined {
  const { refreshToken } = holding.tokens
  return refreshToken === undefined ? undefined : `${holding.generation} ${refreshToken}`
}

export function createRefresher(
  config: Pick<Config, 'refresh'>,
  {
    sessions,
    sealer,
    relyingParties,
    platform,
  }: {
    sessions: Sessions
    sealer: Sealer
    relyingParties: ReadonlyMap<string, RelyingParty>
    platform: Pick<Platform, 'now' | 'log' | 'store' | 'waitUntil'>
  },
): Refresher {
  const { now, log, store, waitUntil } = platform
  const { timeout, replayWindow } = config.refresh
  const leaseTime = timeout + 5_000
  const flights = new LRUCache<string, Flight>({ max: 5_000, ttl: Math.max(replayWindow, leaseTime), perf: { now } })

  const keyOf = async (spending: string) => `successor:${await sealer.hash('refresh token', spending)}`

  /** Redeems the session's refresh token, or learns what came of somebody else's redemption of it. */
  async function successorOf(session: Session, spending: string): Promise<Successor> {
    const key = await keyOf(spending)
    const deadline = now() + leaseTime
    for (;;) {
      const known = await recall(key)
      if (known) return known
      const lease = await store.lease(key, leaseTime)
      if (lease) {
        try {
          // Between the look and the lease somebody may have finished.
          return (await recall(key)) ?? (await redeem(session, key))
        } finally {
          await lease.release()
        }
      }
      if (now() >= deadline) throw unavailable('timeout')
      await store.changed(key, deadline - now())
    }
  }

  async function recall(key: string): Promise<Successor | undefined> {
    const found = await store.get(key)
    if (found === undefined) return undefined
    if (found === deadMark) throw new CoatcheckError('session_expired', 'refresh_token_spent')
    if (found.startsWith(failedMark)) throw unavailable('refresh_backing_off')
    const holding = await sessions.unsealHolding(found)
    return holding && { holding, seal: found }
  }

  /** The one place where a refresh token is spent. Never bound to the browser's connection: the token is gone either way. */
  async function redeem(session: Session, key: string): Promise<Successor> {
    const { holding } = session
    const relyingParty = relyingParties.get(holding.provider)
    if (!relyingParty) throw new CoatcheckError('reauth_required', 'provider_unknown')
    const about = { provider: holding.provider, session: session.id }
    const startedAt = now()
    try {
      const tokens = await relyingParty.refresh(holding)
      if (sessions.isOver(session)) {
        // Signed out meanwhile: these tokens must not outlive the session.
        waitUntil(relyingParty.revoke(tokens).catch(() => {}))
        throw new CoatcheckError('session_expired', 'session_ended')
      }
      const renewed = await sessions.renew(session, tokens).catch((error) => {
        waitUntil(relyingParty.revoke(tokens).catch(() => {}))
        throw error
      })
      await store.set(key, renewed.seal, replayWindow)
      const { generation } = renewed.holding
      log({ event: 'refresh.completed', ...about, generation, milliseconds: now() - startedAt })
      return renewed
    } catch (error) {
      const told = error instanceof CoatcheckError ? error : unavailable('unexpected', error)
      const over = told.code === 'session_expired'
      log({ event: 'refresh.failed', ...about, reason: told.reason, sessionKept: !over })
      // Somebody else may have been faster with the same token: then what they got is the truth.
      const other = over ? await recall(key) : undefined
      if (other) return other
      await store.set(key, over ? deadMark : failedMark + told.reason, over ? deadFor : pauseAfterFailure)
      throw told
    }
  }

  /** Runs a refresh and leaves its outcome where the requests beside and after it look. */
  async function fly(session: Session, spending: string): Promise<Successor> {
    const flight: Flight = flights.get(spending) ?? { busyUntil: 0 }
    flight.busyUntil = now() + leaseTime
    flights.set(spending, flight)
    try {
      flight.successor = await successorOf(session, spending)
      return flight.successor
    } catch (error) {
      if (error instanceof CoatcheckError && error.code === 'session_expired') {
        if (!sessions.isOver(session)) log({ event: 'session.ended', session: session.id, reason: error.reason })
        const setCookie = sessions.end(session)
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

  async function renewNow(session: Session): Promise<void> {
    const spending = spendingOf(session)
    if (spending === undefined) throw new CoatcheckError('reauth_required', 'refresh_token_absent')
    sessions.adopt(session, await fly(session, spending))
  }

  async function freshen(session: Session): Promise<void> {
    const flight = catchUp(session)
    for (let round = 0; isExpired(session.holding.tokens, now()); round++) {
      if (round === longestCatchUp) throw unavailable('response_malformed')
      await renewNow(session)
    }
    const spending = spendingOf(session)
    if (!isStale(session.holding.tokens, now()) || spending === undefined) return
    // Still good: one refresh runs behind this request, and the next one finds its outcome.
    const busy = flight !== undefined && flight.busyUntil > now()
    if (!busy) waitUntil(fly(session, spending).catch(() => {}))
  }

  return {
    ensureFresh: (session) => (isStale(session.holding.tokens, now()) ? freshen(session) : undefined),

    async bringUpToDate(session) {
      for (let round = 0; round < longestCatchUp; round++) {
        const spending = spendingOf(session)
        if (spending === undefined) return
        const newer = flights.get(spending)?.successor ?? (await recall(await keyOf(spending)).catch(() => undefined))
        if (!newer) return
        sessions.adopt(session, newer)
      }
    },

    async renewRefused(session, refused) {
      catchUp(session)
      if (session.holding.tokens.accessToken === refused) await renewNow(session)
    },
  }
}

// The one place where refresh tokens are spent: whoever has the lease redeems, and leaves what came of it for all.
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { RenewedHolding, Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { unavailable } from './authorization-server-fetch.ts'
import type { Breakers } from './breaker.ts'
import { createOnce, type Held, lost } from './once.ts'
import { type RelyingParty, relyingPartyOf } from './relying-party.ts'
import { createSuccessors } from './successors.ts'
import { type AccessToken, type Api, inPlaceOf, type TokenSet } from './token-set.ts'

/** A token for one API, which is had with the session's refresh token too. */
export interface Wanted {
  readonly api: Api
  /** Whether it is there by now. */
  isThere(): Promise<boolean>
  /** Puts it where every instance finds it. Never rejects. */
  keep(token: AccessToken): Promise<void>
  /** Tells those who wait for it that the server gives none. */
  refuse(error: CoatcheckError): void
}

/** What a redemption is for. */
export interface Purpose {
  /** Whether it runs behind a request that does not wait, and whose answer does not bring what comes of it. */
  readonly unasked: boolean
  /** Whether an API refused the token that it replaces: that looks good still, and others do not expect that it was replaced. */
  readonly early?: boolean
  /** Instead of the session's own access token. */
  readonly wanted?: Wanted | undefined
}

/** What came of it: the session moved on, or (a token for an API, from a server that does not rotate) nothing changed. */
export type Outcome = RenewedHolding | 'unchanged'

export interface Redemption {
  /**
   * Redeems a refresh token, or learns what came of somebody else's redemption of it.
   * @param spending see `spendingOf`
   * @throws CoatcheckError `session_expired`, `authorization_server_unavailable`; for an API that the user may not have a
   * token for `forbidden` or `insufficient_scope`
   */
  successorOf(session: Session, spending: string, purpose: Purpose): Promise<Outcome>
  /** What came of it, if it is known anywhere. Never throws. */
  recall(session: Session, spending: string): Promise<RenewedHolding | undefined>
}

/**
 * What names one redemption: the refresh token, and the generation that spends it, because a server that does not rotate
 * gives the same token again. `undefined` when there is nothing to spend.
 */
export function spendingOf({ holding }: Session): string | undefined {
  const { refreshToken } = holding.tokens
  return refreshToken === undefined ? undefined : `${holding.generation} ${refreshToken}`
}

export interface RedemptionParts {
  sessions: Sessions
  relyingParties: ReadonlyMap<string, RelyingParty>
  breakers: Breakers
  platform: Pick<Platform, 'now' | 'log' | 'store' | 'waitUntil'>
}

/** One redemption, from the taking of the lease to its end. */
interface Turn extends Purpose {
  readonly session: Session
  readonly key: string
  readonly held: Held
}

export function createRedemption(
  { refresh: { timeout, replayWindow } }: Pick<Config, 'refresh'>,
  { sessions, relyingParties, breakers, platform }: RedemptionParts,
): Redemption {
  const { now, log, waitUntil } = platform
  const once = createOnce(timeout, platform)
  const successors = createSuccessors(replayWindow, { sessions, platform })

  /** Never bound to the browser's connection: the token is gone either way. */
  async function redeem(turn: Turn): Promise<Outcome | typeof lost> {
    const { session, key, wanted, held } = turn
    const { provider } = session.holding
    const relyingParty = relyingPartyOf(relyingParties, session.holding)
    if (!relyingParty) throw new CoatcheckError('reauth_required', 'issuer_unknown')
    const about = { provider, session: session.id }
    if (!(await held.check())) return lost
    const startedAt = now()
    try {
      // A server that fails over one API has not failed over sessions.
      const breaker = wanted ? `${provider} api` : provider
      const tokens = await breakers.run(breaker, () => relyingParty.refresh(session.holding, wanted?.api))
      const outcome = await settled(turn, tokens, relyingParty)
      const { generation } = outcome === 'unchanged' ? session.holding : outcome.holding
      log({ event: 'refresh.completed', ...about, generation, milliseconds: now() - startedAt })
      return outcome
    } catch (error) {
      const told = error instanceof CoatcheckError ? error : unavailable('unexpected', error)
      // Nothing was tried: others need not hear of it.
      if (told.reason === 'refresh_backing_off') throw told
      // The token was refused because somebody else has the lease by now, and is spending it: that decides.
      const isLost = told.reason === 'invalid_grant' && !(await held.check())
      const over = told.code === 'session_expired' && !isLost
      log({ event: 'refresh.failed', ...about, reason: told.reason, sessionKept: !over })
      if (isLost) return lost
      // Somebody else may have been faster with the same token: then what they got is the truth.
      const mayBeBeaten = over && told.reason !== 'session_ended'
      const other = mayBeBeaten ? await successors.recall(session, key) : undefined
      if (other) return other
      // What is refused for one API says nothing of the refresh token. Whoever cannot be told tries for themselves.
      const isOfApi = told.code === 'forbidden' || told.code === 'insufficient_scope'
      if (isOfApi) wanted?.refuse(told)
      else await successors.mark(key, over ? 'dead' : told.reason).catch(() => {})
      throw told
    }
  }

  /** Puts what was received where it belongs: the token for an API beside the session, everything else into it. */
  async function settled(turn: Turn, tokens: TokenSet, relyingParty: RelyingParty): Promise<Outcome> {
    const { wanted, session } = turn
    if (!wanted) {
      const next = turn.early ? inPlaceOf(session.holding.tokens, tokens, now()) : tokens
      return publish(turn, next, relyingParty)
    }
    const { refreshToken, idToken, refreshUntil, sessionUntil, ...token } = tokens
    // Before the successor: whoever finds that looks for this.
    await wanted.keep(token)
    const own = session.holding.tokens
    return refreshToken === own.refreshToken && sessionUntil === own.sessionUntil
      ? 'unchanged'
      : publish(turn, { ...own, refreshToken, idToken, refreshUntil, sessionUntil }, relyingParty)
  }

  /** Leaves new tokens where everybody finds them, unless the session ended in the meantime. */
  async function publish(turn: Turn, tokens: TokenSet, relyingParty: RelyingParty): Promise<RenewedHolding> {
    const { session, key, held } = turn
    // A browser may come with the tokens from before at any time, not only while they are replayed.
    const mayBeMissed = turn.unasked || turn.early === true || turn.wanted !== undefined
    const withdraw = () => waitUntil(relyingParty.revoke(tokens).catch(() => {}))
    const renewed = await sessions.renew(session, tokens).catch((error) => {
      withdraw()
      throw error
    })
    try {
      await sessions.save(session, renewed, mayBeMissed)
      const other = await successors.enter(session, key, renewed)
      if (other) return other
      // First told, then asked: either this sees the end of the session, or who ended it saw these tokens.
      if (!(await sessions.isOverAnywhere(session))) return renewed
    } catch (error) {
      if (!(error instanceof CoatcheckError) || error.code !== 'store_unavailable') throw error
      // The old token is spent, so these must not be lost: this instance goes on with them, others are told when it can.
      // Until then the lease is kept, or the next of them would spend the old token again.
      const later = successors.enterLater(session, key, renewed, mayBeMissed).then(async (isOver) => {
        if (!isOver) return
        withdraw()
        await sessions.end(session)
      })
      held.until(later)
      return renewed
    }
    withdraw()
    throw new CoatcheckError('session_expired', 'session_ended')
  }

  return {
    async successorOf(session, spending, purpose) {
      const key = await successors.keyOf(session, spending)
      return once<Outcome>({
        key,
        find: async () =>
          (await successors.recall(session, key)) ?? ((await purpose.wanted?.isThere()) ? 'unchanged' : undefined),
        work: (held) => redeem({ ...purpose, session, key, held }),
      })
    },

    recall: (session, spending) =>
      successors
        .keyOf(session, spending)
        .then((key) => successors.recall(session, key))
        .catch(() => undefined),
  }
}

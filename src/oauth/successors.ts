// What came of the redemption of a refresh token, where every instance finds it.
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { Reason } from '../reasons.ts'
import { keyedHash } from '../session/seal.ts'
import type { RenewedHolding, Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { unavailable } from './authorization-server-fetch.ts'

export interface Successors {
  /** Where the outcome of a redemption is: with its session, under a hash that only who has the refresh token can make. */
  keyOf(session: Session, spending: string): Promise<string>
  /**
   * The outcome under a key, or what the store has of the session itself: that may have been renewed longer ago than
   * any outcome is remembered.
   * @throws CoatcheckError `session_expired` when the token is dead, `authorization_server_unavailable` when the last
   * try failed a moment ago
   */
  recall(session: Session, key: string): Promise<RenewedHolding | undefined>
  /**
   * Writes a successor down. Whoever lost the lease on the way does not overwrite what came of it elsewhere: that is
   * returned instead.
   */
  enter(session: Session, key: string, renewed: RenewedHolding): Promise<RenewedHolding | undefined>
  /**
   * Goes on trying to write it down while the store is away, as long as anybody could ask. Resolves with whether the session
   * turned out to be over by then. Never rejects.
   */
  enterLater(session: Session, key: string, renewed: RenewedHolding, unasked: boolean): Promise<boolean>
  /** Says that the token has no successor: never, or not at the moment. */
  mark(key: string, why: 'dead' | Reason): Promise<void>
}

/** Marks in the place of a successor. `failed` is followed by the reason. */
const deadMark = 'dead'
const failedMark = 'failed '
/** How long a refresh token that was refused is not tried again. Milliseconds. */
const deadFor = 30_000
/** Pause after a refresh that failed for a passing reason, before this token is tried again. Milliseconds. */
const pauseAfterFailure = 1_000
/** Those who wait while a token is redeemed need its successor for this long at least. Milliseconds. */
const shortestWindow = 1_000

export function createSuccessors(
  window: number,
  { sessions, platform: { now, store } }: { sessions: Sessions; platform: Pick<Platform, 'now' | 'store'> },
): Successors {
  const replayWindow = Math.max(window, shortestWindow)

  async function found(session: Session, key: string): Promise<RenewedHolding | undefined> {
    const text = await store.get(key)
    if (text === undefined) return undefined
    if (text === deadMark) throw new CoatcheckError('session_expired', 'refresh_token_spent')
    if (text.startsWith(failedMark)) throw unavailable('refresh_backing_off')
    const holding = await sessions.unsealHolding(session, text)
    return holding && { holding, seal: text }
  }

  async function newer(session: Session): Promise<RenewedHolding | undefined> {
    const latest = await sessions.latest(session)
    return latest && latest.holding.generation > session.holding.generation ? latest : undefined
  }

  async function tellAgain(session: Session, key: string, renewed: RenewedHolding, unasked: boolean): Promise<void> {
    // It may have been written before the store went away, and others may have gone on from it.
    const latest = await sessions.latest(session)
    const isWritten = latest !== undefined && latest.holding.generation >= renewed.holding.generation
    if (!isWritten) await sessions.save(session, renewed, unasked)
    await store.add(key, renewed.seal, replayWindow)
  }

  return {
    keyOf: async ({ family }, spending) => `${family}/next-${await keyedHash(spending, 'next')}`,

    recall: async (session, key) => (await found(session, key)) ?? (await newer(session)),

    async enter(session, key, { seal }) {
      if (await store.add(key, seal, replayWindow)) return undefined
      const other = await found(session, key).catch((error) => {
        if (error instanceof CoatcheckError && error.code === 'store_unavailable') throw error
        return undefined
      })
      // A mark is no outcome, and these tokens are one.
      if (!other) await store.set(key, seal, replayWindow)
      return other
    },

    async enterLater(session, key, renewed, unasked) {
      const deadline = now() + replayWindow
      for (let pause = 250; now() < deadline; pause = Math.min(pause * 2, 5_000)) {
        await new Promise((resolve) => setTimeout(resolve, pause))
        try {
          await tellAgain(session, key, renewed, unasked)
          // First told, then asked: either this sees the end of the session, or who ended it saw these tokens.
          return await sessions.isOverAnywhere(session)
        } catch {
          // The store is away still, or again.
        }
      }
      return sessions.isOver(session)
    },

    mark: (key, why) =>
      why === 'dead' ? store.set(key, deadMark, deadFor) : store.set(key, failedMark + why, pauseAfterFailure),
  }
}

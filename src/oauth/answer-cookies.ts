// The cookies of an answer that took long: what they say must still be the newest when the answer begins.
import type { Platform } from '../platform.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Refresher } from './refresh.ts'
import { isStale } from './token-set.ts'

export interface AnswerCookies {
  /**
   * Keeps what a session is about to set up to date while its answer is waited for. `take()` ends that, and gives the
   * `Set-Cookie`s that go with an answer that begins now; it must be called whatever became of the call.
   */
  follow(session: Session): { take(): readonly string[] }
}

/** How often a call that waits, and has cookies to set, asks what became of its session elsewhere. Milliseconds. */
const lookEvery = 500
/** An answer that takes longer may be overtaken by those of other requests. Milliseconds. */
const long = 1_000

const nothing = { take: () => [] }

export function createAnswerCookies(
  sessions: Sessions,
  refresher: Refresher,
  { now, waitUntil }: Pick<Platform, 'now' | 'waitUntil'>,
): AnswerCookies {
  return {
    follow(session) {
      if (session.newTicket === undefined && session.newHolding === undefined) return nothing
      const since = now()
      const timer = setInterval(() => {
        sessions.learn()
        if (session.newHolding) void refresher.bringUpToDate(session)
      }, lookEvery)
      return {
        take() {
          clearInterval(timer)
          refresher.adoptNewest(session)
          if (session.newHolding && now() - since >= long && isStale(session.holding.tokens, now())) {
            // By now somebody else may have renewed these, and the browser may have what came of it: that must not be
            // overwritten. Whoever comes with the cookie from before finds them in the store.
            delete session.newHolding
            waitUntil(sessions.leave(session).catch(() => {}))
          }
          return sessions.cookiesFor(session)
        },
      }
    },
  }
}

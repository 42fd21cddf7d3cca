// The end of a session that is at hand: here first, then the newest tokens that are known of it are revoked.
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { Reason } from '../reasons.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Refresher } from './refresh.ts'
import { type RelyingParty, relyingPartyOf } from './relying-party.ts'

export interface SignedOut {
  /** The `Set-Cookie`s that delete the session. */
  readonly setCookie: readonly string[]
  /** Resolves when the tokens were revoked, or could not be. Goes on whether somebody waits for it or not. */
  readonly revoked: Promise<void>
}

/** Ends a session for good, for a reason that is logged. Never rejects. */
export type SignOut = (session: Session, reason: Reason) => Promise<SignedOut>

export function createSignOut({
  sessions,
  refresher,
  relyingParties,
  platform: { log, waitUntil },
}: {
  sessions: Sessions
  refresher: Refresher
  relyingParties: ReadonlyMap<string, RelyingParty>
  platform: Pick<Platform, 'log' | 'waitUntil'>
}): SignOut {
  async function revoke({ holding }: Session): Promise<void> {
    const { provider, tokens } = holding
    await relyingPartyOf(relyingParties, holding)
      ?.revoke(tokens)
      .catch((error: unknown) => {
        const reason = error instanceof CoatcheckError ? error.reason : 'unexpected'
        log({ event: 'revocation.failed', provider, reason })
      })
  }

  return async (session, reason) => {
    // The cookie may be from before a refresh; what must be revoked is what came after it.
    const setCookie = await sessions.end(session, () => refresher.bringUpToDate(session))
    log({ event: 'session.ended', session: session.id, reason })
    const revoked = revoke(session)
    waitUntil(revoked)
    return { setCookie, revoked }
  }
}

// What the page may know of its session: who, and for how long.
import type { Context } from 'hono'
import { jsonResponse } from '../answers.ts'
import type { Config } from '../config.ts'
import type { Refresher } from '../oauth/refresh.ts'
import { usableUntil } from '../oauth/token-set.ts'
import { headerText, type Platform } from '../platform.ts'
import { refuseElsewhere, requireSameOrigin } from '../security.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { SessionInfo } from '../wire.ts'

export interface SessionParts {
  config: Pick<Config, 'publicUrl' | 'session' | 'providers'>
  platform: Pick<Platform, 'now' | 'exchange' | 'log'>
  sessions: Sessions
  refresher: Pick<Refresher, 'bringUpToDate'>
}

export interface SessionEndpoints {
  /** `GET /auth/session`: tells, and changes nothing. */
  show(c: Context): Promise<Response>
  /** `POST /auth/session`: tells, and counts as activity. */
  extend(c: Context): Promise<Response>
}

export function createSessionEndpoints({ config, platform, sessions, refresher }: SessionParts): SessionEndpoints {
  /** Whether no API can be called any more, as far as is known. */
  function isLost({ holding }: Session): boolean {
    const { provider, issuer, tokens } = holding
    const hasServer = config.providers.some((one) => one.id === provider && one.issuer === issuer)
    return platform.now() >= (hasServer ? usableUntil(tokens) : tokens.expiresAt)
  }

  function info(session: Session): SessionInfo {
    const { holding, id } = session
    const { idle, absolute } = sessions.remaining(session)
    const shown = config.session.claims.filter((name) => holding.claims[name] !== undefined)
    return {
      authenticated: true,
      user: Object.fromEntries(shown.map((name) => [name, holding.claims[name]])),
      provider: holding.provider,
      session: {
        id,
        expiresIn: idle,
        absoluteExpiresIn: absolute,
        state: isLost(session) ? 'reauth_required' : 'active',
        ...(holding.replacedUser && { replacedUser: true }),
      },
    }
  }

  async function tell(c: Context, extend: boolean): Promise<Response> {
    const { session, refusal } = await sessions.open(headerText(platform.exchange(c).headers, 'cookie'))
    if (!session) {
      if (refusal.reason !== 'session_absent') platform.log({ event: 'session.rejected', reason: refusal.reason })
      return jsonResponse({ authenticated: false } satisfies SessionInfo, refusal.setCookie)
    }
    if (extend) await sessions.touch(session, true)
    const setCookie = sessions.cookiesFor(session)
    // The browser may not have what a refresh brought that ran behind another request. It gets that with its next call, in
    // an answer that knows what came after it.
    if (isLost(session)) await refresher.bringUpToDate(session)
    return jsonResponse(info(session), setCookie)
  }

  return {
    async show(c) {
      refuseElsewhere(platform.exchange(c).headers, config.publicUrl)
      return tell(c, false)
    },
    async extend(c) {
      requireSameOrigin(platform.exchange(c).headers, config.publicUrl, 'fetch-metadata')
      return tell(c, true)
    },
  }
}

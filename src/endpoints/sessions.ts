// A user's own sessions, to look at and to end (ASVS 7.5.2).
import type { Context } from 'hono'
import { jsonResponse } from '../answers.ts'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { LoginUrl } from '../login-url.ts'
import type { SignOut } from '../oauth/sign-out.ts'
import { headerText, type Platform } from '../platform.ts'
import { requireSameOrigin } from '../security.ts'
import type { Directory } from '../session/directory.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { SessionsInfo } from '../wire.ts'

export interface SessionsEndpointsParts {
  config: Pick<Config, 'publicUrl'>
  platform: Pick<Platform, 'exchange' | 'log'>
  sessions: Sessions
  signOut: SignOut
  directory: Directory
  loginUrl: LoginUrl
}

export interface SessionsEndpoints {
  /** `GET /auth/sessions` */
  list(c: Context): Promise<Response>
  /** `DELETE /auth/sessions/{id}` */
  end(c: Context): Promise<Response>
  /** `DELETE /auth/sessions`: all of them, this one too. */
  endAll(c: Context): Promise<Response>
}

export function createSessionsEndpoints(parts: SessionsEndpointsParts): SessionsEndpoints {
  const { config, platform, sessions, signOut, directory, loginUrl } = parts
  const { log } = platform

  async function required(c: Context): Promise<Session> {
    const { headers } = platform.exchange(c)
    requireSameOrigin(headers, config.publicUrl, 'fetch-metadata')
    const { session, refusal } = await sessions.open(headerText(headers, 'cookie'))
    if (session) return session
    const { code, reason, setCookie, provider } = refusal
    throw new CoatcheckError(code, reason, { setCookie, loginUrl: loginUrl(provider) })
  }

  return {
    async list(c) {
      const session = await required(c)
      return jsonResponse({ sessions: await directory.list(session) } satisfies SessionsInfo)
    },

    async end(c) {
      const session = await required(c)
      const id = c.req.param('id') ?? ''
      if (id === session.id) {
        const { setCookie } = await signOut(session, 'ended_by_user')
        return jsonResponse({}, setCookie)
      }
      // A session of somebody else is none at all.
      if (!(await directory.find(session, id))) throw new CoatcheckError('not_found', 'session_unknown')
      await sessions.endById(id)
      log({ event: 'session.ended', session: id, reason: 'ended_by_user' })
      return jsonResponse({})
    },

    async endAll(c) {
      const session = await required(c)
      await sessions.endUser(session)
      const { setCookie } = await signOut(session, 'ended_everywhere')
      return jsonResponse({}, setCookie)
    },
  }
}

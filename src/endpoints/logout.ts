// The end of a session: here first, then the tokens, then at the authorization server.
import type { Context } from 'hono'
import { jsonResponse, seeOther } from '../answers.ts'
import type { Config } from '../config.ts'
import { type RelyingParty, relyingPartyOf } from '../oauth/relying-party.ts'
import type { SignOut } from '../oauth/sign-out.ts'
import { headerText, type Platform } from '../platform.ts'
import { requireSameOrigin } from '../security.ts'
import type { Cookies } from '../session/cookies.ts'
import { keyedHash, randomText } from '../session/seal.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { LogoutInfo } from '../wire.ts'

/** How long a logout waits for revocation and for metadata; they go on behind it. Milliseconds. */
const patience = 2_000
/** How long the browser may take to come back from the authorization server. Milliseconds. */
const returnTime = 600_000

export interface LogoutParts {
  config: Pick<Config, 'publicUrl' | 'logout'>
  platform: Pick<Platform, 'exchange' | 'log' | 'store' | 'waitUntil'>
  relyingParties: ReadonlyMap<string, RelyingParty>
  cookies: Cookies
  sessions: Sessions
  signOut: SignOut
}

export interface LogoutEndpoints {
  /** `POST /auth/logout` */
  start(c: Context): Promise<Response>
  /** `GET /auth/logout/callback` */
  finish(c: Context): Promise<Response>
}

export function createLogout(parts: LogoutParts): LogoutEndpoints {
  const { config, platform, relyingParties, cookies, sessions, signOut } = parts
  const { log, store, waitUntil } = platform

  /** `fallback` when `work` takes longer than our patience or fails; `work` goes on. */
  async function bounded<T>(work: Promise<T>, fallback: T): Promise<T> {
    waitUntil(work.catch(() => {}))
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<T>((resolve) => {
      timer = setTimeout(() => resolve(fallback), patience)
    })
    return Promise.race([work.catch(() => fallback), late]).finally(() => clearTimeout(timer))
  }

  async function endSessionUrl(relyingParty: RelyingParty, session: Session): Promise<string> {
    const state = randomText(32)
    const url = await relyingParty.endSessionUrl(session.holding.tokens, state)
    if (url === undefined) return config.logout.returnTo
    await store.set(`logout-${await keyedHash(state, 'logout')}`, 'begun', returnTime)
    return url.href
  }

  return {
    async start(c) {
      const { headers } = platform.exchange(c)
      requireSameOrigin(headers, config.publicUrl, 'fetch-metadata')
      // Signing out works while the store is away, as far as it can.
      const { session, refusal } = await sessions.open(headerText(headers, 'cookie'), 'unsure')
      if (refusal?.id !== undefined) await sessions.endById(refusal.id).catch(() => {})
      const ended = session ? await signOut(session, 'logged_out') : { setCookie: refusal.setCookie }
      const setCookie = [...ended.setCookie, cookies.clearLogin()]
      let logoutUrl = config.logout.returnTo
      const relyingParty = session && relyingPartyOf(relyingParties, session.holding)
      if (relyingParty && 'revoked' in ended) {
        const [url] = await Promise.all([
          bounded(endSessionUrl(relyingParty, session), logoutUrl),
          bounded(ended.revoked, undefined),
        ])
        logoutUrl = url
      }
      const wantsJson = /\bapplication\/json\b/i.test(headerText(headers, 'accept') ?? '')
      if (!wantsJson) return seeOther(logoutUrl, setCookie)
      return jsonResponse({ logoutUrl } satisfies LogoutInfo, setCookie)
    },

    async finish(c) {
      const state = c.req.query('state')
      const key = state === undefined ? undefined : `logout-${await keyedHash(state, 'logout')}`
      const confirmed = key !== undefined && (await store.get(key).catch(() => undefined)) !== undefined
      if (key !== undefined && confirmed) await store.delete(key).catch(() => {})
      // The session ended before the browser left; whatever comes back changes nothing, and looks the same.
      log({ event: 'logout.returned', confirmed })
      return seeOther(config.logout.returnTo)
    },
  }
}

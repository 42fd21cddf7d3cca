// How a sign-in ends that signs nobody in: it failed, went round in circles, or its callback is stale.
import type { Context } from 'hono'
import { seeOther } from '../answers.ts'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import { continuePath, type LoginUrl } from '../login-url.ts'
import { loginLoopPage, staleLoginPage } from '../pages.ts'
import { type HeaderRecord, headerText, type Platform } from '../platform.ts'
import type { Reason } from '../reasons.ts'
import { isTopLevel, mayShowSession, safeReturnTo } from '../security.ts'
import type { Cookies } from '../session/cookies.ts'
import type { Sessions } from '../session/sessions.ts'
import type { ScopeProof } from '../upstream/stronger-sign-in.ts'
import type { LoginCookie, Logins, Loop, PendingLogin } from './login-cookie.ts'

export interface LoginEndings {
  /** A callback that must not sign anybody in: whoever is signed in goes on, anybody else may start again. */
  stale(headers: HeaderRecord, reason: Reason, login?: PendingLogin): Promise<Response>
  /**
   * `GET /auth/continue`: where the page of a stale callback looks whether somebody is signed in. The callback itself cannot
   * tell: it comes from another site, and a cookie with SameSite=Strict does not come with it.
   */
  goOn(c: Context): Promise<Response>
  /** The error a sign-in ended with, for whoever began it: with a way to ask for the same again, and back to where they were. */
  failed(login: PendingLogin, error: CoatcheckError, setCookie: readonly string[]): Promise<CoatcheckError>
  /** Stops what goes round in circles, and says why. */
  stopped(loop: Loop, logins: Logins, again: string): Promise<Response>
}

export function createLoginEndings(parts: {
  config: Pick<Config, 'publicUrl'>
  platform: Pick<Platform, 'log' | 'exchange'>
  loginCookie: LoginCookie
  cookies: Cookies
  sessions: Sessions
  proveScope: ScopeProof
  loginUrl: LoginUrl
}): LoginEndings {
  const { config, platform, loginCookie, cookies, sessions, proveScope, loginUrl } = parts
  const { log } = platform

  /** All that a sign-in asked for, but for what it may do without asking the user. */
  async function sameAgain(login: PendingLogin): Promise<Record<string, string>> {
    const { returnTo, acrValues, maxAge, moreScope, replaces } = login
    const scope = moreScope.join(' ')
    const isProven = scope !== '' && replaces !== undefined
    return {
      returnTo,
      ...(acrValues !== undefined && { acr_values: acrValues }),
      ...(maxAge !== undefined && { max_age: String(maxAge) }),
      ...(scope !== '' && { scope }),
      ...(isProven && { scope_proof: await proveScope(scope, { id: replaces }) }),
    }
  }

  return {
    async stale(headers, reason, login) {
      const returnTo = login?.returnTo ?? '/'
      const cookie = headerText(headers, 'cookie')
      // Every return from an authorization server comes from another site; the state shows that it is this browser's own.
      const { session } = login || mayShowSession(headers) ? await sessions.open(cookie) : {}
      log({ event: 'login.stale', reason, signedIn: session !== undefined })
      // Whoever asked silently wants to know who is signed in, and finds out there.
      if (session || login?.silent) return seeOther(returnTo)
      const mayLook = isTopLevel(headers) && !(mayShowSession(headers) && headers['sec-fetch-site'] !== undefined)
      const look = `${continuePath}?${new URLSearchParams({ returnTo, ...(login && { provider: login.provider }) })}`
      return staleLoginPage(returnTo, loginUrl(login?.provider, login ? await sameAgain(login) : { returnTo }), {
        look: mayLook ? look : undefined,
        isWithoutCookies: isTopLevel(headers) && cookies.readLogin(cookie) === undefined,
      })
    },

    async goOn(c) {
      const { headers } = platform.exchange(c)
      const returnTo = safeReturnTo(c.req.query('returnTo'), config.publicUrl)
      const mayShow = mayShowSession(headers)
      const { session } = mayShow ? await sessions.open(headerText(headers, 'cookie')) : {}
      if (session) return seeOther(returnTo)
      const isWithoutCookies = isTopLevel(headers) && cookies.readLogin(headerText(headers, 'cookie')) === undefined
      return staleLoginPage(returnTo, loginUrl(c.req.query('provider'), { returnTo }), {
        isSignedOut: mayShow,
        isWithoutCookies,
      })
    },

    async failed(login, error, setCookie) {
      const { code, reason, details } = error
      const isStranger = reason === 'user_mismatch'
      // Who is signed in there as somebody else must be able to say so.
      const asked = { ...(await sameAgain(login)), ...(isStranger && { prompt: 'login' }) }
      const wasSignedIn = isStranger || login.replaces !== undefined
      const detail = wasSignedIn
        ? [details.detail, 'Nothing was changed. You can go on where you were.'].join(' ').trim()
        : details.detail
      return new CoatcheckError(
        code,
        reason,
        {
          ...details,
          ...(detail !== undefined && { detail }),
          ...(wasSignedIn && { continueUrl: login.returnTo }),
          loginUrl: loginUrl(login.provider, asked),
          setCookie,
        },
        error,
      )
    },

    async stopped(loop, { pending }, again) {
      log({ event: 'request.refused', code: 'login_failed', reason: 'login_loop' })
      // Whoever tries again after reading this begins anew.
      const setCookie = await loginCookie.write({ pending: pending.filter(({ used }) => !used), finished: [] })
      return loginLoopPage(loop, again, [setCookie])
    },
  }
}

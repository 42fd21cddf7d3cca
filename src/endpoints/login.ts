// A login from its start to its end: to the authorization server, and back with a code.
import type { Context } from 'hono'
import { seeOther } from '../answers.ts'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import { type LoginUrl, longestHint } from '../login-url.ts'
import type { LoginHints } from '../oauth/authorization-request.ts'
import { type AuthorizationResponse, claimedState } from '../oauth/authorization-response.ts'
import { type RelyingParty, relyingPartyOf } from '../oauth/relying-party.ts'
import type { SignOut } from '../oauth/sign-out.ts'
import { chooseProviderPage, confirmLoginPage } from '../pages.ts'
import { type HeaderRecord, headerText, type Platform } from '../platform.ts'
import type { Reason } from '../reasons.ts'
import { requireNavigation, safeReturnTo, wasSentByPage } from '../security.ts'
import type { Cookies } from '../session/cookies.ts'
import type { Directory } from '../session/directory.ts'
import { keyedHash, randomText, type Sealer } from '../session/seal.ts'
import type { Session, SignIn } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { inTime } from '../stores/patience.ts'
import type { ScopeProof } from '../upstream/stronger-sign-in.ts'
import { carriedOver, createLoginCookie, loginTime, loopOf, type PendingLogin } from './login-cookie.ts'
import { createLoginEndings } from './login-endings.ts'

export interface LoginParts {
  config: Pick<Config, 'publicUrl' | 'providers' | 'login'>
  platform: Pick<Platform, 'now' | 'log' | 'store' | 'exchange' | 'waitUntil'>
  relyingParties: ReadonlyMap<string, RelyingParty>
  sealer: Sealer
  cookies: Cookies
  sessions: Sessions
  signOut: SignOut
  directory: Directory
  /** Scopes that a page may ask for besides the usual ones. */
  scopes: ReadonlySet<string>
  proveScope: ScopeProof
  loginUrl: LoginUrl
  /** Told of each session that begins. */
  begun(session: Session): Promise<void>
}

export interface LoginEndpoints {
  /** `GET /auth/login` */
  start(c: Context): Promise<Response>
  /** `GET /auth/callback` */
  finish(c: Context): Promise<Response>
  /** `GET /auth/continue` */
  goOn(c: Context): Promise<Response>
}

export function createLogin(parts: LoginParts): LoginEndpoints {
  const { config, platform, relyingParties, sessions, signOut, directory, scopes, proveScope, loginUrl, begun } = parts
  const { now, log, store } = platform
  const loginCookie = createLoginCookie(parts.sealer, parts.cookies, now)
  const { stale, goOn, failed, stopped } = createLoginEndings({ ...parts, loginCookie })

  function relyingPartyFor(id: string | undefined): RelyingParty {
    const chosen = relyingParties.get(id ?? config.providers[0]?.id ?? '')
    if (!chosen) throw new CoatcheckError('bad_request', 'provider_unknown')
    return chosen
  }

  return {
    async start(c) {
      const { headers } = platform.exchange(c)
      const query = single(c, [
        'returnTo',
        'provider',
        'prompt',
        'max_age',
        'acr_values',
        'login_hint',
        'ui_locales',
        'scope',
        'scope_proof',
      ])
      if (requireNavigation(headers) === 'foreign') {
        // The next navigation starts on our own page, and so is nobody else's (FAPI 2.0, section 5.3.3.1).
        log({ event: 'login.asked', reason: 'cross_site_login' })
        return confirmLoginPage(loginUrl() + new URL(c.req.url).search)
      }
      const { returnTo, provider, scope = '', scope_proof: proof, ...given } = query
      // None is asked for, so any will do (RFC 6749, section 3.1).
      const hints = { ...given, acr_values: given.acr_values || undefined }
      const isTooLong = Object.values(given).some((value) => value.length > longestHint)
      if (isTooLong || !/^\d{1,9}$/.test(hints.max_age ?? '0')) {
        throw new CoatcheckError('bad_request', 'parameter_malformed')
      }
      const cookie = headerText(headers, 'cookie')
      const { session } = await sessions.open(cookie)
      // What the configuration does not name is not passed on, like any other parameter.
      const isOurs = session !== undefined && proof !== undefined && proof === (await proveScope(scope, session))
      const asksFor = scope.split(' ').filter((name) => name !== '' && (isOurs || scopes.has(name)))
      const isStronger = hints.acr_values !== undefined || hints.max_age !== undefined
      const keepsUser = hints.prompt === 'none' || isStronger || asksFor.length > 0
      // Who is to stay who they are is sent to where they came from.
      const home = session && relyingPartyOf(relyingParties, session.holding)
      const chosen = provider ?? (keepsUser ? home?.provider.id : undefined)
      if (chosen === undefined && config.login.chooser && config.providers.length > 1) {
        return chooseProviderPage(loginUrl(), new URL(c.req.url).search, config.providers)
      }
      const relyingParty = relyingPartyFor(chosen)
      const logins = await loginCookie.read(cookie)
      const mayLoop = session === undefined || wasSentByPage(headers)
      const loop = mayLoop ? await loopOf(logins, now(), session !== undefined, sessions.isOverById) : undefined
      if (loop) return stopped(loop, logins, loginUrl(chosen, { returnTo: safeReturnTo(returnTo, config.publicUrl) }))
      // What the operator asks of every sign-in cannot be talked down by whoever opens this address.
      const asked: LoginHints = { ...hints, ...relyingParty.provider.authorizationParams }
      const login: PendingLogin = {
        state: randomText(32),
        nonce: randomText(32),
        codeVerifier: randomText(32),
        key: await relyingParty.bindingKey(),
        provider: relyingParty.provider.id,
        issuer: relyingParty.provider.issuer,
        returnTo: safeReturnTo(returnTo, config.publicUrl),
        startedAt: now(),
        maxAge: asked.max_age === undefined ? undefined : Number(asked.max_age),
        acrValues: asked.acr_values,
        moreScope: asksFor.length > 0 ? withGranted(asksFor, home === relyingParty ? session : undefined) : [],
        replaces: session?.id,
        keepsUser,
        silent: asked.prompt === 'none',
        used: false,
      }
      const user = home && session && (await userOf(session.holding))
      const url = await relyingParty.authorizationUrl(login, asked).catch(async (error) => {
        if (!login.silent) throw await failed(login, asTold(error), [])
        logFailure(login, error)
      })
      if (!url) {
        const finished = [...logins.finished, { at: now() }]
        return seeOther(login.returnTo, [await loginCookie.write({ ...logins, finished })])
      }
      log({ event: 'login.started', provider: login.provider })
      const pending = [...logins.pending, { ...login, user }]
      return seeOther(url.href, [await loginCookie.write({ ...logins, pending })])
    },

    async finish(c) {
      const { headers } = platform.exchange(c)
      const cookie = headerText(headers, 'cookie')
      const sent = single(c, ['state', 'code', 'iss', 'error', 'error_description', 'response'])
      const logins = await loginCookie.read(cookie)
      const login = logins.pending.find(({ state }) => state === claimedState(sent))
      // An answer at another provider's address is nobody's answer (RFC 9700, section 4.4).
      const isExpected = login && relyingParties.get(login.provider)?.callbackPath === c.req.path
      if (!login || !isExpected) return stale(headers, 'login_unknown')
      if (login.used) return stale(headers, 'login_repeated', login)
      // Of callbacks that arrive together one goes on (RFC 9700, section 4.2.4).
      const first = await store.add(`login-${await keyedHash(login.state, 'login')}`, 'used', loginTime)
      if (!first) return stale(headers, 'login_repeated', login)

      const finished = async (session?: Session) => {
        const spent = { codeVerifier: '', nonce: '', key: undefined, user: undefined, used: true }
        // The others find this session, which their answers need not bring: its cookie may be SameSite=Strict.
        const found = session && { replaces: session.id, user: await userOf(session.holding) }
        const change = (one: PendingLogin) => (one === login ? spent : one.used ? undefined : found)
        const pending = logins.pending.map((one) => ({ ...one, ...change(one) }))
        const leavesNothing = session === undefined && !login.silent
        const ended = leavesNothing ? [] : [{ at: now(), session: session?.id }]
        const before = carriedOver(logins.finished, login.replaces, session?.id)
        return loginCookie.write({ pending, finished: [...before, ...ended] })
      }
      let answer: AuthorizationResponse = {}
      try {
        const relyingParty = relyingPartyOf(relyingParties, login)
        // By now its id is that of another server, which must not see the code.
        if (!relyingParty) throw new CoatcheckError('login_failed', 'issuer_unknown')
        answer = await relyingParty.open(sent)
        const session = await signIn(login, relyingParty, answer, headers)
        return seeOther(login.returnTo, [await finished(session), ...sessions.cookiesFor(session)])
      } catch (error) {
        // Silently, whatever comes of it is an answer: who is signed in is seen at returnTo. An error is nobody's business there.
        const isAnswer = login.silent && silentAnswers.has(answer.error ?? '') && isRefusal(error)
        const told = isAnswer ? undefined : logFailure(login, error)
        if (!told || login.silent) return seeOther(login.returnTo, [await finished()])
        throw await failed(login, told, [await finished()])
      }
    },

    goOn,
  }

  function logFailure({ provider }: PendingLogin, error: unknown): CoatcheckError {
    const told = asTold(error)
    const { detail, answered: oauthError, claim } = told.details
    log({ event: 'login.failed', provider, reason: told.reason, detail, oauthError, claim })
    return told
  }

  /** More scopes are asked for on top of those that were asked for before (incremental consent). */
  function withGranted(more: readonly string[], session: Session | undefined): readonly string[] {
    const granted = session?.holding.tokens.scope.split(' ') ?? []
    return [...new Set([...granted.filter((name) => scopes.has(name)), ...more])]
  }

  /** Turns the answer of the authorization server into a session. */
  async function signIn(
    login: PendingLogin,
    relyingParty: RelyingParty,
    answer: AuthorizationResponse,
    headers: HeaderRecord,
  ): Promise<Session> {
    if (answer.code === undefined && answer.error === undefined) {
      throw new CoatcheckError('login_failed', 'authorization_response_malformed')
    }
    const signedIn = await relyingParty.finish(answer, login)
    try {
      return await begin(login, signedIn, headers)
    } catch (error) {
      // Nobody will ever use these tokens.
      platform.waitUntil(relyingParty.revoke(signedIn.tokens).catch(() => {}))
      throw error
    }
  }

  /** Begins the session and ends the one before it. */
  async function begin(login: PendingLogin, signedIn: SignIn, headers: HeaderRecord): Promise<Session> {
    const before = await sessions.open(headerText(headers, 'cookie'))
    const isStranger = await isAnotherUser(login, signedIn, before.session)
    const { session, cookieBytes } = await sessions.create({ ...signedIn, replacedUser: isStranger || undefined })
    try {
      // A logout may have come while the authorization server was answering; whoever was told may be another instance.
      if (await sessions.isOverAnywhere(session)) throw new CoatcheckError('login_failed', 'session_ended')
      await replaceSession(login, before.session, isStranger ? 'user_replaced' : 'session_replaced')
    } catch (error) {
      await sessions.end(session)
      throw error
    }
    const entered = [directory.enter(session, headerText(headers, 'user-agent')), begun(session)]
    await inTime(Promise.allSettled(entered)).catch(() => {})
    log({ event: 'login.completed', provider: login.provider, session: session.id, cookieBytes })
    return session
  }

  /** The session from before the login is over, wherever its cookie was copied to (ASVS 7.2.4). */
  async function replaceSession(login: PendingLogin, session: Session | undefined, reason: Reason): Promise<void> {
    if (session) await signOut(session, reason)
    if (login.replaces === undefined || login.replaces === session?.id) return
    await sessions.endById(login.replaces)
    log({ event: 'session.ended', session: login.replaces, reason })
  }

  /**
   * Whether it is somebody else who signed in than who was signed in here when it began, or is now.
   * @throws CoatcheckError `login_failed` where the user was to stay the same
   */
  async function isAnotherUser(login: PendingLogin, signedIn: SignIn, session: Session | undefined): Promise<boolean> {
    const { issuer, subject } = signedIn
    const { holding } = session ?? {}
    const wasAnother = login.user !== undefined && login.user !== (await userOf(signedIn))
    const isAnother = holding !== undefined && (holding.issuer !== issuer || holding.subject !== subject)
    // A user of a server that is configured no more cannot be kept.
    const canStay = holding !== undefined && relyingPartyOf(relyingParties, holding) !== undefined
    if (login.keepsUser && (wasAnother || (isAnother && canStay))) {
      const detail = 'This sign-in ended as somebody else than it was meant for.'
      throw new CoatcheckError('login_failed', 'user_mismatch', { detail })
    }
    return wasAnother || isAnother
  }
}

/** The user, as far as a login has to know: a short text that only tells equals from others. It is kept sealed. */
async function userOf({ issuer, subject }: Pick<SignIn, 'issuer' | 'subject'>): Promise<string> {
  return (await keyedHash('user of a login', JSON.stringify([issuer, subject]))).slice(0, 22)
}

const asTold = (error: unknown) =>
  error instanceof CoatcheckError ? error : new CoatcheckError('login_failed', 'unexpected', {}, error)

const isRefusal = (error: unknown) => error instanceof CoatcheckError && error.reason === 'authorization_refused'

/** Errors that say "not without asking the user" (OpenID Connect Core, section 3.1.2.6). */
const silentAnswers = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
])

/** The named query parameters. @throws CoatcheckError `bad_request` if one of them comes twice (RFC 6749, section 3.1) */
function single<Name extends string>(c: Context, names: readonly Name[]): Partial<Record<Name, string>> {
  const found: Partial<Record<Name, string>> = {}
  for (const name of names) {
    const [value, ...more] = c.req.queries(name) ?? []
    if (more.length > 0) throw new CoatcheckError('bad_request', 'parameter_repeated')
    if (value !== undefined) found[name] = value
  }
  return found
}

// A login from its start to its end: to the authorization server, and back with a code.
import type { Context } from 'hono'
import { seeOther } from '../answers.ts'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { LoginHints, LoginTransaction } from '../oauth/authorization-request.ts'
import { type AuthorizationResponse, claimedState } from '../oauth/authorization-response.ts'
import type { RelyingParty } from '../oauth/relying-party.ts'
import type { SignOut } from '../oauth/sign-out.ts'
import { chooseProviderPage, confirmLoginPage, loginLoopPage, staleLoginPage } from '../pages.ts'
import { type HeaderRecord, headerText, type Platform } from '../platform.ts'
import type { Reason } from '../reasons.ts'
import { mayShowSession, requireNavigation, safeReturnTo } from '../security.ts'
import type { Cookies } from '../session/cookies.ts'
import type { Directory } from '../session/directory.ts'
import { keyedHash, randomText, type Sealer } from '../session/seal.ts'
import type { Session, SignIn } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { inTime } from '../stores/patience.ts'
import type { ScopeProof } from '../upstream/stronger-sign-in.ts'

export const loginPath = '/auth/login'

/** How long a login may take, and how many may be under way in one browser. */
const loginTime = 600_000
const mostLogins = 5
/** Longest value of a parameter that is passed on, in characters. */
const longestHint = 512
/** This many sign-ins that ended within this time, in milliseconds, and left no session are a loop. */
const loop = { logins: 4, within: 30_000 }
/** A sealed login cookie stays below this; the oldest login gives way. Bytes. */
const cookieBudget = 3_800

/** A login under way, or finished not long ago: then it is kept to tell a repeated callback where it had led. */
interface PendingLogin extends LoginTransaction {
  readonly returnTo: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  /** The session that was live when the login began, and ends when it succeeds. */
  readonly replaces?: string | undefined
  /** With `prompt=none` "not signed in" is an answer and not a failure. */
  readonly silent: boolean
  readonly used: boolean
  /** When it ended, and which session came of it. */
  readonly finishedAt?: number | undefined
  readonly session?: string | undefined
}

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
  /** Told of each session that begins. */
  begun(session: Session): Promise<void>
}

export interface LoginEndpoints {
  /** `GET /auth/login` */
  start(c: Context): Promise<Response>
  /** `GET /auth/callback` */
  finish(c: Context): Promise<Response>
}

export function createLogin(parts: LoginParts): LoginEndpoints {
  const { config, platform, relyingParties, sealer, cookies, sessions, signOut, directory, scopes, proveScope, begun } =
    parts
  const { now, log, store } = platform

  async function readLogins(cookieHeader: string | undefined): Promise<PendingLogin[]> {
    const seal = cookies.readLogin(cookieHeader)
    const opened = seal === undefined ? undefined : await sealer.unseal('login', seal)
    if (opened === undefined || opened.failure !== undefined) return []
    return (opened.data as PendingLogin[]).filter(({ startedAt }) => startedAt + loginTime > now())
  }

  async function writeLogins(logins: readonly PendingLogin[]): Promise<string> {
    const kept = logins.slice(-mostLogins)
    const newest = kept.at(-1)?.startedAt ?? 0
    const until = newest + loginTime
    for (;;) {
      const seal = await sealer.seal('login', kept, until)
      const last = kept[0]
      if (seal.length <= cookieBudget || (kept.length === 1 && last?.returnTo === '/')) {
        return cookies.writeLogin(seal, Math.max(1, Math.ceil((until - now()) / 1_000)))
      }
      // The last one must fit: without its cookie a login could never be finished.
      if (kept.length > 1) kept.shift()
      else if (last) kept[0] = { ...last, returnTo: '/' }
    }
  }

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
        return confirmLoginPage(`${loginPath}${new URL(c.req.url).search}`)
      }
      const { returnTo, provider, scope = '', scope_proof: proof, ...hints } = query
      if (provider === undefined && config.login.chooser && config.providers.length > 1) {
        return chooseProviderPage(loginPath, new URL(c.req.url).search, config.providers)
      }
      const isTooLong = Object.values(hints).some((value) => value.length > longestHint)
      if (isTooLong || !/^\d{1,9}$/.test(hints.max_age ?? '0')) {
        throw new CoatcheckError('bad_request', 'parameter_malformed')
      }
      // What the configuration does not name is not passed on, like any other parameter.
      const isOurs = proof !== undefined && proof === (await proveScope(scope))
      const asksFor = scope.split(' ').filter((name) => name !== '' && (isOurs || scopes.has(name)))
      const relyingParty = relyingPartyFor(provider)
      const cookie = headerText(headers, 'cookie')
      const { session } = await sessions.open(cookie)
      const logins = await readLogins(cookie)
      if (!session && (await isLoop(logins))) return stopped(logins, safeReturnTo(returnTo, config.publicUrl))
      // What the operator asks of every sign-in cannot be talked down by whoever opens this address.
      const asked: LoginHints = { ...hints, ...relyingParty.provider.authorizationParams }
      const login: PendingLogin = {
        state: randomText(32),
        nonce: randomText(32),
        codeVerifier: randomText(32),
        key: await relyingParty.bindingKey(),
        provider: relyingParty.provider.id,
        returnTo: safeReturnTo(returnTo, config.publicUrl),
        startedAt: now(),
        maxAge: asked.max_age === undefined ? undefined : Number(asked.max_age),
        acrValues: asked.acr_values,
        moreScope: asksFor.length > 0 ? withGranted(asksFor, session) : [],
        replaces: session?.id,
        silent: asked.prompt === 'none',
        used: false,
      }
      const url = await relyingParty.authorizationUrl(login, asked)
      log({ event: 'login.started', provider: login.provider })
      return seeOther(url.href, [await writeLogins([...logins, login])])
    },

    async finish(c) {
      const { headers } = platform.exchange(c)
      const cookie = headerText(headers, 'cookie')
      const sent = single(c, ['state', 'code', 'iss', 'error', 'error_description', 'response'])
      const logins = await readLogins(cookie)
      const login = logins.find(({ state }) => state === claimedState(sent))
      // An answer at another provider's address is nobody's answer (RFC 9700, section 4.4).
      const isExpected = login && relyingParties.get(login.provider)?.callbackPath === c.req.path
      if (!login || !isExpected) return stale(headers, '/', 'login_unknown')
      if (login.used) return stale(headers, login.returnTo, 'login_repeated', 'own')
      // Of callbacks that arrive together one goes on (RFC 9700, section 4.2.4).
      const first = await store.add(`login-${await keyedHash(login.state, 'login')}`, 'used', loginTime)
      if (!first) return stale(headers, login.returnTo, 'login_repeated', 'own')

      const loginCookie = (session?: string) => {
        const spent = { codeVerifier: '', nonce: '', key: undefined, used: true, finishedAt: now(), session }
        return writeLogins(logins.map((one) => (one === login ? { ...one, ...spent } : one)))
      }
      let answer: AuthorizationResponse = {}
      try {
        answer = await relyingPartyFor(login.provider).open(sent)
        const session = await signIn(login, answer, headers)
        return seeOther(login.returnTo, [await loginCookie(session.id), ...sessions.cookiesFor(session)])
      } catch (error) {
        const told =
          error instanceof CoatcheckError ? error : new CoatcheckError('login_failed', 'unexpected', {}, error)
        const isAnswer = told.reason === 'authorization_refused' && silentAnswers.has(answer.error ?? '')
        if (login.silent && isAnswer) return seeOther(login.returnTo, [await loginCookie()])
        log({ event: 'login.failed', provider: login.provider, reason: told.reason, detail: told.details.detail })
        const loginUrl = startAgain(login.returnTo)
        throw new CoatcheckError(
          told.code,
          told.reason,
          { ...told.details, loginUrl, setCookie: [await loginCookie()] },
          error,
        )
      }
    },
  }

  /** Whether sign-ins end and leave nothing: neither because they failed, nor because the user signed out in between. */
  async function isLoop(logins: readonly PendingLogin[]): Promise<boolean> {
    let inARow = 0
    for (const { finishedAt = 0, session, silent } of logins) {
      const isLost = session === undefined ? silent : !(await sessions.isOverById(session))
      if (isLost && finishedAt > now() - loop.within) inARow++
    }
    return inARow >= loop.logins
  }

  async function stopped(logins: readonly PendingLogin[], returnTo: string): Promise<Response> {
    log({ event: 'request.refused', code: 'login_failed', reason: 'login_loop' })
    // Whoever tries again after reading this begins anew.
    const setCookie = await writeLogins(logins.filter(({ used }) => !used))
    return loginLoopPage(startAgain(returnTo), [setCookie])
  }

  /** More scopes are asked for on top of those that were asked for before (incremental consent). */
  function withGranted(more: readonly string[], session: Session | undefined): readonly string[] {
    const granted = session?.holding.tokens.scope.split(' ') ?? []
    return [...new Set([...granted.filter((name) => scopes.has(name)), ...more])]
  }

  /** Turns the answer of the authorization server into a session. */
  async function signIn(login: PendingLogin, answer: AuthorizationResponse, headers: HeaderRecord): Promise<Session> {
    if (answer.code === undefined && answer.error === undefined) {
      throw new CoatcheckError('login_failed', 'authorization_response_malformed')
    }
    const relyingParty = relyingPartyFor(login.provider)
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
    const { session, cookieBytes } = await sessions.create(signedIn)
    try {
      // A logout may have come while the authorization server was answering; whoever was told may be another instance.
      if (await sessions.isOverAnywhere(session)) throw new CoatcheckError('login_failed', 'session_ended')
      await replaceSession(login, headerText(headers, 'cookie'))
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
  async function replaceSession(login: PendingLogin, cookie: string | undefined): Promise<void> {
    const { session } = await sessions.open(cookie)
    if (session) await signOut(session, 'session_replaced')
    if (login.replaces === undefined || login.replaces === session?.id) return
    await sessions.endById(login.replaces)
    log({ event: 'session.ended', session: login.replaces, reason: 'session_replaced' })
  }

  /** A callback that must not sign anybody in: whoever is signed in goes on, anybody else may start again. */
  async function stale(headers: HeaderRecord, returnTo: string, reason: Reason, own?: 'own'): Promise<Response> {
    // Every return from an authorization server comes from another site; the state shows that it is this browser's own.
    const { session } = own || mayShowSession(headers) ? await sessions.open(headerText(headers, 'cookie')) : {}
    log({ event: 'login.stale', reason, signedIn: session !== undefined })
    if (session) return seeOther(returnTo, [])
    return staleLoginPage(returnTo, startAgain(returnTo))
  }
}

/** Where a login that leads to the same place begins. */
function startAgain(returnTo: string): string {
  return `${loginPath}?returnTo=${encodeURIComponent(returnTo)}`
}

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

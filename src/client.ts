// The browser's side: ask who is signed in, sign in and out, call the API. No token ever comes by here.
import { type LogoutInfo, loginChannel, type Problem, popupPath, type SessionInfo } from './wire.ts'

export type { LogoutInfo, Problem, SessionInfo } from './wire.ts'

export interface ClientOptions {
  /** Called when an API call was refused because there is no session (any more); `problem.code` says why. */
  onSignedOut?: (problem: Problem) => void
  /**
   * Called when the user is signed in and a call needs more than that: a stronger sign-in (`step_up_required`) or a scope
   * (`insufficient_scope`). `client.login({ problem })` asks for it; without `problem.loginUrl` nothing would help.
   */
  onStrongerSignIn?: (problem: Problem) => void
  /**
   * Called when the session that the page knew gave way to another, or to none: in this browser somebody signed in anew, or
   * out. `info.user` says who it is now. The page learns of it when the user comes back to it, and from `session()`.
   */
  onSessionChanged?: (info: SessionInfo) => void
  /** Replaces the page's `fetch`. */
  fetch?: typeof fetch
}

export interface LoginOptions {
  /** Path to come back to. Default: where the user is, fragment included. */
  returnTo?: string
  /** Which configured provider, when there are several. */
  provider?: string
  prompt?: 'none' | 'login' | 'consent' | 'select_account'
  loginHint?: string
  /** What a call was refused with: signs in the way it asks for. */
  problem?: Problem
}

export interface Client {
  /** Who is signed in, and for how long. Does not count as activity. */
  session(): Promise<SessionInfo>
  /** The same, counted as activity: keeps the session alive while the user reads without calling the API. */
  extend(): Promise<SessionInfo>
  /** Leaves the page for the authorization server. */
  login(options?: LoginOptions): void
  /**
   * Signs in in a window of its own, for pages that must not be left. Call it from a click, or browsers block the window.
   * Resolves with who is signed in once that window is done or closed. Where the page, or the authorization server, has a
   * `Cross-Origin-Opener-Policy` of `same-origin`, browsers call the window closed as soon as it is there: a user who looks
   * back at the page then counts as one who gave up, though the sign-in still takes effect.
   * @throws Error when the browser blocks the window
   */
  loginInPopup(options?: LoginOptions): Promise<SessionInfo>
  /** Ends the session, here and at the authorization server. Leaves the page. */
  logout(): Promise<void>
  /**
   * `fetch` for the application's own API: same origin, with the proof that a page of the application asks. Fits wherever
   * a library takes a `fetch` of its caller's.
   * @throws TypeError for an address of another origin; whatever `fetch` throws
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
}

/** Makes a client for the origin the page came from. */
export function createClient(options: ClientOptions = {}): Client {
  const send = options.fetch ?? ((input, init) => fetch(input, init))

  async function call(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const request = input instanceof Request ? input : undefined
    const headers = new Headers(init.headers ?? request?.headers)
    headers.set('x-csrf', '1')
    const url = new URL(request?.url ?? String(input), location.href)
    if (url.origin !== location.origin) throw new TypeError(`Cannot call "${url}": it is not on this origin`)
    return send(request ?? url, { ...init, headers, credentials: 'same-origin' })
  }

  async function json<T>(answer: Response): Promise<T> {
    if (!answer.ok)
      throw new Error(`coatcheck answered ${answer.status}`, { cause: await answer.json().catch(() => null) })
    return answer.json()
  }

  function loginUrl(asked: LoginOptions = {}): string {
    const {
      returnTo = location.pathname + location.search + location.hash,
      provider,
      prompt,
      loginHint,
      problem,
    } = asked
    const query = new URLSearchParams((problem?.loginUrl ?? '').split('?')[1])
    query.set('returnTo', returnTo)
    if (provider) query.set('provider', provider)
    if (prompt) query.set('prompt', prompt)
    if (loginHint) query.set('login_hint', loginHint)
    return `/auth/login?${query}`
  }

  /** The session that was there last; empty for none. */
  let known: string | undefined

  function noticed(info: SessionInfo): SessionInfo {
    const before = known
    known = info.authenticated ? info.session.id : ''
    if (before !== undefined && before !== known) options.onSessionChanged?.(info)
    return info
  }

  if (options.onSessionChanged) {
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible' && known !== undefined) client.session().catch(() => {})
    })
  }

  const client: Client = {
    session: async () => noticed(await json<SessionInfo>(await call('/auth/session'))),
    extend: async () => noticed(await json<SessionInfo>(await call('/auth/session', { method: 'POST' }))),
    login: (asked) => location.assign(loginUrl(asked)),
    async loginInPopup(asked) {
      const finished = new BroadcastChannel(loginChannel)
      const popup = open(loginUrl({ ...asked, returnTo: popupPath }), '_blank', 'popup,width=480,height=720')
      if (!popup) {
        finished.close()
        throw new Error('The browser blocked the window of the sign-in')
      }
      // The page knows the window, to see when it is closed; whatever it shows must not know the page.
      popup.opener = null
      const over = new AbortController()
      await new Promise<void>((resolve) => {
        finished.onmessage = () => resolve()
        // A window that is closed half-way says nothing; this one has the focus again then.
        addEventListener('focus', () => popup.closed && resolve(), { signal: over.signal })
      })
      over.abort()
      finished.close()
      return client.session()
    },
    async logout() {
      const answer = await call('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
      location.assign((await json<LogoutInfo>(answer)).logoutUrl)
    },
    async fetch(input, init) {
      const answer = await call(input, init)
      const code = answer.headers.get('coatcheck-error')
      // Signing in as before would not help here, and a page that tried would come back to the same answer.
      const needsMore = code === 'step_up_required' || code === 'insufficient_scope'
      const told = needsMore ? options.onStrongerSignIn : options.onSignedOut
      if (told && (needsMore || (code !== null && answer.status === 401)))
        told((await answer.clone().json()) as Problem)
      return answer
    },
  }
  return client
}

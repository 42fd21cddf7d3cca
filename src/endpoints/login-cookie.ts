// The sign-ins of one browser, sealed in one cookie: those under way, and what became of the last ones.
import type { LoginTransaction } from '../oauth/authorization-request.ts'
import type { Cookies } from '../session/cookies.ts'
import type { Sealer } from '../session/seal.ts'

/** How long a login may take, in milliseconds, and how many may be under way in one browser. */
export const loginTime = 600_000
const mostLogins = 5
/**
 * This many sign-ins that ended within this time, in milliseconds, and left no session are a loop; of whoever is signed in, a
 * few more.
 */
const loop = { logins: 4, signedIn: 8, within: 30_000 }
/** A sealed login cookie stays below this; the oldest login gives way. Bytes. */
const cookieBudget = 3_800

/** A login under way, or finished not long ago: then it is kept to tell a repeated callback where it had led. */
export interface PendingLogin extends LoginTransaction {
  /** Of the authorization server it began at, which may be configured no more when its answer comes (RFC 9700, section 4.4.2.1). */
  readonly issuer: string
  readonly returnTo: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  /** The session that was live when the login began, or began since, and ends when it succeeds. */
  readonly replaces?: string | undefined
  /** A hash of its user. */
  readonly user?: string | undefined
  /** Whether it is for whoever is signed in already, and for nobody else: silent, for more scope, or for a stronger sign-in. */
  readonly keepsUser: boolean
  /** With `prompt=none` "not signed in" is an answer and not a failure. */
  readonly silent: boolean
  readonly used: boolean
}

/** The end of a login, milliseconds since 1970, and the session that came of it. */
interface Finished {
  readonly at: number
  readonly session?: string | undefined
}

export interface Logins {
  readonly pending: readonly PendingLogin[]
  /** Kept apart, because these are small: what has to give way in the cookie does not take them with it. */
  readonly finished: readonly Finished[]
}

export interface LoginCookie {
  read(cookieHeader: string | undefined): Promise<Logins>
  /** The `Set-Cookie`. */
  write(logins: Logins): Promise<string>
}

export function createLoginCookie(sealer: Sealer, cookies: Cookies, now: () => number): LoginCookie {
  return {
    async read(cookieHeader) {
      const seal = cookies.readLogin(cookieHeader)
      const opened = seal === undefined ? undefined : await sealer.unseal('login', seal)
      if (opened === undefined || opened.failure !== undefined) return { pending: [], finished: [] }
      // It came out of our own seal of this purpose, be it of an older version.
      const { pending = [], finished = [] } = opened.data as Partial<Logins>
      const living = pending.filter(({ startedAt }) => startedAt + loginTime > now())
      return { pending: living.map((one) => ({ ...usual, ...one })), finished }
    },

    async write({ pending, finished }) {
      const kept = pending.slice(-mostLogins)
      const last = finished.filter(({ at }) => at > now() - loop.within).slice(-loop.signedIn)
      const until = Math.max((kept.at(-1)?.startedAt ?? 0) + loginTime, (last.at(-1)?.at ?? 0) + loop.within)
      for (;;) {
        const seal = await sealer.seal('login', { pending: kept.map(withoutUsual), finished: last }, until)
        const [oldest] = kept
        if (seal.length <= cookieBudget || (kept.length === 1 && oldest?.returnTo === '/')) {
          return cookies.writeLogin(seal, Math.max(1, Math.ceil((until - now()) / 1_000)))
        }
        // The last one must fit: without its cookie a login could never be finished.
        if (kept.length > 1) kept.shift()
        else if (oldest) kept[0] = { ...oldest, returnTo: '/' }
      }
    },
  }
}

/** What most logins say is not written down, so that five of them fit. */
const usual = { moreScope: [], keepsUser: false, silent: false, used: false }

function withoutUsual(login: PendingLogin): Partial<PendingLogin> {
  const isUsual = (value: unknown) => value === false || (Array.isArray(value) && value.length === 0)
  return Object.fromEntries(Object.entries(login).filter(([, value]) => !isUsual(value)))
}

/** The sign-ins that ended are those of the session that took the place of another, if that goes on in it. */
export function carriedOver(
  finished: Logins['finished'],
  before: string | undefined,
  session: string | undefined,
): Logins['finished'] {
  if (before === undefined || session === undefined) return finished
  return finished.map((one) => (one.session === before ? { ...one, session } : one))
}

/** What goes round in circles: a browser that loses its sessions, or a page that asks again and again, silently or not. */
export type Loop = 'lost' | 'silent' | 'signed-in'

/**
 * Whether the last sign-ins came one upon the other and changed nothing: each failed silently, or its session was lost and not
 * ended; or that of whoever is signed in went on in the next.
 */
export async function loopOf(
  { finished }: Logins,
  now: number,
  isSignedIn: boolean,
  isOver: (session: string) => Promise<boolean>,
): Promise<Loop | undefined> {
  const recent = finished.filter(({ at }) => at > now - loop.within)
  const enough = isSignedIn ? loop.signedIn : loop.logins
  if (recent.length < enough) return undefined
  const isOf = await Promise.all(recent.map(async ({ session }) => session === undefined || !(await isOver(session))))
  if (isOf.filter(Boolean).length < enough) return undefined
  if (recent.every(({ session }) => session === undefined)) return 'silent'
  return isSignedIn ? 'signed-in' : 'lost'
}

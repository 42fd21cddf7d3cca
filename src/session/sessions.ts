// A session as a browser holds it: from cookies to a session and back. Created, opened, kept alive, ended.
import type { Config } from '../config.ts'
import { CoatcheckError, type ErrorCode } from '../errors.ts'
import type { TokenSet } from '../oauth/token-set.ts'
import type { Reason } from '../reasons.ts'
import { type Cookies, sessionBudget } from './cookies.ts'
import type { Endings } from './endings.ts'
import { randomText, type Sealer, type Unsealed } from './seal.ts'

/** What is kept for a session behind the counter: who it is, and the tokens. Rewritten only when tokens change. */
export interface Holding {
  /** The session it belongs to. */
  readonly id: string
  /** Grows by one with every new token set: of two holdings of a session the larger one is the newer. */
  readonly generation: number
  /** The configured provider that signed the user in. */
  readonly provider: string
  /** `iss` and `sub` of the ID token: together, and only together, the user (OpenID Connect Core, section 5.7). */
  readonly issuer: string
  readonly subject: string
  /** `nonce` of the sign-in, which a refreshed ID token may repeat. */
  readonly nonce?: string | undefined
  /** `sid` of the ID token: the name of the session at the authorization server. */
  readonly providerSession?: string | undefined
  /** Claims that the page may see or that routes ask for. */
  readonly claims: Readonly<Record<string, unknown>>
  /** Authentication context class of the sign-in. */
  readonly acr?: string | undefined
  /** When the user authenticated, seconds since 1970, if the provider said. */
  readonly authTime?: number | undefined
  readonly tokens: TokenSet
}

/**
 * The part of a session that moves with every use. It is a cookie of its own, so that keeping a session alive never
 * rewrites tokens, and a late answer can never put older tokens over newer ones.
 */
interface Ticket {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly seenAt: number
}

/** An open session, for the length of one request. */
export interface Session {
  readonly id: string
  readonly createdAt: number
  seenAt: number
  /** When it ends whatever happens, milliseconds since 1970. */
  readonly endsAt: number
  holding: Holding
  /** `Set-Cookie`s that the answer to this request should carry: a moved ticket, a newer holding. */
  newTicket?: string
  newHolding?: readonly string[]
  /** Names of the cookies the request had, and how long the sealed ticket is. */
  readonly cookieNames: readonly string[]
  readonly ticketLength: number
}

/** What a new session is made of. */
export type SignIn = Omit<Holding, 'id' | 'generation'>

export type OpenedSession =
  | { readonly session: Session; readonly refusal?: undefined }
  | { readonly session?: undefined; readonly refusal: Refusal }

/** Why there is no session, and what to say and to delete because of it. */
export interface Refusal {
  readonly reason: Reason
  readonly code: Extract<ErrorCode, 'session_required' | 'session_expired'>
  readonly setCookie: readonly string[]
}

export interface Sessions {
  /** Opens the session of a `Cookie` header, at once where it was opened before. Never throws because of what a browser sent. */
  open(header: string | undefined): OpenedSession | Promise<OpenedSession>
  /**
   * Begins a session, with an id of its own (ASVS 7.2.4).
   * @throws CoatcheckError `login_failed` when the tokens do not fit, saying how many bytes came from where.
   */
  create(signIn: SignIn): Promise<{ session: Session; cookieBytes: number }>
  /** Counts this request as activity: moves the idle end, at most every tenth of `idleTimeout` or every minute. */
  touch(session: Session, force?: boolean): Promise<void> | undefined
  /**
   * The next generation of a session, with new tokens, sealed.
   * @throws CoatcheckError `session_expired` when the new tokens do not fit any more
   */
  renew(session: Session, tokens: TokenSet): Promise<RenewedHolding>
  /** Opens a holding that was sealed for another request or process. */
  unsealHolding(seal: string): Promise<Holding | undefined>
  /** Puts a newer holding into an open session. An older one, or one of another session, changes nothing. */
  adopt(session: Session, newer: RenewedHolding): void
  /** Whether the session was ended since it was opened. */
  isOver(session: Session): boolean
  /** Calls `ended` once, within a second of the session's end, be it by a sign-out or by its time. Returns what takes that back. */
  whenOver(session: Session, ended: () => void): () => void
  /** Ends a session for good; returns the `Set-Cookie`s that delete it. */
  end(session: Session): readonly string[]
  /** Ends a session of which only the id is known. */
  endById(id: string): void
  /** What the answer to this request may set: nothing at all once the session is over. */
  cookiesFor(session: Session): readonly string[]
  /** Seconds until the session ends for want of activity, and whatever happens. */
  remaining(session: Session): { idle: number; absolute: number }
}

export interface RenewedHolding {
  readonly holding: Holding
  readonly seal: string
}

export function createSessions(
  config: Pick<Config, 'session'>,
  { sealer, cookies, endings, now }: { sealer: Sealer; cookies: Cookies; endings: Endings; now: () => number },
): Sessions {
  const { idleTimeout, absoluteTimeout } = config.session
  const touchEvery = Math.min(60_000, idleTimeout / 10)

  const secondsUntil = (time: number) => Math.max(0, Math.floor((time - now()) / 1_000))

  function refuse(reason: Reason, names: readonly string[]): OpenedSession {
    const over: Reason[] = ['session_idle', 'session_too_old', 'session_ended']
    const code = over.includes(reason) ? 'session_expired' : 'session_required'
    return { refusal: { reason, code, setCookie: names.length > 0 ? cookies.clearSession(names) : [] } }
  }

  const sealTicket = (ticket: Ticket, endsAt: number) => sealer.seal('ticket', ticket, endsAt)

  const holdingCookies = (seal: string, session: Session) => cookies.writeHolding(seal, secondsUntil(session.endsAt))

  /** The session that a ticket and a holding make together. */
  function joined(
    openedTicket: Unsealed,
    openedHolding: Unsealed,
    cookieNames: readonly string[],
    ticketLength: number,
  ): OpenedSession {
    if (openedTicket.failure !== undefined) return refuse(sealReasons[openedTicket.failure], cookieNames)
    if (openedHolding.failure !== undefined) return refuse(sealReasons[openedHolding.failure], cookieNames)
    // Both came out of our own seals of these purposes, so they have the shape we gave them.
    const { id, createdAt, seenAt } = openedTicket.data as Ticket
    const holding = openedHolding.data as Holding
    if (id !== holding.id) return refuse('session_invalid', cookieNames)
    const time = now()
    const endsAt = Math.min(openedTicket.expiresAt, createdAt + absoluteTimeout)
    if (time >= endsAt) return refuse('session_too_old', cookieNames)
    if (time >= seenAt + idleTimeout) return refuse('session_idle', cookieNames)
    if (endings.isOver(id)) return refuse('session_ended', cookieNames)
    return { session: { id, createdAt, seenAt, endsAt, holding, cookieNames, ticketLength } }
  }

  async function move(session: Session): Promise<void> {
    const { id, createdAt, endsAt } = session
    session.seenAt = now()
    const seal = await sealTicket({ id, createdAt, seenAt: session.seenAt }, endsAt)
    session.newTicket = cookies.writeTicket(seal, secondsUntil(endsAt))
  }

  return {
    open(header) {
      const { ticket, holding, names } = cookies.readSession(header)
      if (ticket === undefined && names.length === 0) return refuse('session_absent', names)
      if (ticket === undefined || holding === undefined) return refuse('session_invalid', names)
      const openedTicket = sealer.unseal('ticket', ticket)
      const openedHolding = sealer.unseal('holding', holding)
      if (openedTicket instanceof Promise || openedHolding instanceof Promise) {
        return Promise.all([openedTicket, openedHolding]).then(([one, other]) =>
          joined(one, other, names, ticket.length),
        )
      }
      return joined(openedTicket, openedHolding, names, ticket.length)
    },

    async create(signIn) {
      const createdAt = now()
      const id = randomText(18)
      const endsAt = createdAt + absoluteTimeout
      const holding: Holding = { id, generation: 1, ...signIn }
      const ticketSeal = await sealTicket({ id, createdAt, seenAt: createdAt }, endsAt)
      const seal = await sealer.seal('holding', holding, endsAt)
      const cookieBytes = cookies.sizeOf(ticketSeal.length, seal.length)
      if (cookieBytes > sessionBudget) throw tooLarge('login_failed', holding, cookieBytes)
      const session: Session = {
        ...{ id, createdAt, seenAt: createdAt, endsAt, holding, cookieNames: [], ticketLength: ticketSeal.length },
        newTicket: cookies.writeTicket(ticketSeal, secondsUntil(endsAt)),
      }
      session.newHolding = holdingCookies(seal, session)
      return { session, cookieBytes }
    },

    touch: (session, force = false) => (force || now() - session.seenAt >= touchEvery ? move(session) : undefined),

    async renew(session, tokens) {
      const holding: Holding = { ...session.holding, generation: session.holding.generation + 1, tokens }
      const seal = await sealer.seal('holding', holding, session.endsAt)
      const cookieBytes = cookies.sizeOf(session.ticketLength, seal.length)
      if (cookieBytes > sessionBudget) throw tooLarge('session_expired', holding, cookieBytes)
      return { holding, seal }
    },

    async unsealHolding(seal) {
      const opened = await sealer.unseal('holding', seal)
      return opened.failure === undefined ? (opened.data as Holding) : undefined
    },

    adopt(session, { holding, seal }) {
      if (holding.id !== session.id || holding.generation <= session.holding.generation) return
      session.holding = holding
      session.newHolding = holdingCookies(seal, session)
    },

    isOver: (session) => endings.isOver(session.id),

    whenOver(session, ended) {
      // A look every second rather than a call from the request that ends the session: on Workers one request must not
      // touch the streams of another.
      const timer = setInterval(() => {
        if (!endings.isOver(session.id) && now() < session.endsAt) return
        clearInterval(timer)
        ended()
      }, watchEvery)
      return () => clearInterval(timer)
    },

    end(session) {
      endings.end(session.id, session.endsAt)
      return cookies.clearSession(session.cookieNames)
    },

    endById: (id) => endings.end(id, now() + absoluteTimeout),

    cookiesFor({ id, newTicket, newHolding }) {
      if (newTicket === undefined && newHolding === undefined) return none
      if (endings.isOver(id)) return none
      return [...(newTicket === undefined ? [] : [newTicket]), ...(newHolding ?? [])]
    },

    remaining: ({ seenAt, endsAt }) => ({
      idle: secondsUntil(Math.min(seenAt + idleTimeout, endsAt)),
      absolute: secondsUntil(endsAt),
    }),
  }
}

/** How soon a stream notices that its session is over. Milliseconds. */
const watchEvery = 1_000

const none: readonly string[] = []

const sealReasons = {
  invalid: 'session_invalid',
  unknown_key: 'session_key_unknown',
  expired: 'session_too_old',
} as const satisfies Record<string, Reason>

function tooLarge(
  code: 'login_failed' | 'session_expired',
  { tokens, claims }: Holding,
  total: number,
): CoatcheckError {
  const parts = [
    ['access token', tokens.accessToken.length],
    ['refresh token', tokens.refreshToken?.length ?? 0],
    ['ID token', tokens.idToken?.length ?? 0],
    ['claims', JSON.stringify(claims).length],
  ] as const
  const list = parts.filter(([, bytes]) => bytes > 0).map(([name, bytes]) => `${name} ${bytes}`)
  const detail = `The session would take ${total} bytes of cookies and ${sessionBudget} are allowed. Before sealing: ${list.join(', ')} bytes. Ask the authorization server for smaller tokens, or keep sessions in a store (session.storage).`
  return new CoatcheckError(code, 'tokens_too_large', { detail })
}

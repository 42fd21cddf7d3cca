// A session as a browser holds it: from cookies to a session and back. Created, opened, kept alive, ended.
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import { type TokenSet, usableUntil } from '../oauth/token-set.ts'
import type { Cookies } from './cookies.ts'
import type { Endings } from './endings.ts'
import type { Holdings } from './holdings.ts'
import type { Names } from './names.ts'
import { createOpening, endOf, type Opening } from './opening.ts'
import { randomText, type Sealer } from './seal.ts'
import type { Holding, RenewedHolding, Session, SignIn, Ticket } from './session.ts'

export interface Sessions {
  /**
   * Opens the session of a `Cookie` header, at once where it was opened before. Never throws because of what a browser
   * sent.
   * @param unsure opens a session also when it cannot be known whether others ended it.
   * @throws CoatcheckError `store_unavailable` when that cannot be known, or when the store has the tokens
   */
  open: Opening
  /**
   * Begins a session, with an id of its own (ASVS 7.2.4).
   * @throws CoatcheckError `login_failed` when the tokens do not fit, saying how many bytes came from where;
   * `store_unavailable`
   */
  create(signIn: SignIn): Promise<{ session: Session; cookieBytes: number }>
  /** Counts this request as activity: moves the idle end, at most every tenth of `idleTimeout` or every minute. */
  touch(session: Session, force?: boolean): Promise<void> | undefined
  /**
   * The next generation of a session, with new tokens, sealed.
   * @throws CoatcheckError `session_expired` when the new tokens do not fit any more, or came with an end that is over
   */
  renew(session: Session, tokens: TokenSet): Promise<RenewedHolding>
  /**
   * Puts a new generation into the store, if that is where the session's tokens are.
   * @param mayBeMissed the browser may come with the tokens from before at any time until the session ends: then a session
   * that lives in cookies leaves it in the store too.
   */
  save(session: Session, renewed: RenewedHolding, mayBeMissed: boolean): Promise<void>
  /** Leaves what came of a refresh in the store, unless a newer generation is there: no answer brings it to the browser. */
  leave(session: Session): Promise<void>
  /** Opens a holding of this session that was sealed for another request or process. */
  unsealHolding(session: Session, seal: string): Promise<Holding | undefined>
  /** What the store has of a session, if it has anything. */
  latest(session: Session): Promise<RenewedHolding | undefined>
  /** Puts a newer holding into an open session. An older one, or one of another session, changes nothing. */
  adopt(session: Session, newer: RenewedHolding): void
  /** Whether the session was ended since it was opened, as far as is known here. */
  isOver(session: Session): boolean
  /** Whether a session of which only the id is known was ended, as far as is known here. */
  isOverById(id: string): Promise<boolean>
  /** The same as `isOver`, after asking what others ended. */
  isOverAnywhere(session: Session): Promise<boolean>
  /**
   * Looks again at a session that was opened a while ago, on knowledge as fresh as when sessions are opened. At once where
   * that is there.
   * @throws CoatcheckError `session_expired`; `store_unavailable`
   */
  requireLive(session: Session): Promise<void> | undefined
  /** Asks, beside the request, what others ended, unless that is known. */
  learn(): void
  /** Calls `ended` once, within two seconds of the session's end, be it by a sign-out or by its time. Returns what takes that back. */
  whenOver(session: Session, ended: () => void): () => void
  /**
   * Ends a session for good; returns the `Set-Cookie`s that delete it. Resolves, always, when all instances know or when
   * the store could not be told.
   *
   * @param last what is still to be done with the session once it is over, before its tokens are forgotten.
   */
  end(session: Session, last?: () => Promise<unknown>): Promise<readonly string[]>
  /** Ends a session of which only the id is known. */
  endById(id: string): Promise<void>
  /** Ends every session of the user of this one. @throws CoatcheckError `store_unavailable` */
  endUser(session: Session): Promise<void>
  /**
   * Ends every session with one of these names that has begun by now.
   * @param since instead of now; milliseconds since 1970. What everybody knows is then not told again.
   * @throws CoatcheckError `store_unavailable`
   */
  endByName(marks: readonly string[], since?: number): Promise<void>
  /** What the answer to this request may set: nothing at all once the session is over. */
  cookiesFor(session: Session): readonly string[]
  /**
   * Seconds until the session ends for want of activity, and whatever happens. A session of no use ends for want of activity
   * too: once the authorization server would give no more tokens, where it said how long it does.
   */
  remaining(session: Session): { idle: number; absolute: number }
}

export interface SessionsParts {
  sealer: Sealer
  cookies: Cookies
  holdings: Holdings
  names: Names
  endings: Endings
  /** Told when a session is used, at most as often as its ticket moves. */
  seen: (session: Session) => void
  now: () => number
}

export function createSessions(config: Pick<Config, 'session'>, parts: SessionsParts): Sessions {
  const { sealer, cookies, holdings, names, endings, seen, now } = parts
  const { idleTimeout, absoluteTimeout } = config.session
  const touchEvery = Math.min(60_000, idleTimeout / 10)

  const secondsUntil = (time: number) => Math.max(0, Math.floor((time - now()) / 1_000))

  const sealTicket = (ticket: Ticket, endsAt: number) => sealer.seal('ticket', ticket, endsAt)

  const holdingCookies = (seal: string, session: Session) => cookies.writeHolding(seal, secondsUntil(session.endsAt))

  async function move(session: Session): Promise<void> {
    const { id, half, createdAt, endsAt } = session
    session.seenAt = now()
    const seal = await sealTicket({ id, half, createdAt, seenAt: session.seenAt }, endsAt)
    session.newTicket = cookies.writeTicket(seal, secondsUntil(endsAt))
    seen(session)
  }

  const endByName = (marks: readonly string[], before = now()) =>
    endings.end({ marks, before, until: now() + absoluteTimeout })
  // An id is given once. No later session has it, so whatever the clock said of the instance where it began, it is over.
  const endFamily = (family: string) => endByName([family], now() + absoluteTimeout)

  function refuseOver({ marks, createdAt, endsAt, cookieNames }: Session): undefined {
    const isEnded = endings.isOver(marks, createdAt)
    if (!isEnded && now() < endsAt) return
    const setCookie = cookies.clearSession(cookieNames)
    throw new CoatcheckError('session_expired', isEnded ? 'session_ended' : 'session_too_old', { setCookie })
  }

  return {
    open: createOpening(config, parts),

    async create({ beganAt: createdAt, endsBy = Number.POSITIVE_INFINITY, ...signIn }) {
      const id = randomText(18)
      const half = randomText(16)
      const endsAt = Math.min(createdAt + absoluteTimeout, endsBy)
      if (endsAt <= now()) throw new CoatcheckError('login_failed', 'id_token_time')
      const holding: Holding = { id, generation: 1, ...signIn }
      const { family, marks } = await names.of(holding)
      const ticketSeal = await sealTicket({ id, half, createdAt, seenAt: createdAt }, endsAt)
      const ticketLength = ticketSeal.length
      const renewed = await holdings.seal(holding, { family, half }, endsAt)
      holdings.requireRoom(renewed, ticketLength, 'login_failed')
      const inCookies = holdings.fits(renewed.seal.length, ticketLength)
      if (!inCookies) await holdings.write(renewed, { family, half }, endsAt)
      const session: Session = {
        ...{ id, family, half, marks, createdAt, seenAt: createdAt, endsAt, holding, cookieNames: [], ticketLength },
        newTicket: cookies.writeTicket(ticketSeal, secondsUntil(endsAt)),
      }
      if (inCookies) session.newHolding = holdingCookies(renewed.seal, session)
      const cookieBytes = cookies.sizeOf(ticketLength, inCookies ? renewed.seal.length : 0)
      return { session, cookieBytes }
    },

    touch: (session, force = false) => (force || now() - session.seenAt >= touchEvery ? move(session) : undefined),

    async renew(session, tokens) {
      const holding: Holding = { ...session.holding, generation: session.holding.generation + 1, tokens }
      if (endOf(session.endsAt, holding) <= now()) throw new CoatcheckError('session_expired', 'session_too_old')
      const renewed = await holdings.seal(holding, session, session.endsAt)
      holdings.requireRoom(renewed, session.ticketLength, 'session_expired')
      return renewed
    },

    async save(session, renewed, mayBeMissed) {
      if (mayBeMissed || !holdings.fits(renewed.seal.length, session.ticketLength))
        await holdings.write(renewed, session, session.endsAt)
    },

    async leave(session) {
      const { renewed } = session
      const latest = await holdings.latest(session)
      const isThere =
        latest !== undefined && renewed !== undefined && latest.holding.generation >= renewed.holding.generation
      if (renewed && !isThere) await holdings.write(renewed, session, session.endsAt)
    },

    async unsealHolding({ half }, seal) {
      const opened = await holdings.fromCookies(seal, half)
      return opened.failure === undefined ? (opened.data as Holding) : undefined
    },

    latest: (session) => holdings.latest(session),

    adopt(session, { holding, seal }) {
      if (holding.id !== session.id || holding.generation <= session.holding.generation) return
      session.holding = holding
      session.endsAt = endOf(session.endsAt, holding)
      session.renewed = { holding, seal }
      if (holdings.fits(seal.length, session.ticketLength)) session.newHolding = holdingCookies(seal, session)
      else {
        holdings.remember(holding, session, session.endsAt)
        // What the browser has of an older one must not be read again.
        session.newHolding = cookies.clearHolding(session.cookieNames)
      }
    },

    isOver: ({ marks, createdAt }) => endings.isOver(marks, createdAt),

    isOverById: async (id) => endings.isOver([await names.family(id)], 0),

    async isOverAnywhere({ marks, createdAt }) {
      await endings.catchUp('now')
      return endings.isOver(marks, createdAt)
    },

    requireLive: (session) => endings.catchUp()?.then(() => refuseOver(session)) ?? refuseOver(session),

    learn: () => void endings.catchUp()?.catch(() => {}),

    whenOver(session, ended) {
      const { marks, createdAt } = session
      // A look every second rather than a call from the request that ends the session: on Workers one request must not
      // touch the streams of another.
      const timer = setInterval(() => {
        if (!endings.isOver(marks, createdAt) && now() < session.endsAt) {
          endings.catchUp()?.catch(() => {})
          return
        }
        clearInterval(timer)
        ended()
      }, watchEvery)
      return () => clearInterval(timer)
    },

    async end(session, last) {
      await endFamily(session.family).catch(() => {})
      await last?.().catch(() => {})
      await holdings.forget(session.family).catch(() => {})
      return cookies.clearSession(session.cookieNames)
    },

    async endById(id) {
      const family = await names.family(id)
      // Ended already: it was told, or waits to be.
      if (!endings.isOver([family], now())) await endFamily(family)
      await holdings.forget(family)
    },
    endUser: async ({ holding: { issuer, subject } }) => endByName(await names.user(issuer, subject)),
    async endByName(marks, since) {
      if (since !== undefined) await endings.catchUp('now')
      const isKnown = since !== undefined && marks.every((mark) => endings.isOver([mark], since))
      if (!isKnown) await endByName(marks, since)
    },

    cookiesFor({ marks, createdAt, newTicket, newHolding }) {
      if (newTicket === undefined && newHolding === undefined) return none
      if (endings.isOver(marks, createdAt)) return none
      return [...(newTicket === undefined ? [] : [newTicket]), ...(newHolding ?? [])]
    },

    remaining: ({ seenAt, endsAt, holding: { tokens } }) => ({
      idle: secondsUntil(Math.min(seenAt + idleTimeout, endsAt, tokens.refreshUntil ? usableUntil(tokens) : endsAt)),
      absolute: secondsUntil(endsAt),
    }),
  }
}

/** How soon a stream notices that its session is over. Milliseconds. */
const watchEvery = 1_000

const none: readonly string[] = []

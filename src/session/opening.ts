// From the cookies of a request to a session, or to the reason why there is none.
import type { Config } from '../config.ts'
import type { Reason } from '../reasons.ts'
import type { Cookies } from './cookies.ts'
import type { Endings } from './endings.ts'
import type { Holdings } from './holdings.ts'
import type { Names, SessionNames } from './names.ts'
import type { Sealer, Unsealed } from './seal.ts'
import type { Holding, OpenedSession, Refusal, Ticket } from './session.ts'

/** Opens the session of a `Cookie` header; see `Sessions.open`. */
export type Opening = (header: string | undefined, unsure?: 'unsure') => OpenedSession | Promise<OpenedSession>

export interface OpeningParts {
  sealer: Sealer
  cookies: Cookies
  holdings: Holdings
  names: Names
  endings: Endings
  now: () => number
}

/** What a request brought, step by step. */
interface Found {
  readonly cookies: ReturnType<Cookies['readSession']>
  readonly ticket: Ticket
  readonly endsAt: number
  readonly unsure: 'unsure' | undefined
}

export function createOpening(
  config: Pick<Config, 'session'>,
  { sealer, cookies, holdings, names, endings, now }: OpeningParts,
): Opening {
  const { idleTimeout, absoluteTimeout } = config.session

  function refuse(reason: Reason, found: readonly string[]): { readonly refusal: Refusal } {
    const over: Reason[] = ['session_idle', 'session_too_old', 'session_ended']
    const code = over.includes(reason) ? 'session_expired' : 'session_required'
    return { refusal: { reason, code, setCookie: found.length > 0 ? cookies.clearSession(found) : [] } }
  }

  /** Refuses a session that is over and of which all is known. */
  function refuseOf(reason: Reason, found: readonly string[], { provider }: Holding): { readonly refusal: Refusal } {
    return { refusal: { ...refuse(reason, found).refusal, provider } }
  }

  function withTicket(
    opened: Unsealed,
    found: Found['cookies'],
    unsure: 'unsure' | undefined,
  ): OpenedSession | Promise<OpenedSession> {
    if (opened.failure !== undefined) return refuse(sealReasons[opened.failure], found.names)
    // It came out of our own seal of this purpose, so it has the shape we gave it.
    const ticket = opened.data as Ticket
    const endsAt = Math.min(opened.expiresAt, ticket.createdAt + absoluteTimeout)
    const step = { cookies: found, ticket, endsAt, unsure }
    const { half } = ticket
    if (found.holding !== undefined)
      return then(holdings.fromCookies(found.holding, half), (one) => withHolding(one, step))
    const kept = then(names.family(ticket.id), (family) => holdings.fromStore({ family, half }))
    if (!unsure || !(kept instanceof Promise)) return then(kept, (one) => withHolding(one, step))
    // Without its tokens the session can still be ended by its id.
    return kept.then(
      (one) => withHolding(one, step),
      () => refuseKnown('store_failed', step),
    )
  }

  /** Refuses what is known by its id, and so can be ended. */
  function refuseKnown(reason: Reason, { cookies: found, ticket: { id } }: Found): { readonly refusal: Refusal } {
    return { refusal: { ...refuse(reason, found.names).refusal, id } }
  }

  function withHolding(opened: Unsealed | undefined, found: Found): OpenedSession | Promise<OpenedSession> {
    if (opened === undefined) return withoutHolding(found)
    if (opened.failure !== undefined) {
      // A late answer may have put the tokens of an old session beside the ticket of a new one.
      return refuseKnown(sealReasons[opened.failure], found)
    }
    const holding = opened.data as Holding
    const learning = found.unsure ? endings.catchUp()?.catch(() => {}) : endings.catchUp()
    const named = names.of(holding)
    if (learning === undefined && !(named instanceof Promise)) return checked(found, holding, named)
    return Promise.all([named, learning]).then(([sessionNames]) => checked(found, holding, sessionNames))
  }

  /** The store has no tokens for this ticket: because the session has ended, or because there never was one. */
  async function withoutHolding({ ticket: { id, createdAt }, cookies: found, unsure }: Found): Promise<OpenedSession> {
    const family = await names.family(id)
    const learning = endings.catchUp()
    await (unsure ? learning?.catch(() => {}) : learning)
    return refuse(endings.isOver([family], createdAt) ? 'session_ended' : 'session_invalid', found.names)
  }

  function checked({ cookies: found, ticket, endsAt }: Found, holding: Holding, named: SessionNames): OpenedSession {
    const { id, half, createdAt, seenAt } = ticket
    if (id !== holding.id) return refuse('session_invalid', found.names)
    const time = now()
    const until = endOf(endsAt, holding)
    if (time >= until) return refuseOf('session_too_old', found.names, holding)
    if (time >= seenAt + idleTimeout) return refuseOf('session_idle', found.names, holding)
    if (endings.isOver(named.marks, createdAt)) return refuseOf('session_ended', found.names, holding)
    const { family, marks } = named
    const ticketLength = found.ticket?.length ?? 0
    return {
      session: {
        id,
        family,
        half,
        marks,
        createdAt,
        seenAt,
        endsAt: until,
        holding,
        cookieNames: found.names,
        ticketLength,
      },
    }
  }

  return (header, unsure) => {
    const found = cookies.readSession(header)
    const { ticket, names: cookieNames } = found
    if (ticket === undefined) {
      return refuse(cookieNames.length === 0 ? 'session_absent' : 'session_invalid', cookieNames)
    }
    return then(sealer.unseal('ticket', ticket), (opened) => withTicket(opened, found, unsure))
  }
}

/** When a session ends whatever happens: what a refreshed ID token said may be before `endsAt`, and never moves it back. */
export function endOf(endsAt: number, { tokens }: Holding): number {
  return Math.min(endsAt, tokens.sessionUntil ?? endsAt)
}

/** Goes on at once with what is there, else when it is. In the steady state everything is there, and nothing is waited for. */
function then<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}

const sealReasons = {
  invalid: 'session_invalid',
  unknown_key: 'session_key_unknown',
  expired: 'session_too_old',
} as const satisfies Record<string, Reason>

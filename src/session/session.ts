// What a session is: the words that those who open, keep, renew and end sessions have in common.
import type { ErrorCode } from '../errors.ts'
import type { TokenSet } from '../oauth/token-set.ts'
import type { Reason } from '../reasons.ts'

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
  /** The `max_age` that the sign-in was asked for, in seconds. */
  readonly askedMaxAge?: number | undefined
  /** Scopes that the sign-in asked for besides the usual ones, and was not granted. */
  readonly refusedScope?: readonly string[] | undefined
  /** Whether the sign-in took the place of another user's session in the same browser. */
  readonly replacedUser?: boolean | undefined
  readonly tokens: TokenSet
}

/**
 * The part of a session that moves with every use. It is a cookie of its own, so that keeping a session alive never
 * rewrites tokens, and a late answer can never put older tokens over newer ones.
 */
export interface Ticket {
  readonly id: string
  /** The half of the holding's key that the session keys do not have. */
  readonly half: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly seenAt: number
}

/** An open session, for the length of one request. */
export interface Session extends HoldingKey {
  readonly id: string
  /** Names under which its end may have been announced. */
  readonly marks: readonly string[]
  readonly createdAt: number
  seenAt: number
  /** When it ends whatever happens, milliseconds since 1970. A refresh may bring that forward. */
  endsAt: number
  holding: Holding
  /** `Set-Cookie`s that the answer to this request should carry: a moved ticket, a newer holding. */
  newTicket?: string
  newHolding?: readonly string[]
  /** What came of a refresh, sealed, that the browser does not have yet. */
  renewed?: RenewedHolding
  /** Names of the cookies the request had, and how long the sealed ticket is. */
  readonly cookieNames: readonly string[]
  readonly ticketLength: number
}

/** What a new session is made of. */
export interface SignIn extends Omit<Holding, 'id' | 'generation'> {
  /**
   * When the session begins, milliseconds since 1970: before the code was redeemed, so that it ends with whatever ends
   * while the authorization server is still answering.
   */
  readonly beganAt: number
  /** When the provider wants it over at the latest (`session_expiry` of the ID token), milliseconds since 1970. */
  readonly endsBy?: number | undefined
}

export type OpenedSession =
  | { readonly session: Session; readonly refusal?: undefined }
  | { readonly session?: undefined; readonly refusal: Refusal }

/** Why there is no session, and what to say and to delete because of it. */
export interface Refusal {
  readonly reason: Reason
  readonly code: Extract<ErrorCode, 'session_required' | 'session_expired'>
  readonly setCookie: readonly string[]
  /** The session that the ticket was for, where that much could be read. */
  readonly id?: string
  /** The provider it was of, where that could be read. */
  readonly provider?: string
}

/** What it takes to find and open a holding, besides the session keys. */
export interface HoldingKey {
  /** Where it is in the store. */
  readonly family: string
  /** The secret half, which only the browser's ticket has: the store alone cannot be opened. */
  readonly half: string
}

/** A holding and its seal. */
export interface RenewedHolding {
  readonly holding: Holding
  readonly seal: string
}

// What an authorization server has given away, and the book it keeps of that.

/** What can be wrong with it for a while. */
export type ServerFault =
  /** Takes seconds for an answer. */
  | 'slow'
  | 'error-500'
  | 'error-429'
  /** The connection breaks before the request was looked at. */
  | 'reset-before'
  /** The connection breaks after the request took effect: the answer is lost, and with it what was in it. */
  | 'reset-after'
  /** No answer, ever; in one of two cases the request takes effect all the same. */
  | 'hang'
  | 'nonsense'
  /** Refreshed ID tokens speak of somebody else, and so do the access tokens. */
  | 'impostor'
  /** Only the keys cannot be had. */
  | 'no-keys'

/** Somebody signed in there: one grant, with the tokens that follow from it. */
export interface Grant {
  readonly name: string
  readonly user: string
  readonly sid: string
  /** Why nothing of it is good any more. */
  over?: 'reuse' | 'withdrawn by the server' | 'code used twice'
  /** Whether an ID token of somebody else went out with it. */
  impostor?: boolean
  issued: number
}

export interface AccessToken {
  readonly text: string
  readonly grant: Grant
  /** Grows with every token of the grant. */
  readonly serial: number
  readonly user: string
  readonly expiresAt: number
}

export interface RefreshToken {
  readonly text: string
  readonly grant: Grant
  readonly presentations: Presentation[]
  /** The presentation whose answer it came with; `undefined` for that of the sign-in. */
  readonly from: Presentation | undefined
  spent: boolean
  revoked: boolean
  /** Whether somebody tried to revoke it and got no answer that said so. */
  revocationFailed: boolean
}

/** One time that a refresh token was sent here. */
export interface Presentation {
  readonly token: RefreshToken
  readonly instance: number
  readonly sentAt: number
  /** What was decided here. */
  outcome?: 'renewed' | 'refused' | 'failed'
  /** When the caller knew, and whether it was told the outcome. */
  finished?: { at: number; told: boolean }
  /** What it brought, if it brought anything. */
  brought?: RefreshToken
}

// What can go wrong, once: every error code a client can meet, its status, and the one error class that carries it.
import type { CheckedClaim, OAuthError, Reason } from './reasons.ts'

/**
 * Every error code coatcheck itself answers with: the stable `code` of the problem document and of the header
 * `Coatcheck-Error`. `title` is what a person reads; it never depends on the request, so it can leak nothing.
 */
export const errorCodes = {
  bad_request: { status: 400, title: 'The request is malformed' },
  login_expired: { status: 400, title: 'This sign-in was already finished, or took too long' },
  login_failed: { status: 400, title: 'Signing in did not work' },
  session_required: { status: 401, title: 'Nobody is signed in' },
  session_expired: { status: 401, title: 'The session is over' },
  reauth_required: { status: 401, title: 'The session can no longer call this API until the user signs in again' },
  invalid_token: { status: 401, title: 'The access token is not valid here' },
  step_up_required: { status: 401, title: 'This needs a stronger or more recent sign-in' },
  csrf_rejected: { status: 403, title: 'The request does not come from a page of this application' },
  insufficient_scope: { status: 403, title: 'The session was not granted what this needs' },
  forbidden: { status: 403, title: 'This is not allowed' },
  not_found: { status: 404, title: 'There is nothing here' },
  method_not_allowed: { status: 405, title: 'This method is not allowed here' },
  body_too_large: { status: 413, title: 'The request body is too large' },
  upgrade_required: { status: 426, title: 'The WebSocket must be opened with version 13 of the protocol' },
  rate_limited: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The request headers are too large' },
  internal_error: { status: 500, title: 'Something went wrong on this server' },
  upstream_unreachable: { status: 502, title: 'The API could not be reached' },
  upstream_invalid: { status: 502, title: 'The API gave an answer that makes no sense' },
  authorization_server_unavailable: { status: 503, title: 'The authorization server cannot be reached right now' },
  store_unavailable: { status: 503, title: 'Sessions cannot be looked up right now' },
  upstream_timeout: { status: 504, title: 'The API took too long to answer' },
} as const satisfies Record<string, { status: number; title: string }>

export type ErrorCode = keyof typeof errorCodes

/** What an error may add to its answer. */
export interface ErrorDetails {
  /** Path where signing in starts; put into the problem document for the page to navigate to. */
  loginUrl?: string
  /** Methods that would have been allowed (405). */
  allow?: string
  /** Seconds after which trying again makes sense (429, 503). */
  retryAfter?: number
  /** `Set-Cookie` values that belong to the refusal, such as the deletion of a dead session. */
  setCookie?: readonly string[]
  /** `error` of RFC 6749, section 5.2, for callers that speak OAuth. */
  oauthError?: string
  /** `WWW-Authenticate`, for callers that bring a token of their own (RFC 6750, section 3). */
  challenge?: string
  /** A sentence for the person who meets this. Written by us, never text that came from outside. */
  detail?: string
  /** Path where a person whose session goes on was, for a page. */
  continueUrl?: string
  /** For the log: the `error` with which an authorization server answered. */
  answered?: OAuthError | undefined
  /** For the log: the claim that is missing or wrong. */
  claim?: CheckedClaim | undefined
}

/**
 * The one error coatcheck throws at its edges. `code` is the decision for the caller; `reason` is evidence for the
 * operator: a fixed phrase in our own words that goes to the log and never to the browser.
 */
export class CoatcheckError extends Error {
  readonly code: ErrorCode
  readonly reason: Reason
  readonly details: ErrorDetails

  constructor(code: ErrorCode, reason: Reason, details: ErrorDetails = {}, cause?: unknown) {
    super(`${code}: ${reason}`, cause === undefined ? undefined : { cause })
    this.name = 'CoatcheckError'
    this.code = code
    this.reason = reason
    this.details = details
  }
}

// What went wrong at an authorization server, from what the protocol library throws to our own closed list of reasons.
import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client'
import { CoatcheckError } from '../errors.ts'
import { type OAuthError, oauthErrors, type Reason } from '../reasons.ts'
import { unavailable } from './authorization-server-fetch.ts'

/** The reason behind an error of openid-client. Only codes are looked at: texts may contain what the server sent. */
export function reasonOf(error: unknown): Reason {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof CoatcheckError) return cause.reason
  }
  if (error instanceof AuthorizationResponseError) return 'authorization_refused'
  if (error instanceof ResponseBodyError) return byOAuthError(error)
  if (error instanceof WWWAuthenticateChallengeError) return 'client_rejected'
  if (error instanceof ClientError) return byCode(error)
  // Nesting deeper than the stack.
  if (error instanceof RangeError) return 'response_malformed'
  return error instanceof TypeError ? 'unreachable' : 'unexpected'
}

/** RFC 6749, section 5.2. Of all these only `invalid_grant` says anything about the session. */
function byOAuthError({ error, status }: ResponseBodyError): Reason {
  if (error === 'invalid_grant') return 'invalid_grant'
  if (error === 'invalid_dpop_proof') return 'proof_rejected'
  if (error === 'invalid_client' || error === 'unauthorized_client') return 'client_rejected'
  if (status === 429 || error === 'temporarily_unavailable' || error === 'server_error') return 'server_error'
  return 'request_rejected'
}

function byCode({ code, cause }: ClientError): Reason {
  if (cause instanceof Response && (cause.status >= 500 || cause.status === 429)) return 'server_error'
  switch (code) {
    case 'OAUTH_TIMEOUT':
    case 'OAUTH_ABORT':
      return 'timeout'
    case 'OAUTH_JWT_CLAIM_COMPARISON_FAILED':
    case 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED':
      return 'id_token_claim'
    case 'OAUTH_JWT_TIMESTAMP_CHECK_FAILED':
      return 'id_token_time'
    case 'OAUTH_RESPONSE_IS_NOT_CONFORM':
    case 'OAUTH_INVALID_RESPONSE':
    case 'OAUTH_PARSE_ERROR':
    case 'OAUTH_RESPONSE_IS_NOT_JSON':
    case 'OAUTH_UNSUPPORTED_OPERATION':
    case 'OAUTH_MISSING_SERVER_METADATA':
      return 'response_malformed'
    default:
      return 'unexpected'
  }
}

/**
 * The `error` with which an authorization server answered, if it is a registered one. Anything else is text from outside.
 */
export function oauthErrorOf(error: unknown): OAuthError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof ResponseBodyError || cause instanceof AuthorizationResponseError) {
      const said: string = cause.error
      return oauthErrors.find((one) => one === said)
    }
  }
  return undefined
}

/** What went wrong at userinfo, by what went wrong: said as such, because of no other answer it is told apart. */
export function userinfoReasonOf(error: unknown): Reason {
  const reason = reasonOf(error)
  if (reason === 'id_token_claim') return 'userinfo_mismatch'
  if (reason.startsWith('id_token_')) return 'userinfo_signature'
  if (transient.has(reason)) return 'userinfo_unavailable'
  const status = statusOf(error)
  if (reason === 'client_rejected' || status === 401 || status === 403) return 'userinfo_refused'
  return reason === 'response_malformed' || reason === 'request_rejected' ? 'userinfo_malformed' : reason
}

/** The status of an answer that was not what it should be. */
function statusOf(error: unknown): number | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause.cause instanceof Response) return cause.cause.status
  }
  return undefined
}

/** Whether the server does not accept our proof of a key (RFC 9449, sections 5 and 7.1). */
export function isProofRefused(error: unknown): boolean {
  if (error instanceof ResponseBodyError) return error.error === 'invalid_dpop_proof'
  return (
    error instanceof WWWAuthenticateChallengeError &&
    error.cause.some(({ parameters }) => parameters.error === 'invalid_dpop_proof')
  )
}

/** The answer that an error is about. */
export function answerOf(error: unknown): Response | undefined {
  return error instanceof ResponseBodyError || error instanceof WWWAuthenticateChallengeError
    ? error.response
    : undefined
}

/** Whether the server says that it cannot revoke tokens of this kind (RFC 7009, section 2.2.1). */
export function isUnsupportedTokenType(error: unknown): boolean {
  return error instanceof ResponseBodyError && error.error === 'unsupported_token_type'
}

/** Whether the server says that it knows no such token: RFC 6749 has no code for that, so there are several. */
export function isTokenUnknown(error: unknown): boolean {
  return (
    error instanceof ResponseBodyError && ['invalid_request', 'invalid_token', 'invalid_grant'].includes(error.error)
  )
}

/** Whether the server says that the scope may not be had (RFC 6749, section 5.2). */
export function isScopeRefused(error: unknown): boolean {
  return error instanceof ResponseBodyError && error.error === 'invalid_scope'
}

/** Reasons that say the server was not able to answer, and nothing about who is signing in. */
const transient = new Set<Reason>(['timeout', 'unreachable', 'server_error'])

/** The error a login ends with: try again later, or refused. */
export function refusedByServer(error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  const reason = reasonOf(error)
  const answered = oauthErrorOf(error)
  if (transient.has(reason)) {
    const { code, details } = unavailable(reason)
    return new CoatcheckError(code, reason, { ...details, answered }, error)
  }
  const detail = error instanceof AuthorizationResponseError ? sentences.get(error.error) : undefined
  return new CoatcheckError('login_failed', reason, { ...(detail !== undefined && { detail }), answered }, error)
}

/** What to tell a person about an authorization error (RFC 6749, section 4.1.2.1; OpenID Connect Core, 3.1.2.6). */
const sentences = new Map([
  ['access_denied', 'The sign-in was cancelled or refused.'],
  ['login_required', 'You are not signed in at the authorization server.'],
  ['interaction_required', 'The authorization server needs to ask you something first.'],
  ['consent_required', 'The authorization server needs your consent first.'],
  ['account_selection_required', 'The authorization server needs you to choose an account first.'],
  ['temporarily_unavailable', 'The authorization server is not available right now.'],
])

// Access tokens that callers bring themselves, as JWTs: everything that must be right about one (RFC 9068, section 4).
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import type { BearerConfig } from '../config-bearer.ts'
import { CoatcheckError } from '../errors.ts'
import type { Reason } from '../reasons.ts'
import { bearerChallenge } from '../upstream/challenges.ts'

/** How tokens of a route are checked. */
export interface BearerPolicy extends BearerConfig {
  readonly provider: string
  /** A text that no policy has which checks otherwise. */
  readonly name: string
}

/** Who or what an access token speaks for, and what it may do. */
export interface BearerIdentity {
  readonly issuer: string
  /** `sub`, or of a token without one the client it was issued to. */
  readonly subject: string
  /** Separated by spaces. */
  readonly scope: string
  readonly acr?: string | undefined
  readonly claims: Readonly<Record<string, unknown>>
  /** Until when that may be believed without a further look, in milliseconds since 1970, if the token has an end. */
  readonly expiresAt?: number | undefined
}

/** What a token is checked against, besides its route's policy. */
export interface Expected {
  readonly issuer: string
  readonly clientId: string
  /** Milliseconds since 1970. */
  readonly now: number
}

/** How far clocks may differ. Seconds. */
const skew = 30

/** Header parameters that bring a key along, or change what a signature means. None of them is needed. */
const dangerous = ['crit', 'b64', 'jku', 'jwk', 'x5u']

/** Claims by which an ID token or a logout token gives itself away. */
const foreign = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events']

/** Claims of which an ID token has none: what the token may do, or which client has it. */
const telling = ['scope', 'scp', 'client_id', 'cid', 'appid']

/** The error for a token that does not open this route. */
export function invalidToken(reason: Reason, cause?: unknown): CoatcheckError {
  return new CoatcheckError('invalid_token', reason, { challenge: bearerChallenge('invalid_token') }, cause)
}

/** Whether a token is a JWT with a signature. What is one is never taken for anything else. */
export function isJwt(token: string): boolean {
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) return false
  try {
    return decodeProtectedHeader(token).alg !== undefined
  } catch {
    return false
  }
}

/**
 * Verifies an access token that is a JWT. What costs nothing is looked at first, so that most of what is forged never gets as
 * far as a key.
 *
 * @param trusted algorithms that count where the policy names none.
 * @throws CoatcheckError `invalid_token` with the precise reason; `authorization_server_unavailable` when keys are missing
 */
export async function verifiedAccessToken(
  token: string,
  policy: BearerPolicy,
  { keys, trusted, ...expected }: Expected & { keys: JWTVerifyGetKey; trusted: readonly string[] },
): Promise<BearerIdentity> {
  const algorithms = policy.algs ?? trusted
  const header = headerOf(token)
  if (!algorithms.includes(String(header.alg)) || dangerous.some((name) => name in header)) {
    throw invalidToken('access_token_signature')
  }
  const type = typeof header.typ === 'string' ? header.typ.toLowerCase().replace(/^application\//, '') : header.typ
  if (type !== 'at+jwt' && !(policy.anyType && (type === undefined || type === 'jwt'))) {
    throw invalidToken('access_token_type')
  }
  const claims = claimsOf(token)
  if (type !== 'at+jwt') requireNoOtherKind(claims, expected.clientId)
  if (typeof claims.exp !== 'number') throw invalidToken('access_token_claim')
  const identity = identityOf(claims, policy.audience, expected)
  await jwtVerify(token, keys, {
    algorithms: [...algorithms],
    issuer: expected.issuer,
    audience: [...policy.audience],
    clockTolerance: skew,
    currentDate: new Date(expected.now),
  }).catch((error) => {
    throw failure(error)
  })
  return identity
}

/**
 * Who a token speaks for by its claims, or by what introspection says of it, when all that is there is right.
 * @param audience `undefined` where it need not be for anybody in particular.
 * @throws CoatcheckError `invalid_token`
 */
export function identityOf(
  claims: JWTPayload,
  audience: readonly string[] | undefined,
  { issuer, now }: Pick<Expected, 'issuer' | 'now'>,
): BearerIdentity {
  const { iss, aud, exp, nbf, iat, sub, client_id, acr } = claims
  if (iss !== issuer) throw invalidToken('access_token_claim')
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (audience && !audience.some((one) => named.includes(one))) throw invalidToken('access_token_claim')
  const seconds = now / 1_000
  for (const time of [exp, nbf, iat]) {
    if (time !== undefined && !Number.isFinite(time)) throw invalidToken('access_token_claim')
  }
  if (exp !== undefined && exp + skew <= seconds) throw invalidToken('access_token_time')
  if (Math.max(nbf ?? 0, iat ?? 0) > seconds + skew) throw invalidToken('access_token_time')
  // Whoever holds such a token proves a key besides. Without the proof it opens nothing (RFC 9449, section 7.2; RFC 8705, 3).
  if (claims.cnf !== undefined) throw invalidToken('access_token_bound')
  const subject = sub ?? (typeof client_id === 'string' ? `client ${client_id}` : undefined)
  if (typeof subject !== 'string' || subject === '' || subject.length > 255) throw invalidToken('access_token_claim')
  return {
    issuer,
    subject,
    scope: scopeOf(claims),
    acr: typeof acr === 'string' ? acr : undefined,
    claims,
    expiresAt: exp === undefined ? undefined : (exp + skew) * 1_000,
  }
}

/** `scope` (RFC 9068, section 2.2.3), or what older servers have in its place; as one text or as a list. */
function scopeOf({ scope, scp }: JWTPayload): string {
  const said = scope ?? scp
  if (Array.isArray(said)) return said.filter((one) => typeof one === 'string').join(' ')
  return typeof said === 'string' ? said : ''
}

/**
 * Refuses what is no access token although its type does not say so: by what only others have, and for want of what only
 * access tokens have.
 */
function requireNoOtherKind(claims: JWTPayload, clientId: string): void {
  requireNotNamedOtherwise(claims)
  const { aud, typ, token_use: use } = claims
  const isForUs = aud === clientId || (Array.isArray(aud) && aud.includes(clientId))
  if (isForUs || foreign.some((name) => name in claims)) throw invalidToken('access_token_type')
  const isNamed = typ !== undefined || use !== undefined
  if (!isNamed && !telling.some((name) => name in claims)) throw invalidToken('access_token_type')
}

/** Refuses what calls itself an ID token or a refresh token: Keycloak in a claim `typ`, Cognito and Hydra in `token_use`. */
export function requireNotNamedOtherwise({ typ, token_use: use }: Readonly<Record<string, unknown>>): void {
  const isOther =
    (typ !== undefined && !/^(bearer|at\+jwt)$/i.test(String(typ))) ||
    (use !== undefined && !/^access(_token)?$/.test(String(use)))
  if (isOther) throw invalidToken('access_token_type')
}

function headerOf(token: string) {
  try {
    return decodeProtectedHeader(token)
  } catch (error) {
    throw invalidToken('access_token_signature', error)
  }
}

function claimsOf(token: string): JWTPayload {
  try {
    return decodeJwt(token)
  } catch (error) {
    throw invalidToken('access_token_claim', error)
  }
}

function failure(error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  if (error instanceof errors.JWTExpired) return invalidToken('access_token_time', error)
  if (error instanceof errors.JWTClaimValidationFailed) return invalidToken('access_token_claim', error)
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return invalidToken('access_token_key', error)
  }
  return invalidToken('access_token_signature', error)
}

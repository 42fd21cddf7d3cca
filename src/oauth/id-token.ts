// The checks of an ID token that go beyond the protocol library's: signature always, audience exactly, type never mixed up.
import { base64url, compactVerify, decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import { CoatcheckError } from '../errors.ts'
import { checkedClaims, type Reason } from '../reasons.ts'
import { unavailable } from './authorization-server-fetch.ts'
import type { PublishedKeys } from './published-keys.ts'

/** What an ID token is expected to say. */
export interface IdTokenExpectations {
  issuer: string
  clientId: string
  /** The access token that came with it: `at_hash`, if there, must be its hash (OpenID Connect Core, section 3.1.3.8). */
  accessToken: string
  /** For the token of a sign-in: what was asked of it (OpenID Connect Core, section 3.1.3.7, items 11 to 13). */
  asked?: AskedOfSignIn
  /** For a refreshed token: the sign-in it must still speak of (OpenID Connect Core, section 12.2). */
  original?: OriginalSignIn
}

/** What the ID token of a sign-in must answer. */
export interface AskedOfSignIn {
  nonce: string
  /** Seconds. */
  maxAge?: number | undefined
}

/** What a refreshed ID token may not contradict. */
export interface OriginalSignIn {
  subject: string
  nonce?: string | undefined
  authTime?: number | undefined
}

export interface IdTokenVerifier {
  /**
   * Verifies signature and claims.
   * @throws CoatcheckError `login_failed` with the precise reason; `authorization_server_unavailable` when the keys
   * cannot be fetched.
   */
  verify(idToken: string, expected: IdTokenExpectations): Promise<JWTPayload & { sub: string }>
  /**
   * Verifies the signature of userinfo that came as a JWT (OpenID Connect Core, section 5.3.2).
   * @throws CoatcheckError as `verify`
   */
  verifyUserinfo(jwt: string): Promise<void>
  /**
   * Verifies the signature of a logout token and its `iss`, `aud`, `iat` and `exp` (OpenID Connect Back-Channel Logout
   * 1.0, section 2.6, items 1 to 4); what else it must say is the caller's business.
   * @throws CoatcheckError as `verify`
   */
  verifyLogoutToken(jwt: string, expected: { issuer: string; clientId: string }): Promise<LogoutTokenParts>
  /**
   * Verifies the signature of an authorization response and its `iss`, `aud` and `exp` (JARM, section 2.4).
   * @throws CoatcheckError as `verify`
   */
  verifyAuthorizationResponse(jwt: string, expected: { issuer: string; clientId: string }): Promise<JWTPayload>
}

/** Algorithms that an authorization server says it signs with, in its metadata; RS256 where it does not say. */
export interface SigningAlgorithms {
  /** Of these, those that are accepted at all. */
  readonly acceptable: ReadonlySet<string>
  readonly idToken: readonly string[] | undefined
  readonly userinfo: readonly string[] | undefined
  readonly authorizationResponse: readonly string[] | undefined
}

/** A logout token whose signature is right. */
export interface LogoutTokenParts {
  readonly type: unknown
  readonly claims: JWTPayload
}

/**
 * Why an ID token, believed or not, speaks of somebody else or of another sign-in, if it does: what it says of itself is
 * enough to disbelieve it.
 */
export function contradiction(
  idToken: string,
  { issuer, clientId, original }: { issuer: string; clientId: string; original: OriginalSignIn },
): Reason | undefined {
  try {
    const claims = decodeJwt(idToken)
    if (claims.iss !== issuer) return 'identity_changed'
    return isForUs(claims, clientId) ? difference(claims, original) : 'id_token_claim'
  } catch {
    return 'id_token_malformed'
  }
}

/**
 * Whether an ID token may be in order although it could not be verified: its key or algorithm is not known (yet), or clocks
 * differ.
 */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof CoatcheckError)) return false
  return error.code === 'authorization_server_unavailable' || error.reason === 'id_token_time' || mayBeNewer(error)
}

/** Whether what could not be verified may be of a key or an algorithm that the server has told of since. */
export function mayBeNewer(error: unknown): boolean {
  for (let cause = error; cause instanceof CoatcheckError; cause = cause.cause) {
    if (cause.reason === 'id_token_key' || cause.reason === 'id_token_algorithm') return true
  }
  return false
}

/** For this client, and for no other (OpenID Connect Core, section 3.1.3.7, items 3 to 5). */
function isForUs({ aud, azp }: JWTPayload, clientId: string): boolean {
  const audience = Array.isArray(aud) ? aud : [aud]
  return audience.length > 0 && audience.every((one) => one === clientId) && (azp === undefined || azp === clientId)
}

/** A logout token or an access token is no ID token, and no authorization response (RFC 8725, section 3.11). */
function isOfOtherType({ typ }: { typ?: unknown }): boolean {
  return typ !== undefined && String(typ).toUpperCase() !== 'JWT'
}

function difference(
  { sub, nonce, auth_time }: JWTPayload,
  { subject, authTime, ...original }: OriginalSignIn,
): Reason | undefined {
  if (sub !== subject) return 'identity_changed'
  if (nonce !== undefined && nonce !== original.nonce) return 'id_token_claim'
  const isOther = auth_time !== undefined && authTime !== undefined && auth_time !== authTime
  return isOther ? 'id_token_auth_time' : undefined
}

export function idTokenVerifier(
  { of: keys }: Pick<PublishedKeys, 'of'>,
  supported: SigningAlgorithms,
  now: () => number,
): IdTokenVerifier {
  const accepted = (algorithms: readonly string[] = ['RS256']) =>
    algorithms.filter((alg) => supported.acceptable.has(alg))
  /** Throws the error for a token that jose did not verify. */
  const refuse = (jwt: string) => (error: unknown) => {
    if (!(error instanceof errors.JOSEAlgNotAllowed)) throw failure(error)
    const isOther = supported.acceptable.has(algorithmOf(jwt))
    throw refused(isOther ? 'id_token_algorithm' : 'id_token_algorithm_refused', error)
  }
  return {
    async verify(idToken, { issuer, clientId, accessToken, asked, original }) {
      const { payload, protectedHeader } = await jwtVerify(idToken, keys.id_token, {
        algorithms: accepted(supported.idToken),
        issuer,
        audience: clientId,
        clockTolerance: 30,
        currentDate: new Date(now()),
        requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat'],
      }).catch((error) => {
        throw (original && refreshedFailure(error)) ?? refuse(idToken)(error)
      })
      if (isOfOtherType(protectedHeader)) throw refused('id_token_signature')
      const { sub, at_hash, iat = 0 } = payload
      if (typeof sub !== 'string' || sub === '' || sub.length > 255) throw wrong('id_token_malformed', 'sub')
      if (!isForUs(payload, clientId)) throw wrong('id_token_claim', payload.azp === undefined ? 'aud' : 'azp')
      const hash = await leftHash(accessToken, protectedHeader.alg)
      if (at_hash !== undefined && hash !== undefined && at_hash !== hash) throw wrong('id_token_claim', 'at_hash')
      const other = original && difference(payload, original)
      if (other !== undefined) throw refused(other)
      if (iat > now() / 1_000 + 60) throw wrong('id_token_time', 'iat')
      if (asked) checkSignIn(payload, asked, now() / 1_000)
      return { ...payload, sub }
    },
    async verifyLogoutToken(jwt, { issuer, clientId }) {
      const { payload, protectedHeader } = await jwtVerify(jwt, keys.logout_token, {
        algorithms: accepted(supported.idToken),
        issuer,
        audience: clientId,
        clockTolerance: 30,
        currentDate: new Date(now()),
        requiredClaims: ['iss', 'aud', 'iat', 'exp', 'jti', 'events'],
      }).catch(refuse(jwt))
      return { type: protectedHeader.typ, claims: payload }
    },
    async verifyAuthorizationResponse(jwt, { issuer, clientId }) {
      const { payload, protectedHeader } = await jwtVerify(jwt, keys.authorization_response, {
        algorithms: accepted(supported.authorizationResponse),
        issuer,
        audience: clientId,
        clockTolerance: 30,
        currentDate: new Date(now()),
        requiredClaims: ['iss', 'aud', 'exp'],
      }).catch(refuse(jwt))
      if (isOfOtherType(protectedHeader)) throw refused('id_token_signature')
      if (!isForUs(payload, clientId)) throw wrong('id_token_claim', 'aud')
      return payload
    },
    async verifyUserinfo(jwt) {
      await compactVerify(jwt, keys.id_token, { algorithms: accepted(supported.userinfo) }).catch(refuse(jwt))
    },
  }
}

/** The ID token of a sign-in was made for it: it is not older than any clock is wrong. Seconds. */
const longestAgo = 86_400

/**
 * That an ID token answers this sign-in: its nonce, and when the user signed in.
 * @param time now, in seconds
 * @throws CoatcheckError `login_failed`
 */
function checkSignIn(
  { nonce, auth_time, iat = 0 }: JWTPayload,
  { maxAge, ...asked }: AskedOfSignIn,
  time: number,
): void {
  if (iat < time - longestAgo) throw wrong('id_token_time', 'iat')
  if (nonce === undefined) throw wrong('id_token_malformed', 'nonce')
  if (nonce !== asked.nonce) throw wrong('id_token_claim', 'nonce')
  if (typeof auth_time !== 'number') {
    if (auth_time === undefined && maxAge === undefined) return
    throw wrong('id_token_malformed', 'auth_time')
  }
  const isTooOld = maxAge !== undefined && auth_time + maxAge < time - 30
  if (isTooOld || auth_time > time + 60) throw wrong('id_token_time', 'auth_time')
}

/** Of a refreshed ID token more is told apart, because tokens that are good may have come with it. */
function refreshedFailure(error: unknown): CoatcheckError | undefined {
  if (!(error instanceof errors.JWTClaimValidationFailed)) return undefined
  if (error.claim === 'iss') return refused('identity_changed', error)
  const isOfTime = error.claim === 'iat' || error.claim === 'exp'
  return isOfTime ? refused('id_token_time', error) : undefined
}

function algorithmOf(jwt: string): string {
  return decodeProtectedHeader(jwt).alg ?? ''
}

/** The left half of a token's hash, by the hash function of the ID token's algorithm; `undefined` where it has none. */
async function leftHash(token: string, algorithm: string): Promise<string | undefined> {
  const bits = /(256|384|512)$/.exec(algorithm)?.[1] ?? (/^Ed(DSA|25519)$/.test(algorithm) ? '512' : undefined)
  if (bits === undefined) return undefined
  const digest = new Uint8Array(await crypto.subtle.digest(`SHA-${bits}`, new TextEncoder().encode(token)))
  return base64url.encode(digest.subarray(0, digest.length / 2))
}

function refused(reason: Reason, cause?: unknown): CoatcheckError {
  return new CoatcheckError('login_failed', reason, {}, cause)
}

/** The same, with the claim that is wrong. */
function wrong(reason: Reason, claim: string, cause?: unknown): CoatcheckError {
  const named = checkedClaims.find((one) => one === claim)
  return new CoatcheckError('login_failed', reason, { claim: named }, cause)
}

function failure(error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  if (error instanceof errors.JWTExpired) return wrong('id_token_time', error.claim, error)
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, payload } = error
    // jose compares `iss` as whatever it is.
    const isOdd = error.reason !== 'check_failed' || (claim === 'iss' && typeof payload.iss !== 'string')
    return wrong(isOdd ? 'id_token_malformed' : claim === 'nbf' ? 'id_token_time' : 'id_token_claim', claim, error)
  }
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) {
    return refused('id_token_malformed', error)
  }
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return refused('id_token_key', error)
  }
  // What was published as a key is none.
  if (error instanceof errors.JWKSInvalid) return unavailable('response_malformed', error)
  return refused('id_token_signature', error)
}

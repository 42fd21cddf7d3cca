// The checks of an ID token that go beyond the protocol library's: signature always, audience exactly, type never mixed up.
import { base64url, compactVerify, decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose'
import { CoatcheckError } from '../errors.ts'
import type { Reason } from '../reasons.ts'
import { unavailable } from './authorization-server-fetch.ts'
import type { PublishedKeys } from './published-keys.ts'

/** What an ID token is expected to say. */
export interface IdTokenExpectations {
  issuer: string
  clientId: string
  /** The access token that came with it: `at_hash`, if there, must be its hash (OpenID Connect Core, section 3.1.3.8). */
  accessToken: string
  /** For a refreshed token: the sign-in it must still speak of (OpenID Connect Core, section 12.2). */
  original?: OriginalSignIn
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
 * Whether an ID token, believed or not, speaks of somebody else or of another sign-in: what it says of itself is enough to
 * disbelieve it.
 */
export function contradicts(
  idToken: string,
  { issuer, clientId, original }: { issuer: string; clientId: string; original: OriginalSignIn },
): boolean {
  try {
    const claims = decodeJwt(idToken)
    return claims.iss !== issuer || !isForUs(claims, clientId) || isOfAnother(claims, original)
  } catch {
    return true
  }
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

function isOfAnother({ sub, nonce, auth_time }: JWTPayload, { subject, authTime, ...original }: OriginalSignIn) {
  if (sub !== subject) return true
  if (nonce !== undefined && nonce !== original.nonce) return true
  return auth_time !== undefined && authTime !== undefined && auth_time !== authTime
}

export function idTokenVerifier(
  { of: keys }: Pick<PublishedKeys, 'of'>,
  supported: SigningAlgorithms,
  now: () => number,
): IdTokenVerifier {
  const accepted = (algorithms: readonly string[] = ['RS256']) =>
    algorithms.filter((alg) => supported.acceptable.has(alg))
  return {
    async verify(idToken, { issuer, clientId, accessToken, original }) {
      const { payload, protectedHeader } = await jwtVerify(idToken, keys.id_token, {
        algorithms: accepted(supported.idToken),
        issuer,
        audience: clientId,
        clockTolerance: 30,
        currentDate: new Date(now()),
        requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat'],
      }).catch((error) => {
        throw failure(error)
      })
      if (isOfOtherType(protectedHeader)) throw refused('id_token_signature')
      const { sub, at_hash, iat = 0 } = payload
      if (typeof sub !== 'string' || sub === '' || sub.length > 255) throw refused('id_token_malformed')
      if (!isForUs(payload, clientId)) throw refused('id_token_claim')
      const hash = await leftHash(accessToken, protectedHeader.alg)
      if (at_hash !== undefined && hash !== undefined && at_hash !== hash) throw refused('id_token_claim')
      if (original && isOfAnother(payload, original)) throw refused('identity_changed')
      if (iat > now() / 1_000 + 60) throw refused('id_token_time')
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
      }).catch((error) => {
        throw failure(error)
      })
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
      }).catch((error) => {
        throw failure(error)
      })
      if (isOfOtherType(protectedHeader)) throw refused('id_token_signature')
      if (!isForUs(payload, clientId)) throw refused('id_token_claim')
      return payload
    },
    async verifyUserinfo(jwt) {
      await compactVerify(jwt, keys.id_token, { algorithms: accepted(supported.userinfo) }).catch((error) => {
        throw failure(error)
      })
    },
  }
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

function failure(error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  if (error instanceof errors.JWTExpired) return refused('id_token_time', error)
  if (error instanceof errors.JWTClaimValidationFailed) {
    return refused(error.claim === 'nbf' ? 'id_token_time' : 'id_token_claim', error)
  }
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return refused('id_token_key', error)
  }
  // What was published as a key is none.
  if (error instanceof errors.JWKSInvalid) return unavailable('response_malformed', error)
  return refused('id_token_signature', error)
}

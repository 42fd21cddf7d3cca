// Logout tokens: how an authorization server says that a session is over (OpenID Connect Back-Channel Logout 1.0).
import { decodeJwt } from 'jose'
import { CoatcheckError } from '../errors.ts'
import type { Reason } from '../reasons.ts'
import type { IdTokenVerifier } from './id-token.ts'

/** What a logout token speaks of: one session at the authorization server, or all of a user. */
export interface LogoutToken {
  readonly issuer: string
  readonly sid?: string | undefined
  readonly subject?: string | undefined
  /** Its own name; no token counts twice. */
  readonly jti: string
  /** Until when it would be believed. Milliseconds since 1970. */
  readonly expiresAt: number
}

/** Longest token that is looked at. Characters. */
const longest = 16_384
/** Oldest `iat` that is believed, and how far clocks may differ. Seconds. */
const [oldest, skew] = [300, 60]

const eventName = 'http://schemas.openid.net/event/backchannel-logout'

/** The issuer that an unverified token claims, to find whose keys to try; `undefined` for what is no token. */
export function claimedIssuer(jwt: string): string | undefined {
  if (jwt.length > longest) return undefined
  try {
    return decodeJwt(jwt).iss
  } catch {
    return undefined
  }
}

/**
 * Verifies a logout token with every check of section 2.6 but the last, whether its `jti` is new.
 *
 * @param anyType accepts tokens without `typ: logout+jwt`, as older servers send them. Everything else still tells
 * them from ID tokens: the event, and that there is no nonce.
 * @throws CoatcheckError `bad_request` with the precise reason, or `authorization_server_unavailable`
 */
export async function verifiedLogoutToken(
  jwt: string,
  verifier: IdTokenVerifier,
  expected: { issuer: string; clientId: string; anyType: boolean; now: number },
): Promise<LogoutToken> {
  const { type, claims } = await verifier.verifyLogoutToken(jwt, expected).catch((error) => {
    throw asLogoutError(error)
  })
  if (!expected.anyType && !/^(application\/)?logout\+jwt$/i.test(String(type))) throw refused('logout_token_signature')
  const { iat = 0, exp = 0, jti, sub, sid, events, nonce, aud } = claims
  const seconds = expected.now / 1_000
  if (iat > seconds + skew || iat < seconds - oldest) throw refused('logout_token_time')
  if (nonce !== undefined) throw refused('logout_token_claim')
  if (Array.isArray(aud) && aud.some((other) => other !== expected.clientId)) throw refused('logout_token_claim')
  if (!isText(jti) || !isLogoutEvent(events)) throw refused('logout_token_claim')
  if ((sub !== undefined && !isText(sub)) || (sid !== undefined && !isText(sid))) throw refused('logout_token_claim')
  if (sub === undefined && sid === undefined) throw refused('logout_token_claim')
  return {
    issuer: expected.issuer,
    sid: sid as string | undefined,
    subject: sub,
    jti,
    expiresAt: (Math.min(exp, iat + oldest) + skew) * 1_000,
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 255
}

/** An object with the member, whose value is an object: usually an empty one. */
function isLogoutEvent(events: unknown): boolean {
  if (typeof events !== 'object' || events === null || !Object.hasOwn(events, eventName)) return false
  const event: unknown = (events as Record<string, unknown>)[eventName]
  return typeof event === 'object' && event !== null && !Array.isArray(event)
}

function refused(reason: Reason, cause?: unknown): CoatcheckError {
  return new CoatcheckError('bad_request', reason, {}, cause)
}

/** What the verifier says of ID tokens, said of logout tokens. */
function asLogoutError(error: unknown): unknown {
  if (!(error instanceof CoatcheckError) || error.code === 'authorization_server_unavailable') return error
  if (error.reason === 'id_token_time') return refused('logout_token_time', error)
  if (error.details.claim !== undefined) return refused('logout_token_claim', error)
  if (error.reason === 'id_token_key') return refused('logout_token_key', error)
  return refused('logout_token_signature', error)
}

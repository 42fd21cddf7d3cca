// Tokens and their arithmetic: when they are stale, when they are over. Pure.

/** A token that opens an API, for a while. Stays behind the counter: it is only ever sealed or sent upstream. */
export interface AccessToken {
  readonly accessToken: string
  /** Granted scopes, separated by spaces: what the answer said, else what was asked for (RFC 6749, section 3.3). */
  readonly scope: string
  /** When the access token is over; milliseconds since 1970. */
  readonly expiresAt: number
  /** From when on it should be renewed; milliseconds since 1970. */
  readonly refreshAt: number
  /** The key that it is bound to; without one, whoever has the token may use it. */
  readonly key?: BindingKey | undefined
  /** There when it was fetched only because an API refused the one before. */
  readonly replacing?: Replacement | undefined
}

/** Replacements of refused tokens, one after another. Sealed with the token, so that all instances and routes know of them. */
export interface Replacement {
  /** When the last was made; milliseconds since 1970. */
  readonly at: number
  /** How many there were in a row. */
  readonly times: number
}

/** A private key on P-256, as a JWK has it (RFC 7518, section 6.2). */
export interface BindingKey {
  readonly x: string
  readonly y: string
  readonly d: string
}

/** What an authorization server gave for a session: an access token, and with what to get the next one. */
export interface TokenSet extends AccessToken {
  readonly refreshToken?: string | undefined
  /** Kept only as `id_token_hint` for the sign-out (OpenID Connect RP-Initiated Logout 1.0, section 2). */
  readonly idToken?: string | undefined
  /** When the refresh token is over, if the server said; milliseconds since 1970. */
  readonly refreshUntil?: number | undefined
  /** When the session is over because a refreshed ID token said so (`session_expiry`); milliseconds since 1970. */
  readonly sessionUntil?: number | undefined
}

/** For which API a token is, as a token request says it. */
export interface Api {
  /** RFC 8707, section 2. */
  readonly resource?: string | undefined
  /** RFC 8693, section 2.1; elsewhere what some authorization servers take in the place of a resource. */
  readonly audience?: string | undefined
  /** Separated by spaces. */
  readonly scope?: string | undefined
}

/** The members of a token response (RFC 6749, section 5.1) that count here, already checked for type. */
export interface TokenResponse {
  readonly access_token: string
  readonly refresh_token?: string | undefined
  readonly id_token?: string | undefined
  readonly scope?: string | undefined
  /** Seconds. */
  readonly expires_in?: number | undefined
  /** Seconds until the refresh token is over, as some servers say it; 0 means never. */
  readonly refresh_expires_in?: unknown
  readonly refresh_token_expires_in?: unknown
}

/** Lifetime assumed of an access token that does not say, in milliseconds. */
export const assumedLifetime = 300_000
/** Longest lifetime believed, in milliseconds: a year. Keeps the arithmetic sane whatever a server claims. */
const longestLifetime = 365 * 86_400_000

/**
 * The token set of a response to a request sent at `sentAt`. Counting from the sending and not from the receipt errs
 * to the safe side. `previous` supplies what a refresh response may leave out (RFC 6749, section 6).
 *
 * @param lead how long before the end to renew, in milliseconds; at most a quarter of the lifetime is used, and up to a
 * tenth of that is taken off by `random` so that sessions begun together are not renewed together.
 */
export function tokenSet(
  response: TokenResponse,
  sentAt: number,
  lead: number,
  previous: Pick<TokenSet, 'scope' | 'refreshToken' | 'idToken' | 'key' | 'refreshUntil' | 'sessionUntil'>,
  random: () => number = Math.random,
): TokenSet {
  const lifetime = Math.min(lifetimeOf(response, sentAt), longestLifetime)
  const before = Math.min(lead, lifetime / 4) * (1 - random() * 0.1)
  return {
    accessToken: response.access_token,
    refreshToken: response.refresh_token ?? previous.refreshToken,
    idToken: response.id_token ?? previous.idToken,
    scope: response.scope ?? previous.scope,
    expiresAt: Math.floor(sentAt + lifetime),
    refreshAt: Math.floor(sentAt + lifetime - before),
    key: previous.key,
    // A refresh token that goes on ends when it was said to.
    refreshUntil:
      refreshEndOf(response, sentAt) ?? (response.refresh_token === undefined ? previous.refreshUntil : undefined),
    sessionUntil: previous.sessionUntil,
  }
}

/** By `expires_in`, else by the `exp` of a JWT access token, else assumed. Milliseconds. */
function lifetimeOf({ expires_in, access_token }: TokenResponse, sentAt: number): number {
  if (expires_in !== undefined && Number.isFinite(expires_in) && expires_in > 0) return expires_in * 1_000
  if (expires_in === undefined) {
    const exp = jwtClaims(access_token)?.exp
    if (typeof exp === 'number' && exp * 1_000 > sentAt) return exp * 1_000 - sentAt
  }
  return assumedLifetime
}

function refreshEndOf(
  { refresh_token_expires_in, refresh_expires_in }: TokenResponse,
  sentAt: number,
): number | undefined {
  const seconds = refresh_token_expires_in ?? refresh_expires_in
  return typeof seconds === 'number' && seconds > 0 ? sentAt + seconds * 1_000 : undefined
}

/** What a server says of the life of a refresh token is a hint: for this long after its end it is tried all the same. */
const refreshGrace = 60_000

/**
 * Until when APIs can be called with these tokens, if nothing is renewed before, as far as the server said: with the access
 * token, and as long as there can be another. Milliseconds since 1970; infinite where the server said nothing.
 */
export function usableUntil({ refreshToken, refreshUntil = Number.POSITIVE_INFINITY, expiresAt }: TokenSet): number {
  return refreshToken === undefined ? expiresAt : Math.max(expiresAt, refreshUntil)
}

/** Whether there is no use in trying the refresh token. */
export function isRefreshOver({ refreshUntil = Number.POSITIVE_INFINITY }: TokenSet, now: number): boolean {
  return now >= refreshUntil + refreshGrace
}

/** The claims of a JWT as they stand there, unverified; `undefined` for anything else. */
function jwtClaims(token: string): { exp?: unknown } | undefined {
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token)?.[1]
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')))
    return typeof claims === 'object' && claims !== null ? claims : undefined
  } catch {
    return undefined
  }
}

/** Whether to renew: the token may still be good, but not for long. */
export function isStale(tokens: AccessToken, now: number): boolean {
  return now >= tokens.refreshAt
}

/** Whether the access token is over. */
export function isExpired(tokens: AccessToken, now: number): boolean {
  return now >= tokens.expiresAt
}

/** How long the refusal of a replacement is believed at first, and at most, in milliseconds. Doubles with every further one. */
const replacementPause = { first: 30_000, longest: 900_000 }

/** The token that was fetched in the place of one that an API refused. */
export function inPlaceOf<Token extends AccessToken>(refused: AccessToken, token: Token, now: number): Token {
  const { at, times } = refused.replacing ?? { at: 0, times: 0 }
  const isInRow = Math.abs(now - at) < 2 * replacementPause.longest
  return { ...token, replacing: { at: now, times: isInRow ? times + 1 : 1 } }
}

/**
 * Whether a token that an API refuses is worth another. A replacement that is refused as well is so only after a while: an
 * API that refuses whatever it is shown must not have refresh tokens spent with every call.
 */
export function isReplaceable({ replacing }: AccessToken, now: number): boolean {
  if (replacing === undefined) return true
  const pause = Math.min(replacementPause.first * 2 ** (replacing.times - 1), replacementPause.longest)
  // The clock of the instance that made it may be ahead.
  return Math.abs(now - replacing.at) >= pause
}

/** Whether every one of `wanted` was granted. */
export function grants(tokens: Pick<AccessToken, 'scope'>, wanted: readonly string[]): boolean {
  if (wanted.length === 0) return true
  const granted = tokens.scope.split(' ')
  return wanted.every((scope) => granted.includes(scope))
}

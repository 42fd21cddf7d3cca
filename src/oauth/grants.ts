// What the token endpoint gives without a browser: the next tokens of a session, tokens of the application itself,
// tokens in exchange for tokens.

import type { JWTPayload } from 'jose'
import * as client from 'openid-client'
import type { ProviderConfig } from '../config.ts'
import type { TokenPolicy } from '../config-token.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { Reason } from '../reasons.ts'
import type { SignIn } from '../session/session.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { unavailable } from './authorization-server-fetch.ts'
import { newBindingKey } from './dpop.ts'
import { isScopeRefused, isTokenUnknown, reasonOf } from './failures.ts'
import { contradiction, type IdTokenExpectations, mayBeNewer, mayPass, type OriginalSignIn } from './id-token.ts'
import { refreshAnswer } from './refresh-answer.ts'
import { bindsTokens } from './security-profile.ts'
import {
  type AccessToken,
  type Api,
  type BindingKey,
  isRefreshOver,
  type TokenResponse,
  type TokenSet,
  tokenSet,
} from './token-set.ts'

export type ExchangePolicy = Extract<TokenPolicy, { kind: 'exchange' }>

export interface Grants {
  /**
   * Redeems a refresh token (RFC 6749, section 6).
   * @param api gets an access token for this API instead of the session's own (RFC 8707, section 2.2).
   * @throws CoatcheckError `session_expired` when the session cannot go on (`invalid_grant`, another user's ID token, a
   * response that spent the refresh token and is of no use), `forbidden` or `insufficient_scope` when the user may not have a token for this API,
   * `authorization_server_unavailable` for everything else: the session is kept.
   */
  refresh(holding: Pick<SignIn, 'subject' | 'nonce' | 'authTime' | 'tokens'>, api?: Api): Promise<TokenSet>
  /**
   * A token of the application itself (client credentials; RFC 6749, section 4.4).
   * @throws CoatcheckError `authorization_server_unavailable`
   */
  clientToken(api: Api): Promise<AccessToken>
  /**
   * Exchanges a user's access token for one of another API (RFC 8693).
   * @throws CoatcheckError `forbidden` or `insufficient_scope` when the server refuses,
   * `authorization_server_unavailable`
   */
  exchange(token: AccessToken, policy: ExchangePolicy): Promise<AccessToken>
}

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'

export function createGrants(
  provider: ProviderConfig,
  server: () => Promise<AuthorizationServer>,
  lead: number,
  platform: Pick<Platform, 'now' | 'waitUntil'> & { withdraw: (tokens: TokenSet) => void },
): Grants {
  const { issuer, clientId } = provider

  /** One request for a token that belongs to no session of its own. */
  async function request(grantType: string, api: Api, key: BindingKey | undefined, more: Record<string, string> = {}) {
    const { configuration, proven } = await server()
    const sentAt = platform.now()
    const params = { ...paramsOf(api), ...more }
    const response = await proven.send(configuration, key, (proof) =>
      client.genericGrantRequest(configuration, grantType, params, proof),
    )
    if (!isUsable(response, key)) throw unavailable('response_malformed')
    // What else came with it is nobody's: neither a refresh token nor an ID token is kept.
    const { refreshToken, idToken, ...token } = tokenSet(response, sentAt, lead, { scope: api.scope ?? '', key })
    return { token, response }
  }

  /**
   * The claims of a refreshed ID token; `undefined` when it cannot be verified now: the refresh token is spent, so what may be
   * right by tomorrow must not lose its successor. What the token says of itself is enough to disbelieve it, though not to
   * believe it.
   */
  async function believed(
    known: AuthorizationServer,
    idToken: string,
    expected: IdTokenExpectations & { original: OriginalSignIn },
    refused: (reason: Reason, error: unknown) => CoatcheckError,
  ): Promise<JWTPayload | undefined> {
    try {
      return await known.idTokens.verify(idToken, expected)
    } catch (error) {
      const fault = mayPass(error) ? contradiction(idToken, expected) : reasonOf(error)
      if (fault !== undefined) throw refused(fault, error)
      // Not waited for: the next ID token finds what the server says by then.
      if (mayBeNewer(error)) platform.waitUntil(known.refetched())
      return undefined
    }
  }

  return {
    async refresh({ subject, nonce, authTime, tokens }, api) {
      const known = await server()
      const sentAt = platform.now()
      if (isRefreshOver(tokens, sentAt)) throw new CoatcheckError('session_expired', 'refresh_token_over')
      const answer = await known.proven
        .send(known.refreshing, tokens.key, (proof) =>
          client.refreshTokenGrant(known.refreshing, tokens.refreshToken ?? '', paramsOf(api ?? {}), proof),
        )
        .catch((error) => {
          const reason = reasonOf(error)
          if (reason === 'invalid_grant') throw new CoatcheckError('session_expired', reason, {}, error)
          throw api ? refusedFor(error) : unavailable(reason, error)
        })
      const response = refreshAnswer(answer)
      /** For an answer that cannot be used: nobody will ever use what came with it, nor what it replaced. */
      const refused = (reason: Reason, error?: unknown) => {
        platform.withdraw(tokenSet(response, sentAt, lead, tokens))
        platform.withdraw(tokens)
        return new CoatcheckError('session_expired', reason, {}, error)
      }
      if (!isUsable(response, tokens.key)) {
        const isSpent = (response.refresh_token ?? tokens.refreshToken) !== tokens.refreshToken
        throw isSpent ? refused('response_malformed') : unavailable('response_malformed')
      }
      if (response.hasOddIdToken) throw refused('id_token_malformed')
      const { id_token: idToken, access_token: accessToken } = response
      const expected = { issuer, clientId, accessToken, original: { subject, nonce, authTime } }
      const claims = idToken === undefined ? undefined : await believed(known, idToken, expected, refused)
      const previous = api?.scope === undefined ? tokens : { ...tokens, scope: api.scope }
      const renewed = tokenSet(hinted(provider, response, claims && idToken), sentAt, lead, previous)
      // An end is brought forward, and never moved back.
      const ends = [renewed.sessionUntil, sessionEndOf(claims)].filter((end) => end !== undefined)
      return { ...renewed, sessionUntil: ends.length > 0 ? Math.min(...ends) : undefined }
    },

    async clientToken(api) {
      // The key goes with the token, so that every instance can prove it.
      const key = bindsTokens(provider) ? await newBindingKey() : undefined
      const asked = await request('client_credentials', api, key).catch((error) => {
        throw error instanceof CoatcheckError ? error : unavailable(reasonOf(error), error)
      })
      return asked.token
    },

    async exchange({ accessToken, key }, { requestedTokenType, ...api }) {
      const { token, response } = await request(tokenExchange, api, key, {
        subject_token: accessToken,
        subject_token_type: accessTokenType,
        requested_token_type: requestedTokenType,
      }).catch((error) => {
        // RFC 8693, section 2.2.2: the same error for a subject token that is no good and for one that policy refuses.
        if (isTokenUnknown(error)) throw new CoatcheckError('forbidden', 'subject_token_refused', {}, error)
        throw refusedFor(error)
      })
      // RFC 8693, section 2.2.1: obligatory. An ID token or a refresh token is not for an API, whatever it looks like.
      if (response.issued_token_type !== requestedTokenType) throw new CoatcheckError('forbidden', 'issued_token_type')
      return token
    },
  }
}

/** When the provider wants the session to be over at the latest, if it says so; milliseconds since 1970. */
export function sessionEndOf(claims: Readonly<Record<string, unknown>> | undefined): number | undefined {
  const expiry = claims?.session_expiry
  return typeof expiry === 'number' ? expiry * 1_000 : undefined
}

function paramsOf({ resource, audience, scope }: Api): Record<string, string> {
  return {
    ...(resource !== undefined && { resource }),
    ...(audience !== undefined && { audience }),
    ...(scope !== undefined && { scope }),
  }
}

/** The error for a token that an API needs and the authorization server does not give. */
function refusedFor(error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  if (isScopeRefused(error)) return new CoatcheckError('insufficient_scope', 'scope_refused', {}, error)
  const reason = reasonOf(error)
  const isRefused = reason === 'request_rejected' || reason === 'invalid_grant'
  return isRefused ? new CoatcheckError('forbidden', 'token_refused', {}, error) : unavailable(reason, error)
}

/** The response with its ID token only if that is wanted later, as `id_token_hint`. */
export function hinted(
  { idTokenHint }: ProviderConfig,
  response: TokenResponse,
  idToken: string | undefined,
): TokenResponse {
  return { ...response, id_token: idTokenHint ? idToken : undefined }
}

/**
 * A token of the type that was asked for (RFC 9449, section 5: a bearer token in the place of a bound one is a downgrade),
 * made of what a header can carry (RFC 6750, section 2.1).
 */
export function isUsable(
  { token_type, access_token, refresh_token = '-' }: TokenResponse & { token_type: string },
  key: BindingKey | undefined,
): boolean {
  return (
    token_type === (key ? 'dpop' : 'bearer') &&
    /^[\x21-\x7e]+$/.test(access_token) &&
    /^[\x20-\x7e]+$/.test(refresh_token)
  )
}

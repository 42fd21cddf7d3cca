// What the token endpoint gives without a browser: the next tokens of a session, tokens of the application itself,
// tokens in exchange for tokens.

import * as client from 'openid-client'
import type { ProviderConfig } from '../config.ts'
import type { TokenPolicy } from '../config-token.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { SignIn } from '../session/session.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { unavailable } from './authorization-server-fetch.ts'
import { handleFor, newBindingKey } from './dpop.ts'
import { isScopeRefused, reasonOf } from './failures.ts'
import { contradicts } from './id-token.ts'
import { bindsTokens } from './security-profile.ts'
import {
  type AccessToken,
  type Api,
  type BindingKey,
  type TokenResponse,
  type TokenSet,
  tokenSet,
} from './token-set.ts'

export type ExchangePolicy = Extract<TokenPolicy, { kind: 'exchange' }>

export interface Grants {
  /**
   * Redeems a refresh token (RFC 6749, section 6).
   * @param api gets an access token for this API instead of the session's own (RFC 8707, section 2.2).
   * @throws CoatcheckError `session_expired` when the session cannot go on (`invalid_grant`, another user's ID token),
   * `forbidden` or `insufficient_scope` when the user may not have a token for this API,
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
  platform: Pick<Platform, 'now'> & { withdraw: (tokens: TokenSet) => void },
): Grants {
  const { issuer, clientId } = provider

  /** One request for a token that belongs to no session of its own. */
  async function request(grantType: string, api: Api, key: BindingKey | undefined, more: Record<string, string> = {}) {
    const { configuration } = await server()
    const sentAt = platform.now()
    const proof = await proofWith(configuration, key)
    const params = { ...paramsOf(api), ...more }
    const response = await client.genericGrantRequest(configuration, grantType, params, proof)
    if (!isUsable(response, key)) throw unavailable('response_malformed')
    // What else came with it is nobody's: neither a refresh token nor an ID token is kept.
    const { refreshToken, idToken, ...token } = tokenSet(response, sentAt, lead, { scope: api.scope ?? '', key })
    return { token, response }
  }

  return {
    async refresh({ subject, nonce, authTime, tokens }, api) {
      const { refreshing, idTokens } = await server()
      const proof = await proofWith(refreshing, tokens.key)
      const sentAt = platform.now()
      if (sentAt >= (tokens.refreshUntil ?? Number.POSITIVE_INFINITY)) {
        throw new CoatcheckError('session_expired', 'refresh_token_over')
      }
      const response = await client
        .refreshTokenGrant(refreshing, tokens.refreshToken ?? '', paramsOf(api ?? {}), proof)
        .catch((error) => {
          const reason = reasonOf(error)
          if (reason === 'invalid_grant') throw new CoatcheckError('session_expired', reason, {}, error)
          if (reason.startsWith('id_token_')) throw new CoatcheckError('session_expired', 'identity_changed', {}, error)
          throw api ? refusedFor(error) : unavailable(reason, error)
        })
      if (!isUsable(response, tokens.key)) throw unavailable('response_malformed')
      const original = { subject, nonce, authTime }
      const expected = { issuer, clientId, accessToken: response.access_token, original }
      let idToken = response.id_token
      try {
        if (idToken) await idTokens.verify(idToken, expected)
      } catch (error) {
        // The refresh token is spent by now: what may be right by tomorrow must not lose its successor. What the token says
        // of itself is enough to disbelieve it, though not to believe it.
        if (!mayPass(error) || contradicts(idToken ?? '', expected)) {
          platform.withdraw(tokenSet(response, sentAt, lead, tokens))
          throw new CoatcheckError('session_expired', 'identity_changed', {}, error)
        }
        idToken = undefined
      }
      const previous = api?.scope === undefined ? tokens : { ...tokens, scope: api.scope }
      return tokenSet(hinted(provider, response, idToken), sentAt, lead, previous)
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
        throw refusedFor(error)
      })
      // RFC 8693, section 2.2.1: obligatory. An ID token or a refresh token is not for an API, whatever it looks like.
      if (response.issued_token_type !== requestedTokenType) throw new CoatcheckError('forbidden', 'issued_token_type')
      return token
    },
  }
}

/** Whether an ID token may be in order although it could not be verified: its key is not known (yet), or clocks differ. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof CoatcheckError)) return false
  const { code, reason } = error
  return code === 'authorization_server_unavailable' || reason === 'id_token_key' || reason === 'id_token_time'
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

/** The option of openid-client that proves the key a token is, or will be, bound to. */
export async function proofWith(
  configuration: client.Configuration,
  key: BindingKey | undefined,
): Promise<{ DPoP?: client.DPoPHandle }> {
  return key ? { DPoP: await handleFor(configuration, key) } : {}
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

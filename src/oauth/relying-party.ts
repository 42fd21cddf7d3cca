// Everything we say to one authorization server, through openid-client: start, finish, refresh, revoke, end.

import * as client from 'openid-client'
import type { Config, ProviderConfig } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { SignIn } from '../session/session.ts'
import { createAuthorizationRequests, type LoginHints, type LoginTransaction } from './authorization-request.ts'
import { type AuthorizationResponse, checkIssuer, isOfTypesAsked, opened } from './authorization-response.ts'
import { type AuthorizationServer, discovered } from './authorization-server.ts'
import { unavailable } from './authorization-server-fetch.ts'
import { publicKeys } from './client-keys.ts'
import { codeAnswer } from './code-answer.ts'
import { newBindingKey } from './dpop.ts'
import { isTokenUnknown, isUnsupportedTokenType, reasonOf, refusedByServer, userinfoReasonOf } from './failures.ts'
import { createGrants, type Grants, hinted, sessionEndOf } from './grants.ts'
import { mayBeNewer } from './id-token.ts'
import { createInspection, type Inspection } from './inspection.ts'
import { type LogoutToken, verifiedLogoutToken } from './logout-token.ts'
import { signOutParams } from './quirks.ts'
import { refreshAnswer } from './refresh-answer.ts'
import { bindsTokens } from './security-profile.ts'
import { type BindingKey, grants, type TokenSet, tokenSet } from './token-set.ts'

export interface RelyingParty extends Grants, Inspection {
  readonly provider: ProviderConfig
  /** The same client at another public address: its sign-ins and sign-outs come back there. What is known of the server is shared. */
  at(publicUrl: string): RelyingParty
  /**
   * Path of the redirect URI. Every provider has its own, so that an answer says by its address which of them it claims
   * to come from (RFC 9700, section 4.4.2.2).
   */
  readonly callbackPath: string
  /** Whether the metadata of the authorization server is at hand; fetches it if not. Never throws. */
  ready(): Promise<boolean>
  /** A key for the tokens of one sign-in to be bound to, if they are to be. */
  bindingKey(): Promise<BindingKey | undefined>
  /** The public halves of this client's keys there (RFC 7517), without any private member. */
  publicKeys(): Promise<readonly object[]>
  /** The address to send the browser to. @throws CoatcheckError `authorization_server_unavailable`, `login_failed` */
  authorizationUrl(transaction: LoginTransaction, asked: LoginHints): Promise<URL>
  /**
   * What an authorization response says: its parameters, out of their signature where they are to have one (JARM).
   * @throws CoatcheckError `login_failed`, `authorization_server_unavailable`
   */
  open(answer: AuthorizationResponse): Promise<AuthorizationResponse>
  /**
   * Redeems the code of an authorization response and validates the ID token, its signature included.
   * @throws CoatcheckError `login_failed`, or `authorization_server_unavailable` when nobody is to blame
   */
  finish(answer: AuthorizationResponse, transaction: LoginTransaction): Promise<SignIn>
  /** Revokes what can still be used (RFC 7009). Rejects with the reason; nobody has to wait for it. */
  revoke(tokens: Revocable): Promise<void>
  /**
   * Verifies a logout token of this server; see `verifiedLogoutToken`.
   * @throws CoatcheckError `bad_request`, `authorization_server_unavailable`
   */
  logoutToken(jwt: string): Promise<LogoutToken>
  /** Where the browser goes to sign out there too, if the server has such a place. */
  endSessionUrl(tokens: TokenSet | undefined, state: string): Promise<URL | undefined>
}

/** Tokens as far as it takes to revoke them. The access token is empty where there is none. */
type Revocable = Pick<TokenSet, 'accessToken' | 'refreshToken'>

/**
 * The relying party that a session or a sign-in began with. `undefined` when its id is nobody's any more, or another server's:
 * what came of one server is never sent to another (RFC 9700, section 4.4.2.1).
 */
export function relyingPartyOf(
  relyingParties: ReadonlyMap<string, RelyingParty>,
  { provider, issuer }: Pick<SignIn, 'provider' | 'issuer'>,
): RelyingParty | undefined {
  const found = relyingParties.get(provider)
  return found?.provider.issuer === issuer ? found : undefined
}

export function createRelyingParty(
  provider: ProviderConfig,
  callbackPath: string,
  config: Pick<Config, 'publicUrl' | 'refresh' | 'session' | 'routes'>,
  platform: Pick<Platform, 'fetch' | 'log' | 'now' | 'waitUntil'>,
  server = discovered(provider, config.refresh.timeout, platform),
): RelyingParty {
  const { issuer, clientId } = provider
  const redirectUri = config.publicUrl + callbackPath
  const { lead } = config.refresh
  const tokenGrants = createGrants(provider, server, lead, { ...platform, withdraw })
  const requests = createAuthorizationRequests(provider, redirectUri, config.routes)
  const keptClaims = new Set([
    ...config.session.claims,
    ...config.routes.flatMap((route) => Object.keys(route.require.claims)),
  ])

  /**
   * Uses the server as it is known; and what it said anew, if what is to be verified may be of a key or algorithm that is
   * younger than what is known.
   * @param sender see `AuthorizationServer.refetched`
   */
  async function withNewest<T>(use: (server: AuthorizationServer) => Promise<T>, sender?: 'anybody'): Promise<T> {
    const known = await server()
    try {
      return await use(known)
    } catch (error) {
      const newer = mayBeNewer(error) ? await known.refetched(sender) : known
      if (newer.signedBy === known.signedBy) throw error
      return use(newer)
    }
  }

  async function withUserinfo(
    { configuration, metadata, proven }: AuthorizationServer,
    { accessToken, key }: Pick<TokenSet, 'accessToken' | 'key'>,
    claims: Record<string, unknown> & { sub: string },
  ): Promise<Record<string, unknown>> {
    const missing = [...keptClaims].some((name) => claims[name] === undefined)
    const wanted = provider.userinfo === true || (provider.userinfo === 'auto' && missing)
    if (!wanted) return claims
    if (metadata.userinfo_endpoint === undefined) {
      const event = 'userinfo.failed'
      if (provider.userinfo === true) platform.log({ event, provider: provider.id, reason: 'metadata_incomplete' })
      return claims
    }
    try {
      const more = await proven.send(configuration, key, (proof) =>
        client.fetchUserInfo(configuration, accessToken, claims.sub, proof),
      )
      return { ...more, ...claims }
    } catch (error) {
      const reason = userinfoReasonOf(error)
      // An answer about somebody else is an attack; no answer is only a pity.
      if (reason === 'userinfo_mismatch') throw new CoatcheckError('login_failed', reason, {}, error)
      if (provider.userinfo === true && reason === 'userinfo_unavailable') throw unavailable(reason, error)
      if (provider.userinfo === true) throw new CoatcheckError('login_failed', reason, {}, error)
      platform.log({ event: 'userinfo.failed', provider: provider.id, reason })
      return claims
    }
  }

  /** Who signed in, once the ID token is verified: with what was asked of the sign-in checked, and further claims. */
  async function identified(
    server: AuthorizationServer,
    identity: Awaited<ReturnType<AuthorizationServer['idTokens']['verify']>>,
    accessToken: string,
    { nonce, acrValues, maxAge, key }: LoginTransaction,
  ): Promise<Omit<SignIn, 'tokens' | 'beganAt'>> {
    const { acr, auth_time, sid } = identity
    if (acrValues !== undefined && !acrValues.split(' ').includes(String(acr))) {
      throw new CoatcheckError('login_failed', 'acr_not_satisfied')
    }
    const claims = await withUserinfo(server, { accessToken, key }, identity)
    return {
      provider: provider.id,
      issuer,
      subject: identity.sub,
      providerSession: typeof sid === 'string' ? sid : undefined,
      nonce,
      claims: Object.fromEntries(Object.entries(claims).filter(([name]) => keptClaims.has(name))),
      acr: typeof acr === 'string' ? acr : undefined,
      authTime: typeof auth_time === 'number' ? auth_time : undefined,
      askedMaxAge: maxAge,
      endsBy: sessionEndOf(identity),
    }
  }

  async function revoke({ refreshToken, accessToken }: Revocable): Promise<void> {
    const { configuration, metadata } = await server()
    if (metadata.revocation_endpoint === undefined) return
    try {
      if (refreshToken !== undefined) {
        await client.tokenRevocation(configuration, refreshToken, { token_type_hint: 'refresh_token' })
      }
      if (accessToken === '') return
      await client.tokenRevocation(configuration, accessToken, { token_type_hint: 'access_token' }).catch((error) => {
        // With the refresh token the access tokens may have ended (RFC 7009, section 2.1). Some servers then refuse them
        // as unknown, which section 2.2 forbids.
        if (refreshToken === undefined || !isTokenUnknown(error)) throw error
      })
    } catch (error) {
      // A server need not be able to revoke access tokens (RFC 7009, section 2.2.1): they end by themselves.
      if (!isUnsupportedTokenType(error)) throw unavailable(reasonOf(error), error)
    }
  }

  /** Nobody will ever use these tokens, and nobody waits until they are revoked. */
  function withdraw(tokens: Revocable): void {
    platform.waitUntil(revoke(tokens).catch(() => {}))
  }

  return {
    provider,
    callbackPath,
    at: (publicUrl) => createRelyingParty(provider, callbackPath, { ...config, publicUrl }, platform, server),

    ready: () =>
      server().then(
        () => true,
        () => false,
      ),

    bindingKey: async () => (bindsTokens(provider) ? newBindingKey() : undefined),
    publicKeys: () => publicKeys(provider),

    async authorizationUrl(transaction, asked) {
      return requests.urlFor(await server(), transaction, asked)
    },

    open: (answer) => withNewest((known) => opened(answer, provider, known), 'anybody'),

    async finish(answer, transaction) {
      const authorizationServer = await server()
      const { redeeming, metadata, proven } = authorizationServer
      checkIssuer(answer.iss, provider, metadata)
      const sentAt = platform.now()
      const callback = new URL(redirectUri)
      for (const [name, value] of Object.entries(answer)) callback.searchParams.set(name, value)
      try {
        const { key } = transaction
        const checks = {
          expectedState: transaction.state,
          pkceCodeVerifier: transaction.codeVerifier,
        }
        const answer = await proven.send(redeeming, key, (proof) =>
          client.authorizationCodeGrant(redeeming, callback, checks, {}, proof),
        )
        try {
          const response = codeAnswer(answer, key)
          const { id_token: idToken, access_token: accessToken } = response
          const asked = { nonce: transaction.nonce, maxAge: transaction.maxAge }
          const expected = { issuer, clientId, accessToken, asked }
          const identity = await withNewest(({ idTokens }) => idTokens.verify(idToken, expected))
          const scope = requests.scopeOf(transaction)
          const tokens = tokenSet(hinted(provider, response, idToken), sentAt, lead, { scope, key })
          const refusedScope = transaction.moreScope.filter((one) => !grants(tokens, [one]))
          if (!isOfTypesAsked(response.authorization_details, provider)) {
            throw new CoatcheckError('login_failed', 'authorization_details_mismatch')
          }
          const who = await identified(await server(), identity, accessToken, transaction)
          return { ...who, refusedScope: refusedScope.length > 0 ? refusedScope : undefined, tokens, beganAt: sentAt }
        } catch (error) {
          // Whatever of it is a token, nobody will ever use it.
          const { access_token: accessToken, refresh_token: refreshToken } = refreshAnswer(answer)
          withdraw({ accessToken, refreshToken })
          throw error
        }
      } catch (error) {
        throw refusedByServer(error)
      }
    },

    ...tokenGrants,
    ...createInspection(provider, server, platform),

    revoke,

    async logoutToken(jwt) {
      const expected = { issuer, clientId, anyType: provider.backchannelLogout.anyType, now: platform.now() }
      return withNewest(({ idTokens }) => verifiedLogoutToken(jwt, idTokens, expected), 'anybody')
    },

    async endSessionUrl(tokens, state) {
      const { configuration, metadata } = await server()
      if (metadata.end_session_endpoint === undefined) return undefined
      const returnUri = `${config.publicUrl}/auth/logout/callback`
      // openid-client adds client_id. One of the two tells the server who asks (RP-Initiated Logout 1.0, section 2).
      const hint = tokens?.idToken === undefined ? {} : { id_token_hint: tokens.idToken }
      return client.buildEndSessionUrl(configuration, {
        ...signOutParams(provider, returnUri),
        post_logout_redirect_uri: returnUri,
        state,
        ...hint,
      })
    },
  }
}

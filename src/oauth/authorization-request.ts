// What a sign-in asks the authorization server for, and how the question gets there.
import * as client from 'openid-client'
import type { Config, ProviderConfig } from '../config.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { unavailable } from './authorization-server-fetch.ts'
import { signedAs } from './client-keys.ts'
import { thumbprintOf } from './dpop.ts'
import { refusedByServer } from './failures.ts'
import { appliedTo } from './quirks.ts'
import { requiresPushedRequests } from './security-profile.ts'
import type { BindingKey } from './token-set.ts'

/** What is remembered of a login between its two halves. */
export interface LoginTransaction {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  readonly provider: string
  /** Asked for, so checked on the way back. */
  readonly maxAge?: number | undefined
  readonly acrValues?: string | undefined
  /** Scopes asked for besides the usual ones. */
  readonly moreScope: readonly string[]
  /** What the tokens will be bound to. */
  readonly key?: BindingKey | undefined
}

/** What the user is asked for at sign-in, by the page and by the operator (OpenID Connect Core, section 3.1.2.1). */
export interface LoginHints {
  [name: string]: string | undefined
  prompt?: string | undefined
  max_age?: string | undefined
  acr_values?: string | undefined
  login_hint?: string | undefined
  ui_locales?: string | undefined
}

export interface AuthorizationRequests {
  /** All scopes that this sign-in asks for. */
  scopeOf(transaction: LoginTransaction): string
  /** The address to send the browser to. @throws CoatcheckError `authorization_server_unavailable`, `login_failed` */
  urlFor(server: AuthorizationServer, transaction: LoginTransaction, asked: LoginHints): Promise<URL>
}

export function createAuthorizationRequests(
  provider: ProviderConfig,
  redirectUri: string,
  routes: Config['routes'],
): AuthorizationRequests {
  /** What APIs the user's tokens will be asked for: consent is asked for all at once (RFC 8707, section 2.1). */
  const resources = resourcesOf(routes)
  const { scope, params: extra } = appliedTo(provider)
  const usualScope = scopesOf(scope, routes)

  const scopeOf = ({ moreScope }: LoginTransaction) => [...new Set([...usualScope, ...moreScope])].join(' ')

  async function paramsOf(transaction: LoginTransaction, asked: LoginHints): Promise<URLSearchParams> {
    const params = new URLSearchParams({
      ...extra,
      ...Object.fromEntries(
        Object.entries(asked).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      ),
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: scopeOf(transaction),
      state: transaction.state,
      nonce: transaction.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(transaction.codeVerifier),
      code_challenge_method: 'S256',
    })
    // The code is bound to it too (RFC 9449, section 10).
    if (transaction.key) params.set('dpop_jkt', await thumbprintOf(transaction.key))
    for (const resource of resources) params.append('resource', resource)
    if (provider.responseMode !== 'query') params.set('response_mode', provider.responseMode)
    // From the configuration and nowhere else: a page could ask for any rights (RFC 9396, section 2).
    const { authorizationDetails } = provider
    if (authorizationDetails) params.set('authorization_details', JSON.stringify(authorizationDetails))
    return params
  }

  /** All of it in one signed request object, where that is configured or required (RFC 9101). */
  async function signed(params: URLSearchParams, { configuration, metadata, signing }: AuthorizationServer) {
    if (!provider.jar && metadata.require_signed_request_object !== true) return params
    if (!signing) throw unavailable('request_object_required')
    // Of openid-client are: iss, aud (the issuer, as a string), nbf, a jti of its own, and a life of a minute.
    const change = signedAs(signing.alg, 'oauth-authz-req+jwt')
    const { searchParams } = await client.buildAuthorizationUrlWithJAR(configuration, params, signing, change)
    // Nothing stands beside it that a server could take for the request instead (RFC 9101, section 10.7).
    return new URLSearchParams([...searchParams].filter(([name]) => name === 'client_id' || name === 'request'))
  }

  return {
    scopeOf,

    async urlFor(server, transaction, asked) {
      const { configuration, metadata } = server
      const params = await signed(await paramsOf(transaction, asked), server)
      const isOffered = metadata.pushed_authorization_request_endpoint !== undefined
      const isRequired = metadata.require_pushed_authorization_requests === true || requiresPushedRequests(provider)
      if (isRequired && !isOffered) throw unavailable('metadata_incomplete')
      if (!isRequired && !(provider.par === 'auto' && isOffered)) {
        return client.buildAuthorizationUrl(configuration, params)
      }
      // A server that takes pushed requests gets nothing else: falling back would be a downgrade (RFC 9126, section 4).
      return client.buildAuthorizationUrlWithPAR(configuration, params).catch((error) => {
        throw refusedByServer(error)
      })
    },
  }
}

/** What every sign-in asks for: the provider's scopes, and those that some route needs in users' tokens. */
function scopesOf(scope: string, routes: Config['routes']): readonly string[] {
  const needed = routes.flatMap(({ token }) =>
    token.kind.startsWith('user') && 'scope' in token ? (token.scope ?? '') : '',
  )
  return [scope, ...needed]
    .join(' ')
    .split(' ')
    .filter((name) => name !== '')
}

/** The resources that users' tokens are asked for. */
function resourcesOf(routes: Config['routes']): readonly string[] {
  const named = routes.map(({ token }) =>
    token.kind.startsWith('user') && 'resource' in token ? token.resource : undefined,
  )
  return [...new Set(named)].filter((resource) => resource !== undefined)
}

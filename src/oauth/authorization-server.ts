// One authorization server as it describes itself: metadata and keys, fetched once, kept, renewed beside the traffic.
import * as client from 'openid-client'
import type { ProviderConfig } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import {
  type AuthorizationServerFetch,
  authorizationServerFetch,
  isData,
  isJwt,
  unavailable,
} from './authorization-server-fetch.ts'
import { clientAuthentication, clientCertificate } from './client-authentication.ts'
import { type SigningKey, signingKey } from './client-keys.ts'
import { reasonOf } from './failures.ts'
import { type IdTokenVerifier, idTokenVerifier } from './id-token.ts'
import { hasSafeEndpoints, withoutNull } from './metadata.ts'
import { createAttempts } from './once.ts'
import { type PublishedKeys, publishedKeys } from './published-keys.ts'
import { acceptableAlgorithms, isUpToProfile } from './security-profile.ts'

/** An authorization server that has introduced itself (OpenID Connect Discovery 1.0, section 4). */
export interface AuthorizationServer {
  readonly configuration: client.Configuration
  /** The same for refreshes: it does not ask what time an ID token is of, because the tokens beside it must not be lost. */
  readonly refreshing: client.Configuration
  readonly metadata: Readonly<client.ServerMetadata>
  readonly keys: PublishedKeys
  readonly idTokens: IdTokenVerifier
  /** With what this client signs what it says there. */
  readonly signing: SigningKey | undefined
  readonly fetchedAt: number
}

/** Metadata older than this is fetched again, beside the request that notices. Milliseconds. */
const metadataAge = 3_600_000
/** Where this client has to prove who it is, or that a token is its own. A certificate is shown nowhere else. */
const authenticatingEndpoints = [
  'token_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'pushed_authorization_request_endpoint',
  'userinfo_endpoint',
] as const
type EndpointName = (typeof authenticatingEndpoints)[number]
/** After a failed discovery nobody tries again for this long. Milliseconds. */
const discoveryPause = 1_000

/**
 * Returns a function that gives the server: at once when it is known, else by discovery. What was learned once stays
 * usable while the server is away. A failure is not remembered beyond a moment, and never from start-up on.
 *
 * @param timeout for each request, in milliseconds.
 * @throws CoatcheckError (the returned function) `authorization_server_unavailable`
 */
export function discovered(
  provider: ProviderConfig,
  timeout: number,
  platform: Pick<Platform, 'fetch' | 'log' | 'now' | 'waitUntil'>,
): () => Promise<AuthorizationServer> {
  const { issuer, clientId } = provider
  const insecure = issuer.startsWith('http:')
  const fetch = authorizationServerFetch(platform.fetch)
  const certificate = clientCertificate(provider)
  /** What every request there has in common. */
  const clientMetadata = { use_mtls_endpoint_aliases: certificate !== undefined }
  let known: AuthorizationServer | undefined
  let failed: { error: CoatcheckError; at: number } | undefined

  async function discover(): Promise<AuthorizationServer> {
    const signing = await signingKey(provider)
    const authentication = clientAuthentication(provider, signing)
    const described = await client
      .discovery(new URL(issuer), clientId, clientMetadata, authentication, {
        algorithm: 'oidc',
        timeout: timeout / 1_000,
        [client.customFetch]: fetch,
        execute: insecure ? [client.allowInsecureRequests] : [],
      })
      .catch((error) => {
        const reason = reasonOf(error)
        throw unavailable(reason === 'id_token_claim' ? 'metadata_mismatch' : reason, error)
      })
    const metadata = withoutNull(described.serverMetadata())
    if (metadata.issuer !== issuer) throw unavailable('metadata_mismatch')
    const { authorization_endpoint, token_endpoint, jwks_uri } = metadata
    if (!authorization_endpoint || !token_endpoint || !jwks_uri) throw unavailable('metadata_incomplete')
    if (!hasSafeEndpoints(metadata, issuer)) throw unavailable('metadata_incomplete')
    const authenticating = new Set(authenticatingEndpoints.map((name) => addressOf(metadata, name)))
    // Without TLS nobody would ask for the certificate, and the server could take us for anybody.
    if (certificate && !addressOf(metadata, 'token_endpoint')?.startsWith('https:')) {
      throw unavailable('metadata_incomplete')
    }
    const fetchThere: AuthorizationServerFetch = (url, init) =>
      fetch(url, authenticating.has(url) ? { ...init, certificate } : init)
    if (!isUpToProfile(provider, metadata)) throw unavailable('profile_unsupported')
    const supported = {
      acceptable: acceptableAlgorithms(provider),
      idToken: metadata.id_token_signing_alg_values_supported,
      userinfo: metadata.userinfo_signing_alg_values_supported,
      authorizationResponse: metadata.authorization_signing_alg_values_supported,
    }
    // What is known of the keys outlives what the metadata says about anything else.
    const keys = known?.keys.uri === jwks_uri ? known.keys : publishedKeys(jwks_uri, timeout, { ...platform, fetch })
    const idTokens = idTokenVerifier(keys, supported, platform.now)
    /** @param tolerance of clocks that differ, in seconds. */
    const configured = (tolerance: number, fetch: AuthorizationServerFetch) => {
      const options = { ...clientMetadata, [client.clockTolerance]: tolerance }
      const configuration = new client.Configuration(metadata, clientId, options, authentication)
      configuration.timeout = timeout / 1_000
      configuration[client.customFetch] = fetch
      if (insecure) client.allowInsecureRequests(configuration)
      return configuration
    }
    // openid-client looks at the type of every answer but this one, and at no signature of it.
    const userinfoUrl = addressOf(metadata, 'userinfo_endpoint')
    const configuration = configured(30, async (url, init) => {
      const answer = await fetchThere(url, init)
      if (url !== userinfoUrl || !answer.ok) return answer
      if (!isData(answer)) throw unavailable('response_malformed')
      if (isJwt(answer)) await idTokens.verifyUserinfo(await answer.clone().text())
      return answer
    })
    const refreshing = configured(Number.MAX_SAFE_INTEGER, fetchThere)
    platform.log({ event: 'provider.ready', provider: provider.id })
    return { configuration, refreshing, metadata, keys, idTokens, signing, fetchedAt: platform.now() }
  }

  /** Where an endpoint is for this client: one that proves itself in TLS may have it elsewhere (RFC 8705, section 5). */
  function addressOf(metadata: client.ServerMetadata, name: EndpointName): string | undefined {
    const address = (certificate && metadata.mtls_endpoint_aliases?.[name]) ?? metadata[name]
    return address === undefined ? undefined : new URL(address).href
  }

  async function renew(): Promise<AuthorizationServer> {
    try {
      known = await discover()
      failed = undefined
      return known
    } catch (error) {
      const told = error instanceof CoatcheckError ? error : unavailable('unexpected', error)
      failed = { error: told, at: platform.now() }
      platform.log({ event: 'provider.unavailable', provider: provider.id, reason: told.reason })
      throw told
    }
  }

  const renewed = createAttempts(renew, timeout, platform)

  return async () => {
    const resting = failed !== undefined && platform.now() < failed.at + discoveryPause
    if (known === undefined) {
      if (resting && failed) throw failed.error
      return renewed()
    }
    if (platform.now() > known.fetchedAt + metadataAge && !resting) {
      const stale = known
      // Counted as fetched for the next minute, so that one request and not every request asks.
      known = { ...stale, fetchedAt: platform.now() - metadataAge + 60_000 }
      platform.waitUntil(renewed().catch(() => {}))
    }
    return known
  }
}

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
import { createProvenRequests, type ProvenRequests } from './proven-requests.ts'
import { type PublishedKeys, publishedKeys } from './published-keys.ts'
import { keepingAnswers } from './refresh-answer.ts'
import { acceptableAlgorithms, isUpToProfile } from './security-profile.ts'

/** An authorization server that has introduced itself (OpenID Connect Discovery 1.0, section 4). */
export interface AuthorizationServer {
  readonly configuration: client.Configuration
  /** The same for refreshes, whose answers `refreshAnswer` reads. */
  readonly refreshing: client.Configuration
  /** The same for codes, whose answers `codeAnswer` reads. */
  readonly redeeming: client.Configuration
  readonly metadata: Readonly<client.ServerMetadata>
  readonly keys: PublishedKeys
  readonly idTokens: IdTokenVerifier
  /** How requests there prove the keys that tokens are bound to. */
  readonly proven: ProvenRequests
  /** With what this client signs what it says there. */
  readonly signing: SigningKey | undefined
  readonly fetchedAt: number
  /** What the metadata says of keys and algorithms. */
  readonly signedBy: string
  /**
   * The server as it describes itself by now, for who has seen something that does not fit. The same where it was asked a
   * moment ago or does not answer; never rejects.
   * @param sender who sent what does not fit: `anybody`, unless it was the server itself.
   */
  refetched(sender?: 'anybody'): Promise<AuthorizationServer>
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
/** Metadata is fetched at most this often in a minute for what the metadata at hand cannot verify. */
const fetchesPerMinute = 5
/** ... and for what anybody may have sent only when it is older than this. Milliseconds. */
const leastAge = 60_000
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
  const clientMetadata = { [client.clockTolerance]: 30, use_mtls_endpoint_aliases: certificate !== undefined }
  const proven = createProvenRequests(platform.now)
  let known: AuthorizationServer | undefined
  let failed: { error: CoatcheckError; at: number } | undefined
  /** When metadata was fetched again before its time. */
  let early: number[] = []

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
    const fetchThere = proven.learning((url, init) =>
      fetch(url, authenticating.has(url) ? { ...init, certificate } : init),
    )
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
    const signedBy = JSON.stringify([jwks_uri, supported.idToken, supported.userinfo, supported.authorizationResponse])
    // Which algorithm is right is for `idTokens` to say, who can tell a forgery from a server that has changed its mind.
    const algorithms = [...supported.acceptable, ...(supported.idToken ?? [])]
    const shown = { ...metadata, id_token_signing_alg_values_supported: algorithms }
    const configured = (fetch: AuthorizationServerFetch) => {
      const configuration = new client.Configuration(shown, clientId, clientMetadata, authentication)
      configuration.timeout = timeout / 1_000
      configuration[client.customFetch] = fetch
      if (insecure) client.allowInsecureRequests(configuration)
      return configuration
    }
    // openid-client looks at the type of every answer but this one, and at no signature of it.
    const userinfoUrl = addressOf(metadata, 'userinfo_endpoint')
    const configuration = configured(async (url, init) => {
      const answer = await fetchThere(url, init)
      if (url !== userinfoUrl || !answer.ok) return answer
      if (!isData(answer)) throw unavailable('response_malformed')
      if (isJwt(answer)) await idTokens.verifyUserinfo(await answer.clone().text())
      return answer
    })
    const keeping = configured(keepingAnswers(fetchThere))
    platform.log({ event: 'provider.ready', provider: provider.id })
    const fetchedAt = platform.now()
    const told: AuthorizationServer = {
      ...{ configuration, refreshing: keeping, redeeming: keeping, metadata, keys, idTokens, proven },
      ...{ signing, signedBy, fetchedAt },
      refetched: (sender) => newerThan(told, sender),
    }
    return told
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

  /** Throws unless it may be asked again for the sake of something that could not be verified. Counts it. */
  function admit({ fetchedAt }: AuthorizationServer, sender: 'anybody' | undefined): void {
    const time = platform.now()
    early = early.filter((one) => one > time - 60_000)
    const isYoung = sender === 'anybody' && time < fetchedAt + leastAge
    if (isYoung || early.length >= fetchesPerMinute) throw unavailable('metadata_mismatch')
    early.push(time)
  }

  async function newerThan(old: AuthorizationServer, sender: 'anybody' | undefined): Promise<AuthorizationServer> {
    if (known !== undefined && known.metadata !== old.metadata) return known
    return renewed(() => admit(old, sender)).catch(() => known ?? old)
  }

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

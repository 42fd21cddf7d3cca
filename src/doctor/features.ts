// What the configuration asks of an authorization server, held against what that announces: PAR, PKCE, DPoP, iss, refresh.
import type { ProviderConfig, RouteConfig } from '../config.ts'
import { proofAlgorithm } from '../oauth/dpop.ts'
import { vendorOf } from '../oauth/quirks.ts'
import { acceptableAlgorithms, bindsTokens, requiresPushedRequests } from '../oauth/security-profile.ts'
import type { Vendor } from '../oauth/vendor.ts'
import { type Finding, type FindingCode, finding } from './findings.ts'
import { endpointOf, listOf, named, type Patient, type World } from './world.ts'

export function checkFeatures({ config }: World, patient: Patient): Finding[] {
  const { provider, metadata, about } = patient
  const found: Finding[] = []
  const ask = (code: FindingCode, what: string) => found.push(finding(code, about, what))
  checkAuthentication(patient, ask)
  checkRequests(patient, ask)
  const names = metadata.authorization_response_iss_parameter_supported === true
  if (provider.profile === 'fapi2' && !names)
    ask('iss_missing', 'The metadata announces no iss in authorization responses.')
  else if (config.providers.length > 1 && !names) {
    found.push(finding('iss_unsupported', about, 'The metadata announces no iss in authorization responses.'))
  }
  if (provider.userinfo === true && endpointOf(metadata, 'userinfo_endpoint') === undefined) {
    ask('userinfo_missing', 'The metadata has no userinfo_endpoint.')
  }
  if (endpointOf(metadata, 'revocation_endpoint') === undefined) {
    found.push(finding('revocation_missing', about, 'The metadata has no revocation_endpoint.'))
  }
  return [...found, ...checkGrants(config, patient), ...checkRefresh(config, patient)]
}

type Tell = (code: FindingCode, what: string) => void

function checkAuthentication({ provider, metadata }: Patient, tell: Tell): void {
  const { clientAuth } = provider
  const methods = listOf(metadata, 'token_endpoint_auth_methods_supported')
  if (methods && !methods.includes(clientAuth.method)) {
    tell('client_auth_unannounced', `${clientAuth.method} is not announced, but ${named(methods)}.`)
  }
  if (clientAuth.method !== 'private_key_jwt') return
  const algorithm = signatureOf(provider) ?? clientAuth.alg
  const algorithms = listOf(metadata, 'token_endpoint_auth_signing_alg_values_supported')
  if (algorithms && !algorithms.includes(algorithm)) {
    tell('client_auth_unannounced', `Signatures by ${algorithm} are not announced, but ${named(algorithms)}.`)
  }
}

/** How authorization requests and their answers travel, and what tokens are bound to. */
function checkRequests({ provider, metadata }: Patient, tell: Tell): void {
  if (!listOf(metadata, 'code_challenge_methods_supported')?.includes('S256')) {
    tell('pkce_unannounced', 'The metadata does not announce PKCE with S256.')
  }
  const offersPar = endpointOf(metadata, 'pushed_authorization_request_endpoint') !== undefined
  if (requiresPushedRequests(provider) && !offersPar) {
    tell('par_missing', 'The metadata has no pushed_authorization_request_endpoint.')
  }
  if (provider.par === false && offersPar) tell('par_unused', 'The server takes pushed requests, and `par` is false.')
  const proofs = listOf(metadata, 'dpop_signing_alg_values_supported')
  if (bindsTokens(provider) && !proofs) tell('dpop_unsupported', 'The metadata announces no DPoP.')
  else if (bindsTokens(provider) && !proofs?.includes(proofAlgorithm)) {
    tell('dpop_unsupported', `Keys are proven with ${proofAlgorithm}, and announced is ${named(proofs ?? [])}.`)
  }
  const isBound = bindsTokens(provider) || metadata.tls_client_certificate_bound_access_tokens === true
  if (provider.profile === 'fapi2' && !isBound) {
    tell('tokens_unbound', 'The metadata announces no access tokens that are bound to a certificate.')
  }
  const hasKey =
    provider.keys.length > 0 || ('key' in provider.clientAuth && provider.clientAuth.method === 'private_key_jwt')
  if (metadata.require_signed_request_object === true && !hasKey) {
    tell(
      'request_object_required',
      'The metadata asks for signed authorization requests, and there is no key to sign with.',
    )
  }
  checkSignatures({ provider, metadata }, tell)
  const types = listOf(metadata, 'authorization_details_types_supported')
  const missing = (provider.authorizationDetails ?? []).map(({ type }) => type).filter((type) => !types?.includes(type))
  if (missing.length > 0) {
    tell('authorization_details_unsupported', `Not announced is authorization_details of type ${named(missing)}.`)
  }
}

/** What signs authorization requests and their answers. */
function checkSignatures({ provider, metadata }: Pick<Patient, 'provider' | 'metadata'>, tell: Tell): void {
  const isSigned = provider.jar || metadata.require_signed_request_object === true
  const algorithm = signatureOf(provider)
  const taken = listOf(metadata, 'request_object_signing_alg_values_supported')
  if (isSigned && algorithm !== undefined && taken && !taken.includes(algorithm)) {
    tell('request_object_unannounced', `Requests are signed with ${algorithm}, and announced is ${named(taken)}.`)
  }
  if (provider.responseMode === 'query') return
  const modes = listOf(metadata, 'response_modes_supported')
  if (modes && !modes.some((mode) => mode === 'jwt' || mode === 'query.jwt')) {
    const what = `\`responseMode\` is ${provider.responseMode}, and announced is ${named(modes)}.`
    tell('signed_response_unsupported', what)
    return
  }
  // What is not announced is RS256 (JARM, section 3).
  const algorithms = listOf(metadata, 'authorization_signing_alg_values_supported') ?? ['RS256']
  if (!algorithms.some((one) => acceptableAlgorithms(provider).has(one))) {
    tell('signed_response_unsupported', `Answers are signed with ${named(algorithms)} only, which is not believed.`)
  }
}

/** What assertions and request objects of this client are signed with. */
function signatureOf({ clientAuth, keys }: ProviderConfig): string | undefined {
  const isOwn = clientAuth.method === 'private_key_jwt' && clientAuth.key !== undefined
  return isOwn ? clientAuth.alg : keys[0]?.alg
}

/** Tokens that routes need besides those of a sign-in. */
function checkGrants({ providers, routes }: World['config'], { provider, metadata }: Patient): Finding[] {
  const grants = listOf(metadata, 'grant_types_supported')
  if (!grants) return []
  return routes.flatMap(({ path, token }) => {
    const isHere =
      'provider' in token ? (token.provider ?? providers[0]?.id) === provider.id : providers[0] === provider
    const grant = grantOf(token.kind)
    if (grant === undefined || grants.includes(grant) || !(isHere || token.kind === 'exchange')) return []
    const what = `Its tokens come from ${provider.id} by ${grant}, which grant_types_supported does not have.`
    return [finding('grant_unsupported', `route ${path}`, what)]
  })
}

function grantOf(kind: RouteConfig['token']['kind']): string | undefined {
  if (kind === 'client' || kind === 'user-or-client') return 'client_credentials'
  return kind === 'exchange' ? 'urn:ietf:params:oauth:grant-type:token-exchange' : undefined
}

/** Whether refresh tokens will come, and whether they change with use. */
function checkRefresh({ store }: World['config'], { provider, metadata, about }: Patient): Finding[] {
  const vendor = vendorOf(provider.issuer, metadata)
  const asks = provider.scope.split(' ').includes('offline_access')
  const scopes = listOf(metadata, 'scopes_supported')
  const grants = listOf(metadata, 'grant_types_supported')
  if (grants && !grants.includes('refresh_token')) {
    return [finding('refresh_unsupported', about, 'grant_types_supported does not have refresh_token.')]
  }
  const found: Finding[] = []
  const isOurs = vendor?.applied?.dropScope?.includes('offline_access') === true
  if (asks && isOurs) {
    found.push(finding('refresh_ok', about, `${vendor.refreshTokens.says} (${vendor.refreshTokens.source})`))
  } else if (asks && scopes && !scopes.includes('offline_access')) {
    found.push(finding('offline_access_unannounced', about, 'scopes_supported does not have offline_access.'))
  } else if (!asks && needsOfflineAccess(vendor, scopes)) {
    found.push(
      finding('offline_access_missing', about, '`scope` does not have offline_access.', vendor?.refreshTokens.says),
    )
  } else if (asks && !vendor && !provider.authorizationParams.prompt?.split(' ').includes('consent')) {
    const what = '`scope` has offline_access, and nothing asks for consent.'
    found.push(finding('offline_access_consent', about, what))
  } else {
    const what = vendor?.refreshTokens.says ?? 'Nothing in the metadata speaks against refresh tokens.'
    found.push(finding('refresh_ok', about, what))
  }
  return [...found, ...checkRotation(vendor, store.type === 'memory', about)]
}

/** By the vendor, else by the metadata: a server that has the scope may want it. */
function needsOfflineAccess(vendor: Vendor | undefined, scopes: readonly string[] | undefined): boolean {
  return vendor ? vendor.offlineAccess === 'needed' : (scopes?.includes('offline_access') ?? false)
}

function checkRotation(vendor: Vendor | undefined, isAlone: boolean, about: string): Finding[] {
  const { rotation } = vendor ?? {}
  const found = [
    finding(
      'rotation',
      about,
      rotation?.says ?? 'Whether refresh tokens rotate cannot be told without a sign-in; both will do.',
    ),
  ]
  if (rotation?.byDefault === true && isAlone) {
    found.push(finding('rotation_unshared', about, 'Refresh tokens rotate, and `store.type` is memory.'))
  }
  return found
}

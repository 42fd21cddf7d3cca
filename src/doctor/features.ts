// What the configuration asks of an authorization server, held against what that announces: PAR, PKCE, DPoP, iss, refresh.
import type { Vendor } from '../oauth/providers.ts'
import { vendorOf } from '../oauth/quirks.ts'
import { type Finding, finding } from './findings.ts'
import { endpointOf, listOf, named, type Patient, type World } from './world.ts'

export function checkFeatures({ config }: World, patient: Patient): Finding[] {
  const { provider, metadata, about } = patient
  const found: Finding[] = []
  const methods = listOf(metadata, 'token_endpoint_auth_methods_supported')
  const method = provider.clientAuth.method
  if (methods && !methods.includes(method)) {
    found.push(finding('client_auth_unannounced', about, `${method} is not announced, but ${named(methods)}.`))
  }
  if (!listOf(metadata, 'code_challenge_methods_supported')?.includes('S256')) {
    found.push(finding('pkce_unannounced', about, 'The metadata does not announce PKCE with S256.'))
  }
  const offersPar = endpointOf(metadata, 'pushed_authorization_request_endpoint') !== undefined
  // Profiles that are not there yet, or ask for PAR themselves, read as what they are: text.
  if ((provider.par === true || String(provider.profile) === 'fapi2') && !offersPar) {
    found.push(finding('par_missing', about, 'The metadata has no pushed_authorization_request_endpoint.'))
  }
  if (provider.par === false && offersPar) {
    found.push(finding('par_unused', about, 'The server takes pushed requests, and `par` is false.'))
  }
  if (provider.dpop && !listOf(metadata, 'dpop_signing_alg_values_supported')) {
    found.push(finding('dpop_unsupported', about, 'The metadata announces no DPoP.'))
  }
  const names = metadata.authorization_response_iss_parameter_supported === true
  if (config.providers.length > 1 && !names) {
    found.push(finding('iss_unsupported', about, 'The metadata announces no iss in authorization responses.'))
  }
  if (endpointOf(metadata, 'revocation_endpoint') === undefined) {
    found.push(finding('revocation_missing', about, 'The metadata has no revocation_endpoint.'))
  }
  return [...found, ...checkRefresh(config, patient)]
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

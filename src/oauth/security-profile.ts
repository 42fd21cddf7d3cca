// What a security profile asks of an authorization server at run time; of the settings it asks in config-profile.ts.
import type { ServerMetadata } from 'openid-client'
import type { ProviderConfig } from '../config.ts'
import { signatureAlgorithms } from '../config-values.ts'

const acceptable = new Set<string>(signatureAlgorithms)

/** Whether tokens are bound to a key of their session: where it is set, and with FAPI 2.0 unless a certificate binds them. */
export function bindsTokens({ dpop, profile, clientAuth }: ProviderConfig): boolean {
  return dpop ?? (profile === 'fapi2' && !clientAuth.method.endsWith('tls_client_auth'))
}

/** FAPI 2.0 Security Profile, section 5.4.1: these, and EdDSA on the curve Ed25519. */
const acceptableToFapi = new Set(['PS256', 'ES256', 'EdDSA', 'Ed25519'])

/** Algorithms that what the authorization server signs may be signed with at all. */
export function acceptableAlgorithms({ profile }: ProviderConfig): ReadonlySet<string> {
  return profile === 'fapi2' ? acceptableToFapi : acceptable
}

/** Whether authorization requests go through the server's own endpoint or not at all (section 5.3.3.2, item 1). */
export function requiresPushedRequests({ par, profile }: ProviderConfig): boolean {
  return par === true || profile === 'fapi2'
}

/** Whether every authorization response has to say whose it is (section 5.3.3.2, item 6; RFC 9207). */
export function requiresIssuer({ profile }: ProviderConfig, metadata: ServerMetadata): boolean {
  return profile === 'fapi2' || metadata.authorization_response_iss_parameter_supported === true
}

/** Whether the server has what the profile cannot do without: pushed requests, and tokens bound to who they are for. */
export function isUpToProfile(provider: ProviderConfig, metadata: ServerMetadata): boolean {
  if (provider.profile !== 'fapi2') return true
  const areBound = bindsTokens(provider) || metadata.tls_client_certificate_bound_access_tokens === true
  return metadata.pushed_authorization_request_endpoint !== undefined && areBound
}

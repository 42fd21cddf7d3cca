// What the authorization server says of itself, and the key it signs with.
import { createPrivateKey, sign } from 'node:crypto'

export const issuer = 'https://as.example'
export const clientId = 'simulated'

/** Made once, and of no use anywhere else. */
const publicPart = {
  ...{ kty: 'EC', crv: 'P-256' },
  x: 'WMCEv5fpgbwkbgNuEQ3-MFbr52FpoiBScuGz02JIsqo',
  y: 'wMOwFBhDiJqutJVAbksyEKipZLBNYcE4ne8ZFJZuW7E',
}
const key = createPrivateKey({
  format: 'jwk',
  key: { ...publicPart, d: 'RY1TB-dkmibgYOgHNzQ5_Iox5OLguSUpIETIRVpj7sM' },
})
export const jwk = { ...publicPart, kid: 'k1', use: 'sig', alg: 'ES256' }

/** A JWT signed by the server. */
export function jwt(claims: object, header: object = {}): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const input = `${encode({ alg: 'ES256', kid: 'k1', ...header })}.${encode(claims)}`
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

export const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  revocation_endpoint: `${issuer}/revoke`,
  end_session_endpoint: `${issuer}/end-session`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['ES256'],
  code_challenge_methods_supported: ['S256'],
  authorization_response_iss_parameter_supported: true,
}

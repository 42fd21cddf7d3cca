// An authorization server that is all a FAPI 2.0 server has to be, and a client whose one setting for it is the profile.
import { constants, type KeyObject, sign } from 'node:crypto'
import { exportPKCS8, generateKeyPair } from 'jose'
import type { ConfigInput } from '../../src/config.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { selfSigned } from './certificate.ts'

const client = await generateKeyPair('ES256', { extractable: true })
const clientAuth = {
  method: 'private_key_jwt' as const,
  key: await exportPKCS8(client.privateKey),
  alg: 'ES256' as const,
}

/** Over TLS, as the profile asks: the certificate of the server. */
export const fapiCertificate = selfSigned('localhost')

/** As the profile asks of a server: pushed requests of a client that signs, bound tokens, signatures with PS256. */
export async function asFapi(as: AuthorizationServer): Promise<void> {
  await as.rotateKeys('PS256')
  as.behaviour.clientKey = client.publicKey
  as.behaviour.dpop = { nonce: 'CANARY-as-nonce' }
  as.behaviour.metadata = (metadata) => {
    Object.assign(metadata, {
      pushed_authorization_request_endpoint: `${as.issuer}/par`,
      require_pushed_authorization_requests: true,
      token_endpoint_auth_methods_supported: ['private_key_jwt'],
      authorization_signing_alg_values_supported: ['PS256'],
    })
  }
}

/** The profile, and nothing else that would do the same. */
export function withFapi(more: Partial<ConfigInput['providers'][number]> = {}) {
  return ({ config }: { config: ConfigInput }) => ({
    publicUrl: 'https://app.example',
    providers: config.providers.map(({ allowInsecureRequests, ...one }) => ({
      ...one,
      clientAuth,
      profile: 'fapi2' as const,
      ...more,
    })),
  })
}

/** Signs as PS256 does (RFC 7518, section 3.5). */
export const ps256 = (key: KeyObject) => (input: string) =>
  sign('sha256', Buffer.from(input), {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  })

// Private keys for a client under test, as its configuration takes them.
import { exportPKCS8, generateKeyPair } from 'jose'

export type ClientKeyAlgorithm = 'PS256' | 'ES256' | 'EdDSA' | 'Ed25519' | 'RS256'

export interface ClientKey {
  readonly key: string
  readonly alg: ClientKeyAlgorithm
  readonly kid?: string
}

export async function newClientKey(alg: ClientKeyAlgorithm, kid?: string): Promise<ClientKey> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { key: await exportPKCS8(privateKey), alg, ...(kid === undefined ? {} : { kid }) }
}

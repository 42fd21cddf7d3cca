// The private keys of this client at one authorization server: which of them signs, and what is published of them all.
import { calculateJwkThumbprint, exportJWK, importPKCS8, type JWK } from 'jose'
import { type ModifyAssertionOptions, modifyAssertion } from 'openid-client'
import type { ProviderConfig } from '../config.ts'

type KeySettings = ProviderConfig['keys'][number]

/** What signs for this client. */
export interface SigningKey {
  readonly key: CryptoKey
  readonly kid: string
  /** As the authorization server calls it: one algorithm has two names, `EdDSA` and `Ed25519`. */
  readonly alg: string
}

/** All keys of this client there, the one that signs first. */
function keysOf({ clientAuth, keys }: ProviderConfig): readonly KeySettings[] {
  if (clientAuth.method !== 'private_key_jwt' || clientAuth.key === undefined) return keys
  const { key, alg, kid } = clientAuth
  return [{ key, alg, kid }, ...keys]
}

/** The key that signs client assertions and request objects; `undefined` where the client has none. */
export async function signingKey(provider: ProviderConfig): Promise<SigningKey | undefined> {
  const [first] = keysOf(provider)
  if (!first) return undefined
  const { kid } = await publicKey(first)
  return { key: await importPKCS8(first.key, first.alg), kid, alg: first.alg }
}

/** The public halves of all keys (RFC 7517), for the server to verify with. */
export async function publicKeys(provider: ProviderConfig): Promise<JWK[]> {
  return Promise.all(keysOf(provider).map(publicKey))
}

/** Members are named one by one: what a later kind of key may have as its secret is not among them. */
async function publicKey({ key, alg, kid }: KeySettings): Promise<JWK & { kid: string }> {
  const { kty, crv, x, y, n, e } = await exportJWK(await importPKCS8(key, alg, { extractable: true }))
  const members = Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined)
  const jwk: JWK = Object.fromEntries(members)
  return { ...jwk, kid: kid ?? (await calculateJwkThumbprint(jwk)), alg, use: 'sig' }
}

/**
 * What is changed of a JWT before it is signed: the algorithm by the name that the server knows.
 * @param typ a type of its own, so that no other kind of JWT passes for this one (RFC 8725, section 3.11).
 */
export function signedAs(alg: string, typ: string): ModifyAssertionOptions {
  return {
    [modifyAssertion]: (header) => {
      header.alg = alg
      header.typ = typ
    },
  }
}

// Tokens bound to a key (RFC 9449): the key of a session, and the proofs that go with its token.
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose'
import { LRUCache } from 'lru-cache'
import * as client from 'openid-client'
import { base64url, randomText } from '../session/seal.ts'
import type { AccessToken, BindingKey } from './token-set.ts'

/** Every server that knows DPoP knows this one (FAPI 2.0, section 5.4.1, allows it). */
const alg = 'ES256'

export { alg as proofAlgorithm }

/** A request that is to be proven. */
export interface Proven {
  readonly method: string
  /** Where it goes, without query and fragment (RFC 9449, section 4.2). */
  readonly url: string
}

export interface Dpop {
  /** The `DPoP` header for a call with a token that is bound to a key. */
  prove(token: AccessToken & { readonly key: BindingKey }, request: Proven): Promise<string>
  /** Remembers what a server wants in the next proof. Each origin has nonces of its own (RFC 9449, section 8.2). */
  learn(origin: string, nonce: string | undefined): void
}

/** A key for one sign-in. It is kept with the tokens, sealed. */
export async function newBindingKey(): Promise<BindingKey> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const { x = '', y = '', d = '' } = await exportJWK(privateKey)
  return { x, y, d }
}

/** What names the key towards the authorization server: `dpop_jkt` (RFC 9449, section 10). */
export function thumbprintOf({ x, y }: BindingKey): Promise<string> {
  return calculateJwkThumbprint({ ...curve, x, y })
}

const curve = { kty: 'EC', crv: 'P-256' } as const

const imported = async (jwk: BindingKey | Omit<BindingKey, 'd'>) => {
  const key = await importJWK({ ...curve, ...jwk }, alg)
  if (key instanceof Uint8Array) throw new TypeError('A binding key is never symmetric')
  return key
}

/** Handles by key, so that nonces that a server gave are used again. */
const handles = new WeakMap<client.Configuration, LRUCache<string, client.DPoPHandle>>()

/** What openid-client proves its requests with. */
export async function handleFor(configuration: client.Configuration, key: BindingKey): Promise<client.DPoPHandle> {
  const known = handles.get(configuration) ?? new LRUCache({ max: 5_000 })
  handles.set(configuration, known)
  const { x, y } = key
  const handle =
    known.get(key.d) ??
    client.getDPoPHandle(configuration, {
      privateKey: await imported(key),
      publicKey: await crypto.subtle.importKey(
        'jwk',
        { ...curve, x, y },
        { name: 'ECDSA', namedCurve: curve.crv },
        true,
        ['verify'],
      ),
    })
  known.set(key.d, handle)
  return handle
}

export function createDpop(now: () => number): Dpop {
  const keys = new LRUCache<string, CryptoKey>({ max: 5_000 })
  const nonces = new LRUCache<string, string>({ max: 1_000 })

  async function keyOf(key: BindingKey): Promise<CryptoKey> {
    const known = keys.get(key.d) ?? (await imported(key))
    keys.set(key.d, known)
    return known
  }

  return {
    async prove({ accessToken, key }, { method, url }) {
      const { x, y } = key
      const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(accessToken))
      const nonce = nonces.get(new URL(url).origin)
      return new SignJWT({ htm: method, htu: url, ath: base64url(new Uint8Array(hash)), ...(nonce && { nonce }) })
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk: { ...curve, x, y } })
        .setJti(randomText(16))
        .setIssuedAt(Math.floor(now() / 1_000))
        .sign(await keyOf(key))
    },

    learn(origin, nonce) {
      // What could not be in a JWT of reasonable size is not kept.
      if (nonce !== undefined && /^[\x21\x23-\x5b\x5d-\x7e]{1,512}$/.test(nonce)) nonces.set(origin, nonce)
    },
  }
}

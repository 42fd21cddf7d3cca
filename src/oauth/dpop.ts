// Tokens bound to a key (RFC 9449): the key of a session, and the proofs that go with its token.
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose'
import { LRUCache } from 'lru-cache'
import { type HeaderRecord, headerText } from '../platform.ts'
import { base64url, randomText } from '../session/seal.ts'
import { isNonceWanted, isProofRefused } from '../upstream/challenges.ts'
import { createProofWishes, isNonce } from './proof-wishes.ts'
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

/** How far a call has got. */
export interface ProvenTry {
  /** The nonce that it was challenged with, and that is in its last proof. */
  nonce: string | undefined
  /** Whether a refused proof is worth another. */
  proof: boolean
}

export interface Dpop {
  /**
   * The `DPoP` header for a call with a token that is bound to a key.
   * @param nonce the one that this very call was challenged with; else the last that the server gave to anybody.
   */
  prove(token: AccessToken & { readonly key: BindingKey }, request: Proven, nonce?: string): Promise<string>
  /**
   * Learns from an answer of an API.
   * @returns with what another proof may be accepted, where this one was not (RFC 9449, sections 7.1 and 9)
   */
  learn(origin: string, status: number, answer: HeaderRecord, tried: ProvenTry): Pick<ProvenTry, 'nonce'> | undefined
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

const imported = async (jwk: BindingKey) => {
  const key = await importJWK({ ...curve, ...jwk }, alg)
  if (key instanceof Uint8Array) throw new TypeError('A binding key is never symmetric')
  return key
}

/** Both halves, the public one to be shown. */
export async function keyPairOf(key: BindingKey): Promise<{ privateKey: CryptoKey; publicKey: CryptoKey }> {
  const { x, y } = key
  const jwk = { ...curve, x, y }
  const algorithm = { name: 'ECDSA', namedCurve: curve.crv }
  const publicKey = await crypto.subtle.importKey('jwk', jwk, algorithm, true, ['verify'])
  return { privateKey: await imported(key), publicKey }
}

export function createDpop(now: () => number): Dpop {
  const keys = new LRUCache<string, CryptoKey>({ max: 5_000 })
  const wishes = createProofWishes(now)

  async function keyOf(key: BindingKey): Promise<CryptoKey> {
    const known = keys.get(key.d) ?? (await imported(key))
    keys.set(key.d, known)
    return known
  }

  return {
    async prove({ accessToken, key }, { method, url }, challenged) {
      const { x, y } = key
      const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(accessToken))
      const wish = wishes.of(new URL(url).origin)
      const nonce = challenged ?? wish.nonce
      return new SignJWT({ htm: method, htu: url, ath: base64url(new Uint8Array(hash)), ...(nonce && { nonce }) })
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk: { ...curve, x, y } })
        .setJti(randomText(16))
        .setIssuedAt(wish.iat)
        .sign(await keyOf(key))
    },

    learn(origin, status, answer, tried) {
      const nonce = headerText(answer, 'dpop-nonce')
      const challenge = (status === 401 && tried.proof && headerText(answer, 'www-authenticate')) || ''
      // For this call alone: it may be good once, and others must not be faster.
      if (isNonceWanted(challenge)) return { nonce: isNonce(nonce) ? nonce : undefined }
      wishes.learn(origin, nonce ?? tried.nonce)
      const isOfClock = isProofRefused(challenge) && wishes.goBy(origin, headerText(answer, 'date'))
      return isOfClock ? { nonce: undefined } : undefined
    },
  }
}

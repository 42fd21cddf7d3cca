// The same cryptography without threads: WebCrypto answers whenever its thread pool is done, and a schedule that is to be
// told twice cannot wait for that. The results are those of WebCrypto, byte for byte; chance comes from the seed.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  hkdfSync,
  type JsonWebKeyInput,
  KeyObject,
  pbkdf2Sync,
  verify,
} from 'node:crypto'
import type { Random } from './random.ts'

type Bytes = ArrayBuffer | ArrayBufferView
interface Algorithm {
  name: string
  hash?: string | { name: string }
  salt?: Bytes
  info?: Bytes
  iv?: Bytes
  iterations?: number
  namedCurve?: string
}

/** A key that never leaves this file: nobody but these functions looks inside. */
interface SecretKey {
  readonly algorithm: Algorithm
  readonly bytes: Buffer
}

const algorithmOf = (given: string | Algorithm): Algorithm => (typeof given === 'string' ? { name: given } : given)
const bufferOf = (data: Bytes = new ArrayBuffer(0)) =>
  data instanceof ArrayBuffer ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength)
const hashOf = ({ hash = 'SHA-256' }: Algorithm) =>
  (typeof hash === 'string' ? hash : hash.name).replace('-', '').toLowerCase()
const exactly = (buffer: Buffer): ArrayBuffer => new Uint8Array(buffer).buffer

function hmac(key: SecretKey, data: Bytes): Buffer {
  return createHmac(hashOf(key.algorithm), key.bytes).update(bufferOf(data)).digest()
}

const subtle = {
  async digest(algorithm: string | Algorithm, data: Bytes): Promise<ArrayBuffer> {
    const name = algorithmOf(algorithm).name.replace('-', '').toLowerCase()
    return exactly(createHash(name).update(bufferOf(data)).digest())
  },
  async importKey(
    format: string,
    data: Bytes | JsonWebKeyInput['key'],
    algorithm: string | Algorithm,
    extractable: boolean,
    usages: KeyUsage[],
  ): Promise<SecretKey | CryptoKey> {
    // jose asks for a real key.
    if (format === 'jwk') {
      const key = createPublicKey({ key: data as JsonWebKeyInput['key'], format: 'jwk' })
      // The types of Node and of the DOM name the same thing twice.
      return key.toCryptoKey(algorithmOf(algorithm), extractable, usages) as CryptoKey
    }
    return { algorithm: algorithmOf(algorithm), bytes: Buffer.from(bufferOf(data as Bytes)) }
  },
  async deriveBits({ salt, info, ...rest }: Algorithm, key: SecretKey, bits: number): Promise<ArrayBuffer> {
    return hkdfSync(hashOf(rest), key.bytes, bufferOf(salt), bufferOf(info), bits / 8)
  },
  async deriveKey(algorithm: Algorithm, key: SecretKey, wanted: Algorithm): Promise<SecretKey> {
    const { salt, iterations = 1 } = algorithm
    return { algorithm: wanted, bytes: pbkdf2Sync(key.bytes, bufferOf(salt), iterations, 32, hashOf(algorithm)) }
  },
  async encrypt({ iv }: Algorithm, key: SecretKey, data: Bytes): Promise<ArrayBuffer> {
    const cipher = createCipheriv('aes-256-cbc', key.bytes, bufferOf(iv))
    return exactly(Buffer.concat([cipher.update(bufferOf(data)), cipher.final()]))
  },
  async decrypt({ iv }: Algorithm, key: SecretKey, data: Bytes): Promise<ArrayBuffer> {
    const cipher = createDecipheriv('aes-256-cbc', key.bytes, bufferOf(iv))
    return exactly(Buffer.concat([cipher.update(bufferOf(data)), cipher.final()]))
  },
  async sign(_: string | Algorithm, key: SecretKey, data: Bytes): Promise<ArrayBuffer> {
    return exactly(hmac(key, data))
  },
  async verify(_: string | Algorithm, key: SecretKey | CryptoKey, signature: Bytes, data: Bytes): Promise<boolean> {
    if ('bytes' in key) return hmac(key, data).equals(bufferOf(signature))
    const options = { key: KeyObject.from(key), dsaEncoding: 'ieee-p1363' as const }
    return verify('sha256', bufferOf(data), options, bufferOf(signature))
  },
}

/** Puts this in the place of WebCrypto and of `Math.random`. Returns what puts them back. */
export function installCrypto(random: Random): () => void {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'crypto')
  const beforeRandom = Math.random
  const simulated = {
    subtle,
    getRandomValues<T extends Uint8Array>(into: T): T {
      for (let at = 0; at < into.length; at++) into[at] = random.between(0, 255)
      return into
    },
  }
  Object.defineProperty(globalThis, 'crypto', { configurable: true, value: simulated })
  Math.random = random.next
  return () => {
    if (before) Object.defineProperty(globalThis, 'crypto', before)
    Math.random = beforeRandom
  }
}

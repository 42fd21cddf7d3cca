// All of iron-session: seals bound to a purpose, opened by any key of the ring, remembered once opened.
import { sealData, unsealData } from 'iron-session'
import { LRUCache } from 'lru-cache'
import type { SessionKey } from '../config-values.ts'

/**
 * What a seal is for. Each purpose has keys of its own, so that nothing sealed for one opens as another:
 * `ticket` and `holding` are the two halves of a session, `login` the sign-ins under way.
 */
export type Purpose = 'ticket' | 'holding' | 'login'

interface Opened {
  readonly data: unknown
  readonly expiresAt: number
  readonly failure?: undefined
}

/** Opened, or why not. `unknown_key`: sealed with a key that is not in the ring (any more). */
export type Unsealed = Opened | { readonly failure: 'invalid' | 'unknown_key' | 'expired' }

export interface Sealer {
  /** Encrypts and authenticates `data` (JSON) until `expiresAt`, milliseconds since 1970, with the newest key. */
  seal(purpose: Purpose, data: unknown, expiresAt: number): Promise<string>
  /** Opens a seal. Never throws because of what the text is. */
  unseal(purpose: Purpose, text: string): Unsealed | Promise<Unsealed>
  /** A keyed hash (HMAC-SHA-256, base64url) under which others can look something up without learning what. */
  hash(label: string, text: string): Promise<string>
}

/** How many opened seals are remembered, and how many bytes of seal and content together. */
const remembered = { max: 20_000, maxSize: 64 * 1_024 * 1_024 }

/** The tail of a seal is its own MAC: as a key it is short and as distinct as the whole. */
const tailLength = 46

/**
 * Cheap look at what claims to be a seal, before any cryptography. The last character of the MAC has two bits to spare;
 * they must be zero, or one seal could be written in four ways.
 */
const sealShape =
  /^Fe26\.2\*\d{1,9}\*[0-9a-f]{64}\*[\w-]{22}\*[\w-]+\*\d*\*[0-9a-f]{64}\*[\w-]{42}[AEIMQUYcgkosw048]~2$/

interface Remembered {
  readonly purpose: Purpose
  readonly text: string
  readonly opened: Opened
}

/**
 * @param keys the ring, newest first: the first seals, all open.
 * @param context what else the keys are bound to, such as the origin: seals of another deployment with the same keys
 * do not open.
 */
export function createSealer(keys: readonly SessionKey[], context: string, now: () => number): Sealer {
  const [newest] = keys
  if (!newest) throw new TypeError('A sealer needs at least one key')
  const rings = new Map<Purpose, { sealing: Record<string, string>; opening: Record<string, string> }>()
  const opened = new LRUCache<string, Remembered>({
    ...remembered,
    sizeCalculation: ({ text }) => text.length * 3 + 500,
  })
  let hashKey: CryptoKey | undefined

  async function ring(purpose: Purpose) {
    const known = rings.get(purpose)
    if (known) return known
    const opening: Record<string, string> = {}
    for (const key of keys) opening[key.id] = base64url(await derive(key, `${purpose} ${context}`))
    const made = { opening, sealing: { [newest?.id ?? 0]: opening[newest?.id ?? 0] ?? '' } }
    rings.set(purpose, made)
    return made
  }

  async function open(purpose: Purpose, text: string): Promise<Unsealed> {
    if (!sealShape.test(text)) return { failure: 'invalid' }
    let failure: 'invalid' | 'unknown_key' = 'invalid'
    // The time limit that counts is our own, inside the sealed data: iron's would allow a minute of skew.
    const envelope = await unsealData<Envelope>(text, {
      password: (await ring(purpose)).opening,
      ttl: 0,
      onUnsealError: (reason) => {
        if (reason === 'unknown-password') failure = 'unknown_key'
      },
    })
    if (typeof envelope.until !== 'number') return { failure }
    if (envelope.until <= now()) return { failure: 'expired' }
    const result = { data: envelope.data, expiresAt: envelope.until }
    const own = detached(text)
    opened.set(own.slice(-tailLength), { purpose, text: own, opened: result })
    return result
  }

  return {
    async seal(purpose, data, expiresAt) {
      const { sealing } = await ring(purpose)
      return sealData({ data, until: expiresAt } satisfies Envelope, { password: sealing, ttl: 0 })
    },
    unseal(purpose, text) {
      const known = opened.get(text.slice(-tailLength))
      if (known?.purpose !== purpose || known.text !== text) return open(purpose, text)
      return known.opened.expiresAt > now() ? known.opened : { failure: 'expired' }
    },
    async hash(label, text) {
      hashKey ??= await crypto.subtle.importKey(
        'raw',
        await derive(newest, `hash ${context}`),
        { name: 'HMAC', hash: 'SHA-256' },
        false,
        ['sign'],
      )
      const mac = await crypto.subtle.sign('HMAC', hashKey, encoder.encode(`${label}\0${text}`))
      return base64url(new Uint8Array(mac))
    },
  }
}

interface Envelope {
  data: unknown
  /** Milliseconds since 1970. */
  until: number
}

const encoder = new TextEncoder()

/** 32 bytes for one use of a key (HKDF with SHA-256, RFC 5869). */
async function derive(key: SessionKey, use: string): Promise<Uint8Array<ArrayBuffer>> {
  const master = await crypto.subtle.importKey('raw', Uint8Array.from(key.bytes), 'HKDF', false, ['deriveBits'])
  const info = encoder.encode(`coatcheck v1 ${use}`)
  const bits = await crypto.subtle.deriveBits(
    { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(32), info },
    master,
    256,
  )
  return new Uint8Array(bits)
}

/** Base64url without padding (RFC 4648, section 5). */
export function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

/** `bytes` random bytes as base64url; 16 bytes are 128 bits. */
export function randomText(bytes: number): string {
  return base64url(crypto.getRandomValues(new Uint8Array(bytes)))
}

/** A copy that does not keep alive the header it was cut from. */
function detached(text: string): string {
  return new TextDecoder().decode(encoder.encode(text))
}

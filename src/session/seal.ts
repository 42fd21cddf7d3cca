// All of iron-session: seals bound to a purpose, opened by any key of the ring, remembered once opened.
import { sealData, unsealData } from 'iron-session'
import { LRUCache } from 'lru-cache'
import type { SessionKey } from '../config-values.ts'

/**
 * What a seal is for. Each purpose has keys of its own, so that nothing sealed for one opens as another:
 * `ticket` and `holding` are the two halves of a session, `login` the sign-ins under way, `directory` the list of a
 * user's sessions, `token` an access token for one API.
 */
export type Purpose = 'ticket' | 'holding' | 'login' | 'directory' | 'token'

interface Opened {
  readonly data: unknown
  readonly expiresAt: number
  readonly failure?: undefined
}

/** Opened, or why not. `unknown_key`: sealed with a key that is not in the ring (any more). */
export type Unsealed = Opened | { readonly failure: 'invalid' | 'unknown_key' | 'expired' }

export interface Sealer {
  /**
   * Encrypts and authenticates `data` (JSON) until `expiresAt`, milliseconds since 1970, with the newest key.
   * @param half a second secret, without which the keys of the ring do not open it.
   */
  seal(purpose: Purpose, data: unknown, expiresAt: number, half?: string): Promise<string>
  /** Opens a seal. Never throws because of what the text is. */
  unseal(purpose: Purpose, text: string, half?: string): Unsealed | Promise<Unsealed>
  /**
   * Keyed hashes under which others can look something up without learning what: one for every key of the ring, newest
   * first. Instances in the middle of a rotation have at least one key, and so one of these, in common.
   */
  hashes(label: string, text: string): Promise<readonly string[]>
  /** Goes on with another ring. Seals of keys that are not in it open no more. */
  reload(keys: readonly SessionKey[]): void
}

/** How many opened seals are remembered, and how many bytes of seal and content together. */
const remembered = { max: 20_000, maxSize: 64 * 1_024 * 1_024 }

/** How many keyed hashes are remembered for each ring. */
const rememberedHashes = 10_000

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
  readonly half: string
  readonly text: string
  readonly opened: Opened
}

/**
 * @param keys the ring, newest first: the first seals, all open.
 * @param context what else the keys are bound to, such as the origin: seals of another deployment with the same keys
 * do not open.
 */
export function createSealer(keys: readonly SessionKey[], context: string, now: () => number): Sealer {
  let ring = ringOf(keys, context)
  let hashes = hashesOf(ring)
  const opened = new LRUCache<string, Remembered>({
    ...remembered,
    sizeCalculation: ({ text }) => text.length * 3 + 500,
  })

  async function open(purpose: Purpose, text: string, half: string): Promise<Unsealed> {
    const current = ring
    if (!sealShape.test(text)) return { failure: 'invalid' }
    let failure: 'invalid' | 'unknown_key' = 'invalid'
    // The time limit that counts is our own, inside the sealed data: iron's would allow a minute of skew.
    const envelope = await unsealData<Envelope>(text, {
      password: await passwords(await current(purpose), half),
      ttl: 0,
      onUnsealError: (reason) => {
        if (reason === 'unknown-password') failure = 'unknown_key'
      },
    })
    if (typeof envelope.until !== 'number') return { failure }
    if (envelope.until <= now()) return { failure: 'expired' }
    const result = { data: envelope.data, expiresAt: envelope.until }
    const own = detached(text)
    // What was opened with a key that is gone since must be opened by nobody after that.
    if (current === ring) opened.set(own.slice(-tailLength), { purpose, half, text: own, opened: result })
    return result
  }

  return {
    async seal(purpose, data, expiresAt, half = '') {
      const newestFirst = await ring(purpose)
      const password = await passwords(newestFirst.slice(0, 1), half)
      return sealData({ data, until: expiresAt } satisfies Envelope, { password, ttl: 0 })
    },
    unseal(purpose, text, half = '') {
      const known = opened.get(text.slice(-tailLength))
      if (known?.purpose !== purpose || known.half !== half || known.text !== text) return open(purpose, text, half)
      return known.opened.expiresAt > now() ? known.opened : { failure: 'expired' }
    },
    hashes: (label, text) => hashes(`${label}\0${text}`),
    reload(next) {
      ring = ringOf(next, context)
      hashes = hashesOf(ring)
      opened.clear()
    },
  }
}

/** One key of the ring, for one use. */
interface Password {
  readonly id: number
  readonly password: string
}

/** Hashes by every key of a ring; those of the texts that were asked for last are remembered. */
function hashesOf(ring: ReturnType<typeof ringOf>): (text: string) => Promise<readonly string[]> {
  const known = new LRUCache<string, readonly string[]>({ max: rememberedHashes })
  return async (text) => {
    const made =
      known.get(text) ?? (await Promise.all((await ring('hash')).map(({ password }) => keyedHash(password, text))))
    known.set(text, made)
    return made
  }
}

/** The passwords of a ring for one use, newest first; worked out once. */
function ringOf(keys: readonly SessionKey[], context: string): (use: string) => Promise<readonly Password[]> {
  if (keys.length === 0) throw new TypeError('A sealer needs at least one key')
  const known = new Map<string, readonly Password[]>()
  return async (use) => {
    const made =
      known.get(use) ??
      (await Promise.all(
        keys.map(async (key) => ({ id: key.id, password: base64url(await derive(key, `${use} ${context}`)) })),
      ))
    known.set(use, made)
    return made
  }
}

/** As iron-session takes them: by id. */
async function passwords(ring: readonly Password[], half: string): Promise<Record<string, string>> {
  const all: Record<string, string> = {}
  for (const { id, password } of ring) all[id] = half === '' ? password : await keyedHash(password, half)
  return all
}

/** HMAC-SHA-256 as base64url. With a secret that nobody can guess as the key it tells nothing about the text. */
export async function keyedHash(secret: string, text: string): Promise<string> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  // Never empty, which WebCrypto would not take.
  const key = await crypto.subtle.importKey('raw', encoder.encode(`v1 ${secret}`), algorithm, false, ['sign'])
  return base64url(new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(text))))
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

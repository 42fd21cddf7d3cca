// The kinds of value a setting can have (durations, sizes, keys, URLs, networks), each with what is wrong with a bad one.
import ipaddr from 'ipaddr.js'
import * as z from 'zod'

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const sizes = { B: 1, KB: 1_024, MB: 1_048_576, GB: 1_073_741_824 }

export const text = z.string('must be a string').min(1, 'must not be empty')
export const texts = z.array(text, 'must be a list of strings')
export const flag = z.boolean('must be true or false')

/** Algorithms of signatures that are accepted at all: asymmetric, and not broken (RFC 8725, section 3.1). Never `none`, never HMAC. */
export const signatureAlgorithms = [
  ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'] as const),
  ...(['EdDSA', 'Ed25519', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'] as const),
] as const

/** A setting that exists in the contract and that this version does not do yet: only its neutral value passes. */
export function notYet<const T>(value: T, what: string) {
  return z.literal(value as never, { error: `${what} is not available in this version` }) as unknown as z.ZodType<T, T>
}

/**
 * A rule between settings of one object, checked even when other settings of it are wrong, so that every mistake is
 * told at once. `broken` sees the values as read where they could be read, else as they stand in the document.
 */
export function rule<T extends z.ZodType>(
  schema: T,
  path: PropertyKey[],
  error: string,
  broken: (value: z.output<T>) => boolean,
): T {
  const isObject = (value: unknown) => typeof value === 'object' && value !== null
  return schema.refine((value) => !broken(value as z.output<T>), { when: ({ value }) => isObject(value), path, error })
}

/** Whether a path is coatcheck's own and never that of a route. */
export function isOwnPath(path: string): boolean {
  return /^\/(auth|healthz|readyz)(\/|$)/.test(path)
}

/** A URL as it stands in the document or once read: refinements see either. */
export function isHttp(url: unknown): boolean {
  const value = url instanceof URL ? url.href : url
  return typeof value === 'string' && value.startsWith('http:')
}

/** A string that `read` turns into something else; what `read` throws is what the operator is told. */
function readable<T>(
  read: (value: string) => T,
  json: { format?: string; pattern?: string; examples?: string[] } = {},
) {
  return z
    .string('must be a string')
    .meta(json)
    .transform((value, ctx): T => {
      try {
        return read(value)
      } catch (error) {
        ctx.issues.push({ code: 'custom', message: (error as Error).message, input: undefined })
        return z.NEVER
      }
    })
}

function measured(table: Record<string, number>, what: string, examples: string[]) {
  const pattern = `^([0-9]+)(${Object.keys(table).join('|')})$`
  const read = (value: string): number => {
    const [, amount, unit] = new RegExp(pattern).exec(value) ?? []
    if (amount === undefined || unit === undefined) {
      throw new Error(`must be a ${what} with a unit, such as "${examples.join('" or "')}"`)
    }
    const total = Number(amount) * (table[unit] ?? Number.NaN)
    if (!Number.isSafeInteger(total)) throw new Error(`must be a smaller ${what}`)
    return total
  }
  return readable(read, { pattern, examples })
}

/** `"30s"`, `"15m"`, `"12h"`, `"7d"`, `"250ms"`: milliseconds once read. */
export const duration = measured(units, 'duration', ['30s', '15m'])
/** A duration that is more than nothing. */
export const positiveDuration = duration.refine((ms) => ms > 0, 'must be longer than nothing')
/** A duration that is waited for: no timer can wait longer than 24 days. */
export const timerDuration = positiveDuration.refine((ms) => ms <= 24 * units.d, 'must be at most 24d')
/** `"512B"`, `"64KB"`, `"10MB"`, `"1GB"`: bytes once read (1 KB is 1,024 bytes). */
export const size = measured(sizes, 'size', ['64KB', '10MB'])

/** A TCP port, also written as a string, as it comes from the environment. */
export const portNumber = z
  .union([z.int().min(0).max(65_535), z.string().regex(/^\d{1,5}$/)], 'must be a whole number from 0 to 65535')
  .transform(Number)
  .refine((port) => port <= 65_535, 'must be a whole number from 0 to 65535')

/** Whether a host name can only mean this machine (RFC 6761, section 6.3; RFC 8252, section 8.3). */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname)
  )
}

function absoluteUrl(value: string): URL {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error('must be an absolute https URL')
  if (url.username || url.password) throw new Error('must not contain a user name or password')
  if (url.hash || value.includes('#')) throw new Error('must not have a fragment')
  return url
}

/** The application's own origin: https, or http on loopback for development. Nothing behind the host. */
export const origin = readable(
  (value) => {
    const url = absoluteUrl(value)
    if (url.protocol === 'http:' && !isLoopback(url.hostname)) throw new Error('must be https (http only on loopback)')
    if (url.pathname !== '/' || url.search) throw new Error('must be an origin: no path and no query')
    return url.origin
  },
  { format: 'uri', examples: ['https://app.example.com'] },
)

/** An issuer, kept letter for letter because it is compared so (RFC 9207, section 2.4). */
export const issuer = readable(
  (value) => {
    const url = absoluteUrl(value)
    if (url.search) throw new Error('must not have a query')
    if (url.protocol === 'http:' && !isLoopback(url.hostname)) throw new Error('must be https (http only on loopback)')
    return value
  },
  { format: 'uri', examples: ['https://as.example.com'] },
)

/** Where a route leads: absolute, no query. Whether http will do is for the route to say. */
export const upstreamUrl = readable(
  (value) => {
    const url = absoluteUrl(value)
    if (url.search) throw new Error('must not have a query')
    return url
  },
  { format: 'uri', examples: ['https://orders.internal/v1'] },
)

/** A URI that names something and is compared letter for letter, such as a resource (RFC 8707, section 2). */
export const absoluteUri = readable(
  (value) => {
    if (!/^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/i.test(value) || value.includes('#') || !URL.canParse(value)) {
      throw new Error('must be an absolute URI without a fragment')
    }
    return value
  },
  { format: 'uri', examples: ['https://orders.example.com'] },
)

/** Where a Redis is: `redis://user:password@host:port/database`. The value never appears in a message. */
export const redisUrl = readable(
  (value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined
    if (!url || !/^rediss?:$/.test(url.protocol) || url.hostname === '') {
      throw new Error('must be a URL such as "rediss://redis.internal:6379"')
    }
    if (!/^(\/\d*)?$/.test(url.pathname)) throw new Error('must have nothing but a database number as its path')
    if (url.search || url.hash) throw new Error('must not have a query or fragment')
    if (!isDecodable(url.username + url.password)) throw new Error('must have its user name and password URL-encoded')
    return value
  },
  { format: 'uri', examples: ['rediss://redis.internal:6379'] },
)

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/** A path of this origin, such as `/signed-out`. */
export const localPath = z
  .string('must be a string')
  .regex(/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/, 'must be a path on this site, such as "/signed-out"')

/** A route prefix: canonical already, no trailing slash unless it is `/` itself. */
export const routePath = z
  .string('must be a string')
  .regex(/^\/(?:[\w.~!$&'()*+,;=:@-]+(?:\/[\w.~!$&'()*+,;=:@-]+)*)?$/, 'must be a plain path such as "/api/orders"')
  .refine((path) => !path.split('/').some((segment) => /^\.{1,2}$/.test(segment)), 'must not contain dot segments')

/** One session key: its number (the name under which seals made with it are found again) and 32 random bytes. */
export interface SessionKey {
  id: number
  bytes: Uint8Array
}

/** `"1:<base64url of 32 random bytes>"`, as `coatcheck keys` prints it. The value never appears in a message. */
export const sessionKey = readable((value): SessionKey => {
  const [, id, text] = /^([1-9]\d{0,8}):([A-Za-z0-9_-]*)$/.exec(value) ?? []
  if (id === undefined || text === undefined) {
    throw new Error('must look like "1:..." with the base64url of 32 random bytes; make one with `coatcheck keys`')
  }
  const binary = /^[A-Za-z0-9_-]{43}$/.test(text) ? atob(text.replaceAll('-', '+').replaceAll('_', '/')) : ''
  const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0))
  if (bytes.length !== 32) throw new Error('must be 32 random bytes in base64url; make a key with `coatcheck keys`')
  if (new Set(bytes).size < 8) throw new Error('must be random; make a key with `coatcheck keys`')
  return { id: Number(id), bytes }
})

/** Networks to match client addresses against. */
export type Network = ReturnType<typeof ipaddr.parseCIDR>

/** `"10.0.0.0/8"`, `"2001:db8::/32"`, or a single address. */
export const network = readable((value): Network => {
  if (ipaddr.isValidCIDR(value)) return ipaddr.parseCIDR(value)
  if (!ipaddr.isValid(value)) throw new Error('must be an address or network such as "10.0.0.0/8"')
  const address = ipaddr.parse(value)
  return [address, address.kind() === 'ipv4' ? 32 : 128]
})

/** One or several certificates as PEM text (RFC 7468, section 5.1). The value never appears in a message. */
export const certificates = readable((value) => {
  if (pemBlocks(value)?.every(({ label }) => label === 'CERTIFICATE')) return value
  throw new Error('must be certificates as PEM text: -----BEGIN CERTIFICATE-----')
})

/** One private key as PEM text, without a passphrase. The value never appears in a message. */
export const privateKey = readable((value) => {
  const labels = pemBlocks(value)?.map(({ label }) => label)
  if (labels?.includes('ENCRYPTED PRIVATE KEY')) throw new Error('must be a private key without a passphrase')
  // `openssl ecparam -genkey` writes the name of the curve before the key.
  const keys = labels?.filter((label) => label !== 'EC PARAMETERS') ?? []
  if (keys.length === 1 && /^(RSA |EC )?PRIVATE KEY$/.test(keys[0] ?? '')) return value
  throw new Error('must be a private key as PEM text: -----BEGIN PRIVATE KEY-----')
})

/** The blocks of a PEM text, at least one, or `undefined` for what is none or holds no DER. */
function pemBlocks(text: string): { label: string }[] | undefined {
  const block = /-----BEGIN ([A-Z ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g
  const found = [...text.matchAll(block)].map(([, label = '', body = '']) => ({ label, body }))
  const isAll = text.replace(block, '').trim() === ''
  return isAll && found.length > 0 && found.every(({ body }) => isDer(body)) ? found : undefined
}

/** Whether Base64 text holds one value of ASN.1: an object identifier, or a sequence of the length that it says. */
function isDer(base64: string): boolean {
  let bytes: string
  try {
    bytes = atob(base64.replace(/\s/g, ''))
  } catch {
    return false
  }
  const tag = bytes.charCodeAt(0)
  const first = bytes.charCodeAt(1)
  const more = first > 128 ? first - 128 : 0
  let length = more === 0 ? first : 0
  for (let at = 2; at < 2 + more; at++) length = length * 256 + bytes.charCodeAt(at)
  return (tag === 0x30 || tag === 0x06) && bytes.length === 2 + more + length
}

/** A DNS name. */
export const hostName = z
  .string('must be a string')
  .max(253, 'must be a host name')
  .regex(
    /^(?!\d+(\.\d+){3}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/,
    'must be a host name',
  )

// Tokens made by hand, byte by byte, because no library would sign what an attacker does.
import { createHmac, type KeyObject, sign } from 'node:crypto'

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** Header and claims of a JWT, without looking at its signature. */
export function readJwt(jwt: string): { header: Record<string, unknown>; claims: Record<string, unknown> } {
  const [header, claims] = jwt.split('.', 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
  return { header, claims }
}

/** A JWT with this header and these claims (objects, or JSON text as it should stand there) and any signature. */
export function jwt(header: unknown, claims: unknown, signature: (input: string) => Buffer | string): string {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${Buffer.from(signature(input)).toString('base64url')}`
}

export const unsigned = () => ''
export const rs256 = (key: KeyObject) => (input: string) => sign('sha256', Buffer.from(input), key)
export const es256 = (key: KeyObject) => (input: string) =>
  sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
export const hs256 = (secret: string | Buffer) => (input: string) => createHmac('sha256', secret).update(input).digest()

// Looks for secrets in text, also where they are encoded or cut into pieces. Pure.
import type { Secret } from '../web-demo/authorization-server.ts'

/** Kinds of secrets that a text contains, each once. Never the secrets: what fails a test ends up in a log. */
export function secretsIn(text: string, secrets: readonly Secret[]): string[] {
  const texts = [text, withoutChunkSizes(text), decoded(text)]
  const found = secrets.filter(({ value }) =>
    disguises(value).some((disguise) => texts.some((one) => one.includes(disguise))),
  )
  return [...new Set(found.map(({ kind }) => kind))]
}

/** The forms in which a value could hide. */
export function disguises(value: string): string[] {
  // What gives a signed token its worth is its signature; its claims must not show either.
  const parts = value.split('.').length === 3 ? value.split('.').slice(1) : []
  return [value, ...parts].flatMap((one) => [
    one,
    encodeURIComponent(one),
    [...one].reverse().join(''),
    Buffer.from(one).toString('hex'),
    ...[0, 1, 2].flatMap((shift) => base64At(one, shift)),
  ])
}

/** Base64 and base64url of a value that stands `shift` bytes behind a multiple of three; ends that depend on neighbours cut. */
function base64At(value: string, shift: number): string[] {
  const encoded = Buffer.from(' '.repeat(shift) + value).toString('base64url')
  const whole = encoded.slice(shift === 0 ? 0 : shift + 1, -2)
  return [whole, whole.replaceAll('-', '+').replaceAll('_', '/')]
}

/** Text in which nothing is cut in two by the frame of a chunked body (RFC 9112, section 7.1). */
function withoutChunkSizes(text: string): string {
  return text.replace(/\r\n[0-9a-f]{1,8}\r\n/gi, '')
}

/** All that percent-encoding and base64 in a text can be turned into, one after the other. */
function decoded(text: string): string {
  const unescaped = text.replace(/%[0-9a-f]{2}/gi, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)))
  const words = unescaped.match(/[\w+/-]{16,}/g) ?? []
  return [unescaped, ...words.map((word) => Buffer.from(word, 'base64').toString('latin1'))].join('\n')
}

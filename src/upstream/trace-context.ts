// Which trace a call belongs to (W3C Trace Context), and the span that stands for its way through here.

/** `version-traceid-parentid-flags` (W3C Trace Context, section 3.2). */
const traceparent = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/

/** Goes on with the browser's trace if it has one, under a span of our own; else begins one. */
export function traceContext(inbound: string | undefined): { parent: string; continued: boolean } {
  const [, trace, flags] = (inbound !== undefined && traceparent.exec(inbound)) || []
  if (trace === undefined) return { parent: `00-${randomHex(32)}-${randomHex(16)}-01`, continued: false }
  return { parent: `00-${trace}-${randomHex(16)}-${flags}`, continued: true }
}

/** Random bytes are made for some hundred calls together: asked for one by one they would cost most of what a trace costs. */
const bytes = new Uint8Array(6_144)
const digits = new Uint8Array(2 * bytes.length)
let text = ''
let used = 0

/** @param count of digits */
function randomHex(count: number): string {
  if (used + count > text.length) refill()
  used += count
  return text.slice(used - count, used)
}

function refill(): void {
  crypto.getRandomValues(bytes)
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    digits[2 * at] = digit(byte >> 4)
    digits[2 * at + 1] = digit(byte & 15)
  }
  text = new TextDecoder('latin1').decode(digits)
  used = 0
}

const digit = (value: number) => value + (value < 10 ? 48 : 87)

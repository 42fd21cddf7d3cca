// Which trace a call belongs to (W3C Trace Context), and the span that stands for its way through here.

/** `version-traceid-parentid-flags` (W3C Trace Context, section 3.2). */
const traceparent = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/

/** Goes on with the browser's trace if it has one, under a span of our own; else begins one. */
export function traceContext(inbound: string | undefined): { parent: string; continued: boolean } {
  const [, trace, flags] = (inbound !== undefined && traceparent.exec(inbound)) || []
  const span = `${hex()}${hex()}`
  // A span needs to be the only one of its name in its trace: for the first of one its own half of the name will do.
  if (trace === undefined) return { parent: `00-${hex()}${hex()}${span}-${span}-01`, continued: false }
  return { parent: `00-${trace}-${span}-${flags}`, continued: true }
}

const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Eight random hexadecimal digits, not all 0. Ids of traces need to be unlikely to repeat, not secret. */
function hex(): string {
  const word = (Math.random() * 0xffff_ffff + 1) | 0
  return `${hexOf[word & 255]}${hexOf[(word >> 8) & 255]}${hexOf[(word >> 16) & 255]}${hexOf[word >>> 24]}`
}

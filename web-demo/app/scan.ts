// Looks for tokens in text. Pure.

const shapes: readonly [what: string, shape: RegExp][] = [
  ['a JSON Web Token', /\beyJ[\w-]{8,}\.[\w-]{8,}/],
  ['a value named token', /\b(?:access|refresh|id)?_?token\b["']?\s*[:=]\s*["']?[\w.~+/-]{20,}/i],
  ['a bearer credential', /\bBearer\s+[\w.~+/-]{16,}/i],
]

/** What looks like a token in a text, in words. */
export function findTokens(text: string): string[] {
  return shapes.filter(([, shape]) => shape.test(text)).map(([what]) => what)
}

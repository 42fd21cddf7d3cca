// What tests over a whole corpus share.
import { expect } from 'vitest'

/** Fails with every entry that did wrong, one a line. */
export function expectNone(wrong: readonly string[], what = 'wrong'): void {
  expect(wrong.length, `${what}:\n${wrong.join('\n')}`).toBe(0)
}

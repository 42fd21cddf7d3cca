// Waiting for what only time brings. Lifetimes in tests are fractions of a second.
import { expect } from 'vitest'

/** Resolves once `milliseconds` have passed since `start`. */
export async function passed(milliseconds: number, start = Date.now()): Promise<void> {
  await expect.poll(() => Date.now() - start, { interval: 10 }).toBeGreaterThanOrEqual(milliseconds)
}

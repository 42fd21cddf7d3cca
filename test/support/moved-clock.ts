// A clock that is moved by hand, for hours that no test can wait. Timers go on as they are.
import { afterEach, beforeEach, vi } from 'vitest'

/** When each test begins. Milliseconds since 1970. */
export const start = Date.parse('2026-11-22T12:00:00Z')

/** Stops the clock for each test of a file; what is returned sets it to so many milliseconds after the start. */
export function movedClock(): (milliseconds: number) => void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] })
    vi.setSystemTime(start)
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  return (milliseconds) => void vi.setSystemTime(start + milliseconds)
}

// Token requests that failed a moment ago: who wants the same is told at once, instead of asking again one after another.
import { LRUCache } from 'lru-cache'
import type { CoatcheckError } from '../errors.ts'

export interface RecentFailures {
  /** What the last request of this name failed with, if that was a moment ago. */
  of(name: string): CoatcheckError | undefined
  /** Remembers what a request failed with, unless the server was not even asked. */
  note(name: string, error: CoatcheckError): void
}

/** How long nobody asks again after an answer that says no, and after none or one that says not now. Milliseconds. */
const pauses = { refused: 5_000, failed: 1_000 }

export function createRecentFailures(now: () => number): RecentFailures {
  const failures = new LRUCache<string, { error: CoatcheckError; until: number }>({ max: 5_000 })

  function pauseAfter({ code, reason }: CoatcheckError): number {
    if (code === 'forbidden' || code === 'insufficient_scope') return pauses.refused
    if (code === 'session_expired') return pauses.failed
    if (code !== 'authorization_server_unavailable' || reason === 'refresh_backing_off') return 0
    return reason === 'client_rejected' || reason === 'request_rejected' ? pauses.refused : pauses.failed
  }

  function of(name: string): CoatcheckError | undefined {
    const known = failures.get(name)
    return known && known.until > now() ? known.error : undefined
  }

  return {
    of,
    note(name, error) {
      const pause = pauseAfter(error)
      // Whoever was told of it must not make it last.
      if (pause > 0 && of(name) !== error) failures.set(name, { error, until: now() + pause })
    },
  }
}

// Which sessions are over: a tombstone beats every cookie, copied or late (ASVS 7.4.1).
import { LRUCache } from 'lru-cache'

export interface Endings {
  /** Marks a session as over until `until`, when its cookies end by themselves. Milliseconds since 1970. */
  end(sessionId: string, until: number): void
  /** Whether a session is over. Asked for every request, and again before a cookie is set. */
  isOver(sessionId: string): boolean
}

/** Tombstones of this process. */
export function createEndings(now: () => number): Endings {
  const ended = new LRUCache<string, number>({ max: 1_000_000 })
  return {
    end(sessionId, until) {
      if (until > now()) ended.set(sessionId, Math.max(until, ended.get(sessionId) ?? 0))
    },
    isOver: (sessionId) => (ended.get(sessionId) ?? 0) > now(),
  }
}

// Which sessions are over: a tombstone beats every cookie, copied or late (ASVS 7.4.1).
import { LRUCache } from 'lru-cache'

export interface Endings {
  /** Marks a session as over until `until`, when its cookies end by themselves. Milliseconds since 1970. */
  end(sessionId: string, until: number): void
  /** Whether a session is over. Asked for every request, and again before a cookie is set. */
  isOver(sessionId: string): boolean
  /** Calls `ended` once, when the session is marked as over in this process. Returns what takes that back. */
  whenOver(sessionId: string, ended: () => void): () => void
}

/** Tombstones of this process. */
export function createEndings(now: () => number): Endings {
  const ended = new LRUCache<string, number>({ max: 1_000_000 })
  const watchers = new Map<string, Set<() => void>>()
  return {
    end(sessionId, until) {
      if (until > now()) ended.set(sessionId, Math.max(until, ended.get(sessionId) ?? 0))
      const told = watchers.get(sessionId)
      watchers.delete(sessionId)
      for (const tell of told ?? []) tell()
    },
    whenOver(sessionId, tell) {
      const all = watchers.get(sessionId) ?? new Set()
      watchers.set(sessionId, all)
      all.add(tell)
      return () => {
        all.delete(tell)
        if (all.size === 0 && watchers.get(sessionId) === all) watchers.delete(sessionId)
      }
    },
    isOver: (sessionId) => (ended.get(sessionId) ?? 0) > now(),
  }
}

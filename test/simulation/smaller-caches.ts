// Caches that take their memory when they are needed: those of src are made for years of traffic, and most of the time of
// a short schedule would be spent on making room. Import this before anything of src.
import type { LRUCache as Cache } from 'lru-cache'
import { vi } from 'vitest'

vi.mock('lru-cache', async (original) => {
  const { LRUCache } = await original<typeof import('lru-cache')>()
  class SmallCache<K extends {}, V extends {}> extends LRUCache<K, V> {
    constructor(options: Cache.Options<K, V, unknown>) {
      super(options.max === undefined ? options : { ...options, max: Math.min(options.max, 200) })
    }
  }
  return { LRUCache: SmallCache }
})

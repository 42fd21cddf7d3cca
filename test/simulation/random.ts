// Chance from a seed: everything that happens in a simulation is drawn from here, so that a seed tells all of it again.

export interface Random {
  /** From 0 up to, and not including, 1. */
  next(): number
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number
  chance(probability: number): boolean
  pick<T>(from: readonly T[]): T
  /** One of the keys, as often as its weight says. */
  weighted<Key extends string>(weights: Readonly<Record<Key, number>>): Key
  /** Chance of its own for one purpose: what is drawn there does not move what is drawn here. */
  fork(purpose: string): Random
}

export function createRandom(seed: number): Random {
  let state = mixed(seed)

  /** Mulberry32. */
  function next(): number {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), 1 | state)
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word
    return ((word ^ (word >>> 14)) >>> 0) / 0x1_0000_0000
  }

  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1))

  return {
    next,
    between,
    chance: (probability) => next() < probability,
    pick<T>(from: readonly T[]): T {
      const index = between(0, from.length - 1)
      if (index >= from.length) throw new RangeError('Nothing to pick from')
      return from[index] as T
    },
    weighted<Key extends string>(weights: Readonly<Record<Key, number>>): Key {
      const entries = Object.entries<number>(weights)
      let rest = next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
      const found = entries.find(([, weight]) => {
        rest -= weight
        return rest < 0
      })
      // Object.entries forgets what the keys are.
      return (found ?? entries[0])?.[0] as Key
    },
    fork: (purpose) => createRandom(hashOf(`${seed} ${purpose}`)),
  }
}

/** Seeds that differ by one begin alike; this takes them apart. */
function mixed(seed: number): number {
  let word = seed | 0
  word = Math.imul(word ^ (word >>> 16), 0x45d9f3b)
  word = Math.imul(word ^ (word >>> 16), 0x45d9f3b)
  return word ^ (word >>> 16)
}

/** FNV-1a. */
export function hashOf(text: string): number {
  let word = 0x811c9dc5
  for (let at = 0; at < text.length; at++) word = Math.imul(word ^ text.charCodeAt(at), 0x01000193)
  return word >>> 0
}

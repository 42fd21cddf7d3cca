// What servers want in the proofs that they are shown (RFC 9449): their nonces, and their time. Known for as long as the
// process lives, to all its sessions.
import { LRUCache } from 'lru-cache'

/** What goes into one proof. */
export interface ProofWish {
  readonly nonce: string | undefined
  /** Seconds since 1970, by the clock of the server. */
  readonly iat: number
}

export interface ProofWishes {
  /** What the next proof for an origin should have. */
  of(origin: string): ProofWish
  /** Takes a nonce that the next proof may have, whosever it is. Each origin has nonces of its own (section 8.2). */
  learn(origin: string, nonce: string | null | undefined): void
  /**
   * Goes by the clock of a server that refused a proof (section 11.1), where that is up to an hour from ours.
   * @param date its `Date` header
   * @returns whether that is news: then another proof may be accepted
   */
  goBy(origin: string, date: string | null | undefined): boolean
}

/** A server's clock is believed up to this far from ours. Seconds. */
const farthest = 3_600
/** `Date` counts in seconds, and answers take time: nearer clocks are not told apart. Seconds. */
const nearest = 2

/** What could not be in a JWT of reasonable size is none. */
export const isNonce = (nonce: string | null | undefined): nonce is string =>
  nonce != null && /^[\x21\x23-\x5b\x5d-\x7e]{1,512}$/.test(nonce)

export function createProofWishes(now: () => number): ProofWishes {
  const nonces = new LRUCache<string, string>({ max: 1_000 })
  /** Seconds that the clock of an origin is ahead of ours. */
  const ahead = new LRUCache<string, number>({ max: 1_000 })

  return {
    of: (origin) => ({
      nonce: nonces.get(origin),
      iat: Math.floor(now() / 1_000) + (ahead.get(origin) ?? 0),
    }),

    learn(origin, nonce) {
      if (isNonce(nonce)) nonces.set(origin, nonce)
    },

    goBy(origin, date) {
      // Rather too little: a proof may be a moment old, and must not be from the future.
      const seconds = Math.floor((Date.parse(date ?? '') - now()) / 1_000)
      const isNews = Math.abs(seconds - (ahead.get(origin) ?? 0)) > nearest
      if (!isNews || Math.abs(seconds) > farthest) return false
      ahead.set(origin, seconds)
      return true
    },
  }
}

// The contract of a store: small shared state that forgets. Every implementation passes test/contract/store.ts.

/**
 * Small shared state with time-outs, on which refresh coordination, one-use logins, ended sessions and limits rest.
 *
 * Values and keys are opaque text; callers seal what is secret and hash what is guessable. Times are in milliseconds.
 * What is unknown, expired or deleted is `undefined`; a rejected promise means only that the store cannot answer, and
 * the caller then refuses with `store_unavailable` and keeps the session. A store rejects within about two seconds
 * rather than let a request hang, and works again by itself when it can.
 *
 * What stands before the first `/` of a key is its family. Keys of one family are kept together (in one slot of a Redis
 * cluster, in one Durable Object); nothing is ever done atomically across families.
 */
export interface Store {
  /** The value under `key`, as long as it is fresh. */
  get(key: string): Promise<string | undefined>

  /** Puts `value` under `key` for `ttl`, whatever was there. */
  set(key: string, value: string, ttl: number): Promise<void>

  /** Puts `value` under `key` for `ttl` only if nothing is there. Atomic: of many callers one is told `true`. */
  add(key: string, value: string, ttl: number): Promise<boolean>

  /** Forgets `key`. Forgetting what is not there is no error. */
  delete(key: string): Promise<void>

  /**
   * Takes the lease called `key` for `ttl`, or `undefined` while somebody else holds it. A holder that dies loses it
   * when `ttl` is over.
   */
  lease(key: string, ttl: number): Promise<Lease | undefined>

  /**
   * Waits until the value or the lease under `key` may have changed, at most `timeout`. May return early: callers
   * look again. What changed before the call arrived is not noticed: callers do not rely on it for long. Never rejects
   * because of the time-out.
   */
  changed(key: string, timeout: number): Promise<void>

  /**
   * Adds an entry to the end of a log that everybody reads, for at least `ttl`. Once this resolves, every later
   * `since()` of anybody, anywhere, finds it.
   */
  append(log: string, entry: string, ttl: number): Promise<void>

  /**
   * The entries of a log after `cursor`, oldest first and at most a thousand at a time, with the cursor to go on from.
   * `''` begins with the oldest that is not forgotten. No entry is passed over, however many write at once; after a store
   * was replaced by a copy of it, entries may come again.
   */
  since(log: string, cursor: string): Promise<LogPage>

  /**
   * Adds `points` to the counter called `key`, which is forgotten `ttl` after the first of its counts, whatever is added
   * meanwhile. Atomic: of many callers each is told another total. A counter may be forgotten early when there are very
   * many, or when the machine fails; counting is all it is good for.
   */
  count(key: string, points: number, ttl: number): Promise<Count>

  /** Whether the store can answer now. */
  healthy(): Promise<boolean>
}

/** A store that holds something open: a file, a connection. */
export interface OpenStore extends Store {
  /** Finishes what is under way and lets go. Whoever waits is woken; later calls reject. */
  close(): Promise<void>
}

/** A piece of a log. */
export interface LogPage {
  readonly entries: readonly string[]
  /** Ask again with this. When `entries` is empty there is nothing more for now. */
  readonly cursor: string
}

/** What a counter stands at. */
export interface Count {
  /** All points so far, the latest included. */
  readonly total: number
  /** Until the counter is forgotten. */
  readonly milliseconds: number
}

/** The right to be the only one, for a while. */
export interface Lease {
  /** Grows with every lease of the same key: by it the store tells a holder from those before and after. */
  readonly fence: number
  /** Holds on for another `ttl`. `false` when the lease was lost in the meantime. */
  renew(ttl: number): Promise<boolean>
  /** Gives the lease back, if it is still held. */
  release(): Promise<void>
}

/** What stands before the first `/` of a key, or all of a key without one. */
export function familyOf(key: string): string {
  const end = key.indexOf('/')
  return end === -1 ? key : key.slice(0, end)
}

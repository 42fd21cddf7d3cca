// The contract of a store: small shared state that forgets. Every implementation passes test/contract/store.ts.

/**
 * Small shared state with time-outs, on which refresh coordination, one-use logins and ended sessions rest.
 *
 * Values and keys are opaque text; callers seal what is secret and hash what is guessable. Times are in milliseconds.
 * What is unknown, expired or deleted is `undefined`; a rejected promise means only that the store cannot answer, and
 * the caller then refuses with `store_unavailable` and keeps the session.
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
   * look again. Never rejects because of the time-out.
   */
  changed(key: string, timeout: number): Promise<void>

  /** Whether the store can answer now. */
  healthy(): Promise<boolean>
}

/** The right to be the only one, for a while. */
export interface Lease {
  /** Grows with every lease of the same key: a later holder has a larger one. */
  readonly fence: number
  /** Holds on for another `ttl`. `false` when the lease was lost in the meantime. */
  renew(ttl: number): Promise<boolean>
  /** Gives the lease back, if it is still held. */
  release(): Promise<void>
}

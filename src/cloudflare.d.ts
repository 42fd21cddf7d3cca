// The part of the Workers runtime that is used, so that no vendor types are needed to build or to depend on coatcheck.
declare module 'cloudflare:workers' {
  /** Keeps the Worker alive until the promise settles. */
  export function waitUntil(promise: Promise<unknown>): void
}

/** Carries exactly as many bytes as it was made for: what `fetch` sends of it has a `Content-Length`. */
declare class FixedLengthStream extends TransformStream<Uint8Array, Uint8Array> {
  constructor(length: number)
}

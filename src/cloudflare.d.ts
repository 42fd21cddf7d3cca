// The part of the Workers runtime that is used, so that no vendor types are needed to build or to depend on coatcheck.
declare module 'cloudflare:workers' {
  /** Keeps the Worker alive until the promise settles. */
  export function waitUntil(promise: Promise<unknown>): void

  /** What is made once for each name and keeps state; its public methods can be called from everywhere. */
  export class DurableObject<Env = unknown> {
    protected ctx: DurableObjectState
    protected env: Env
    constructor(ctx: DurableObjectState, env: Env)
  }
}

interface DurableObjectState {
  readonly storage: DurableObjectStorage
}

interface DurableObjectStorage {
  /** Answers at once; nothing leaves the object before what it wrote is on disk. */
  readonly kv: DurableObjectKv
  /** Milliseconds since 1970. */
  getAlarm(): Promise<number | null>
  setAlarm(time: number): Promise<void>
  deleteAll(): Promise<void>
}

interface DurableObjectKv {
  get<T>(key: string): T | undefined
  put<T>(key: string, value: T): void
  delete(key: string): boolean
  /** In the order of the keys as UTF-8. */
  list<T>(options?: { prefix?: string; startAfter?: string; reverse?: boolean; limit?: number }): Iterable<[string, T]>
}

/** The objects of a class by name. */
interface DurableObjectNamespace<T = unknown> {
  idFromName(name: string): DurableObjectId
  /** Calls of an object, from one request only. */
  get(id: DurableObjectId): T
}

interface DurableObjectId {
  readonly name?: string
}

/** Carries exactly as many bytes as it was made for: what `fetch` sends of it has a `Content-Length`. */
declare class FixedLengthStream extends TransformStream<Uint8Array, Uint8Array> {
  constructor(length: number)
}

/** Two ends of one WebSocket: one for the answer, one for us. */
declare class WebSocketPair {
  readonly 0: import('./upstream/websocket-fetch.ts').RuntimeWebSocket
  readonly 1: import('./upstream/websocket-fetch.ts').RuntimeWebSocket
}

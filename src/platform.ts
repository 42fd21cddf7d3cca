// What a runtime must supply, as a handful of functions: time, network, shared state, a place for events.
import type { Context } from 'hono'
import type { Log } from './observability.ts'
import type { Reason } from './reasons.ts'
import type { Store } from './stores/store.ts'

/** Everything coatcheck needs from the world around it. */
export interface Platform {
  /** Milliseconds since 1970. */
  now(): number
  /** Reaches authorization servers. Follows no redirect unless asked to. */
  fetch(url: string, init: FetchInit): Promise<Response>
  /** Reaches upstreams. */
  transport: Transport
  /** Reaches upstreams that are to switch to WebSocket; without it no route has WebSockets. Calls have `websocket`. */
  upgrade?: Transport
  /** Shared state. */
  store: Store
  log: Log
  /**
   * Whether a request may wait for what another one began. Not on Workers, where that dies with the other. Default: no.
   */
  readonly sharesPromises?: boolean
  /** Lets work go on after the answer was sent. */
  waitUntil(work: Promise<unknown>): void
  /** The request as this runtime holds it. */
  exchange(c: Context): Exchange
  /** Answers with a file of the single-page application and these headers, or with `undefined` where there is none. */
  asset?(c: Context, path: string, headers: HeaderList): Promise<Response | undefined>
}

/** What a request to an authorization server may consist of. */
export interface FetchInit {
  method?: string
  headers?: Headers | Record<string, string>
  body?: string | URLSearchParams | Uint8Array | ArrayBuffer | ReadableStream | null | undefined
  signal?: AbortSignal | null | undefined
  redirect?: 'manual' | 'follow' | 'error'
  /** With what this client proves itself in the TLS handshake. Platforms that have none are never given one. */
  certificate?: ClientCertificate | undefined
}

/** A certificate of this client with its private key: in PEM (Node), or as the runtime keeps it (Cloudflare Workers). */
export interface ClientCertificate {
  readonly cert?: string | undefined
  readonly key?: string | undefined
  /** Name of an mTLS certificate binding. */
  readonly binding?: string | undefined
}

/** One request of a browser, seen without building a web `Request` from it: the hot path looks only at this. */
export interface Exchange {
  /** As sent: `GET`, `POST` ... */
  readonly method: string
  /** The request target as sent, such as `/api/orders?x=1`. */
  readonly target: string
  /** Address of the other end of the connection, if the runtime knows it. */
  readonly peer: string | undefined
  /** Whether the request has a body. */
  readonly hasBody: boolean
  /** Whether this is the handshake of a WebSocket, and the runtime can switch the connection. */
  readonly isUpgrade?: boolean
  /** All headers, names in lower case. A header that came more than once is joined as HTTP allows. */
  readonly headers: HeaderRecord
  /** Whether `headers` has only the first of several headers of this name, which some runtimes do to those that may come once. */
  hasMore(name: string): boolean
  /**
   * Reads the whole body, which the caller knows to be short.
   * @param patience longest wait for the next piece of it, in milliseconds
   * @throws CoatcheckError `bad_request` when the browser goes away or stops sending
   */
  readBody(patience: number): Promise<Uint8Array<ArrayBuffer>>
  /** The request as the runtime has it. Only the platform that made this exchange knows what that is. */
  readonly source: unknown
}

/** Headers by lower-case name. */
export type HeaderRecord = Readonly<Record<string, string | readonly string[] | undefined>>

/** Headers as name, value, name, value: the form both runtimes take without copying. */
export type HeaderList = string[]

/** TLS of the connections to an upstream. */
export interface UpstreamTls {
  /** Certificate authorities that are trusted instead of those of the machine; PEM. */
  readonly ca?: string | undefined
  /** Our own certificate, with the chain above it, and its key; PEM. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
  /** Name that is asked for and that the upstream's certificate must have, if not its host. */
  readonly serverName?: string | undefined
  /** Workers: name of the binding through which calls go instead. */
  readonly binding?: string | undefined
}

/**
 * Where calls go and by what kind of connection, from the configuration and nowhere else. Routes that share connections
 * have the same object; no others do.
 */
export interface Destination {
  /** Such as `https://orders.internal:8443`. */
  readonly origin: string
  /** Whether HTTP/2 is offered. */
  readonly http2: boolean
  readonly tls: UpstreamTls | undefined
}

/** A call to an upstream, ready to be sent. What it does, it does as a method of this object: `call.ended(0)`. */
export interface UpstreamCall {
  readonly destination: Destination
  /** Path and query, canonical. */
  readonly path: string
  readonly method: string
  readonly headers: HeaderList
  /** The body, if it was read before. Else it is streamed from the exchange. */
  readonly body?: Uint8Array<ArrayBuffer> | undefined
  /** Longest wait for the head of the answer, in milliseconds. */
  readonly timeout: number
  /** Longest standstill of a body that has an end, whoever causes it, in milliseconds. */
  readonly stallTimeout: number
  /** Largest request body, in bytes. */
  readonly bodyLimit: number
  /**
   * Takes the head of the answer and returns the headers for the browser, or `undefined` to withhold the answer: its
   * body is then thrown away and the transport returns `undefined`.
   */
  receive(this: UpstreamCall, status: number, headers: HeaderRecord): HeaderList | undefined
  /**
   * Told once, when an answer that had begun is over, whole or not, with the bytes of its body that came from the upstream,
   * `undefined` where the runtime does not say; or when the browser left before there was one.
   */
  ended(this: UpstreamCall, bytes: number | undefined): void
  /** Told when an answer that had begun broke off. */
  broken(
    this: UpstreamCall,
    reason: 'upstream_reset' | 'upstream_stalled' | 'client_gone' | 'client_stalled' | 'body_too_large',
  ): void
  /**
   * Asked about an answer that lasts: `abort` is called when the session it belongs to ends. Returns what
   * to call when the answer is complete.
   */
  watch?: ((abort: () => void) => () => void) | undefined
  /** What the call becomes once both sides have switched. */
  readonly websocket?: WebSocketCall | undefined
}

/** A WebSocket through us, besides its handshake. */
export interface WebSocketCall {
  /** Subprotocols that the browser offers, in its order. */
  readonly protocols: readonly string[]
  /** Largest message in either direction, in bytes. */
  readonly messageLimit: number
  /** How long there may be no message, in milliseconds; `undefined` for as long as it likes. */
  readonly idleTimeout: number | undefined
  /**
   * Asked when the upstream has switched and the browser has not.
   * @throws CoatcheckError `session_expired` or `store_unavailable`: then neither side is to go on
   */
  live(): Promise<void>
  /**
   * Told that both sides have switched. `end` is called when the WebSocket is not to go on; what is returned is told how
   * it ended, once.
   */
  opened(end: (reason: WebSocketReason) => void): (summary: WebSocketSummary) => void
}

/** Why we close a WebSocket that both sides would have kept. */
export type WebSocketReason = Extract<Reason, `websocket_${string}`>

/** How a WebSocket was and how it ended. Nothing of what was said. */
export interface WebSocketSummary {
  /** Who ended it. */
  readonly by: 'browser' | 'upstream' | 'coatcheck'
  /** The close code it ended with; 1005 without a code, 1006 without a closing handshake (RFC 6455, section 7.4.1). */
  readonly closeCode: number
  readonly reason?: WebSocketReason | undefined
  readonly up: WebSocketTraffic
  readonly down: WebSocketTraffic
}

/** What went one way. */
export interface WebSocketTraffic {
  messages: number
  bytes: number
}

/**
 * Sends a call and streams the answer to the browser, both bodies with back-pressure and untouched: the headers describe
 * the bytes. A browser that goes away aborts the call.
 *
 * @throws CoatcheckError `upstream_unreachable`, `upstream_invalid`, `upstream_timeout`, `body_too_large` or `bad_request`
 * (a body that stands still), as long as nothing was sent to the browser.
 */
export type Transport = (call: UpstreamCall, exchange: Exchange) => Promise<Response | undefined>

/** A header's value as one string. */
export function headerText(headers: HeaderRecord, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' || value === undefined ? value : value.join(', ')
}

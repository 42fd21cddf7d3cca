// Connections to one upstream by HTTP/2, where it speaks it: calls share them as long as there is room. undici has a client of
// its own for this, whose assertions and unheard errors end the process when an upstream or a browser breaks off.
import { type ClientHttp2Stream, constants } from 'node:http2'
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { CoatcheckError } from '../errors.ts'
import type { HeaderList } from '../platform.ts'
import {
  type Http2Connection,
  type Http2Endpoint,
  hasRoom,
  idle,
  isGone,
  isShut,
  lostConnection,
  openHttp2,
  sever,
  suspect,
} from './http2-connection.ts'

/** What is sent. */
export interface Outbound {
  readonly path: string
  readonly method: Dispatcher.HttpMethod
  /** Names in lower case; without `host`, and without what belongs to one connection. */
  readonly headers: HeaderList
  readonly body: Readable | Uint8Array | null
}

/** The handler of undici, which hears besides whether its connection is one that was used before. */
export interface OutboundHandler extends Dispatcher.DispatchHandler {
  onReuse?(isReused: boolean): void
}

export interface Http2Options extends Http2Endpoint {
  /** Takes over a call, because the upstream turned out to speak only HTTP/1.1. */
  fallBack(outbound: Outbound, handler: OutboundHandler): void
}

export interface Http2Connections {
  dispatch(outbound: Outbound, handler: OutboundHandler): void
  /** Lets calls finish. */
  close(): Promise<void>
  /** Ends calls. */
  destroy(): void
}

/** A call on its way to a stream. */
interface Call {
  readonly outbound: Outbound
  readonly handler: OutboundHandler
  readonly controller: Dispatcher.DispatchController
  stream: ClientHttp2Stream | undefined
  connection: Http2Connection | undefined
  wasRefused: boolean
  isOver: boolean
}

export function http2Connections({ fallBack, ...endpoint }: Http2Options): Http2Connections {
  const { host } = new URL(endpoint.origin)
  const connections = new Set<Http2Connection>()
  const pending = new Set<Call>()
  let connecting: { destroy(): void } | undefined
  let isClosing = false

  /** Starts what waits, and opens a connection if there is none for it. */
  function admit(): void {
    for (const connection of connections) {
      for (const call of pending) {
        if (!hasRoom(connection)) break
        pending.delete(call)
        open(connection, call)
      }
    }
    if (pending.size > 0 && !connecting && ![...connections].some(isShut)) begin()
  }

  /** One at a time: the next calls may find room on it, and share its fate if it does not come about. */
  function begin(): void {
    connecting = openHttp2(endpoint, {
      ready(connection) {
        connecting = undefined
        connections.add(connection)
        admit()
      },
      declined() {
        connecting = undefined
        for (const { outbound, handler } of pending) fallBack(outbound, handler)
        pending.clear()
      },
      failed(error) {
        connecting = undefined
        for (const call of pending) fail(call, error)
      },
      changed: admit,
      gone(connection) {
        connections.delete(connection)
        admit()
      },
    })
  }

  function open(connection: Http2Connection, call: Call): void {
    const { outbound, handler, controller } = call
    const { session } = connection
    handler.onReuse?.(connection.wasUsed)
    let stream: ClientHttp2Stream
    try {
      stream = session.request(headersOf(outbound, host), { endStream: outbound.body === null })
    } catch (error) {
      // Such as a connection that was closed a moment ago.
      if (isGone(session) && !call.wasRefused) again(call, connection)
      else fail(call, error as Error)
      return
    }
    call.stream = stream
    call.connection = connection
    connection.wasUsed = true
    if (connection.open++ === 0) session.ref()
    /** A call that was refused goes on by another stream, while this one has still things to say. */
    const isLive = () => !call.isOver && call.stream === stream
    let hasHead = false
    /** Bytes that are still to come, where it was said how many there are. */
    let missing: number | undefined
    stream.on('error', ended)
    stream.on('close', () => {
      if (--connection.open === 0) idle(connection)
      ended()
      admit()
    })
    stream.on('response', (headers) => {
      if (!isLive()) return
      hasHead = true
      const status = Number(headers[':status'])
      delete headers[':status']
      const isWithout = outbound.method === 'HEAD' || status === 304
      if (headers['content-length'] !== undefined && !isWithout) missing = Number(headers['content-length'])
      guarded(call, () => handler.onResponseStart?.(controller, status, headers))
    })
    stream.on('data', (chunk: Buffer) => {
      if (!isLive()) return
      if (missing !== undefined) missing -= chunk.length
      if (missing !== undefined && missing < 0) fail(call, new CoatcheckError('upstream_invalid', 'upstream_garbage'))
      else guarded(call, () => handler.onResponseData?.(controller, chunk))
    })
    stream.on('end', () => {
      // A stream that was reset ends as well, but not like this; and one that is too short is only found out later. A reset
      // without an error passes for the end (unlike RFC 9113, section 8.1): while its connection is busy, Node's own server
      // ends most of its answers so, whole ones, where it has not announced how long they are.
      if (!isLive() || !hasHead || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return
      if (missing) return fail(call, new CoatcheckError('upstream_invalid', 'upstream_garbage'))
      finish(call)
      handler.onResponseEnd?.(controller, {})
    })
    /** However it came to that: what was not complete has failed. */
    function ended(): void {
      if (!isLive()) return
      // The upstream did not look at it, and says so (RFC 9113, section 8.7).
      const isRefused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM && !hasHead && !isStream(outbound.body)
      if (isRefused && !call.wasRefused) again(call, connection)
      else fail(call, breachOf(stream, connection))
    }
    send(stream, call)
  }

  function again(call: Call, { session }: Http2Connection): void {
    call.wasRefused = true
    call.stream = undefined
    pending.add(call)
    // Who said goodbye is not asked any more; who takes no more calls for now is not asked at once.
    if (isGone(session)) admit()
    else setImmediate(admit)
  }

  /** Nothing of the call is of use to anybody any more. */
  function finish(call: Call): void {
    call.isOver = true
    pending.delete(call)
    const { stream, outbound } = call
    if (isStream(outbound.body)) outbound.body.destroy()
    if (!stream || stream.destroyed || (stream.readableEnded && stream.writableFinished)) return
    stream.close(constants.NGHTTP2_CANCEL)
    // Else what nobody reads any more would keep it.
    stream.destroy()
  }

  function fail(call: Call, error: Error): void {
    if (call.isOver) return
    finish(call)
    call.handler.onResponseError?.(call.controller, error)
  }

  function guarded(call: Call, step: () => void): void {
    try {
      step()
    } catch (error) {
      fail(call, error as Error)
    }
  }

  function send(stream: ClientHttp2Stream, call: Call): void {
    const { body } = call.outbound
    if (!isStream(body)) {
      if (body !== null) stream.end(body)
      return
    }
    body.on('data', (chunk: Uint8Array) => {
      if (!call.isOver && !stream.write(chunk)) body.pause()
    })
    stream.on('drain', () => body.resume())
    body.on('end', () => stream.end())
    body.on('error', (error: Error) => fail(call, error))
  }

  return {
    dispatch(outbound, handler) {
      const call: Call = {
        outbound,
        handler,
        stream: undefined,
        connection: undefined,
        wasRefused: false,
        isOver: false,
        controller: {
          get aborted() {
            return call.isOver
          },
          get paused() {
            return call.stream?.isPaused() === true
          },
          reason: null,
          pause: () => void call.stream?.pause(),
          resume: () => void call.stream?.resume(),
          abort(reason) {
            // An upstream that did not answer in time may be gone without a word.
            const isLate = reason instanceof CoatcheckError && reason.code === 'upstream_timeout'
            if (isLate && call.connection) suspect(call.connection, admit)
            fail(call, reason)
          },
        },
      }
      handler.onRequestStart?.(call.controller, {})
      if (isClosing) fail(call, lostConnection('The server is stopping'))
      if (call.isOver) return
      pending.add(call)
      admit()
    },
    async close() {
      isClosing = true
      connecting?.destroy()
      await Promise.all(
        [...connections].map(({ session }) => {
          // Its own callback is never called when the upstream said goodbye first.
          const closed = new Promise((resolve) => session.once('close', resolve))
          session.close()
          return closed
        }),
      )
    },
    destroy() {
      isClosing = true
      connecting?.destroy()
      for (const connection of connections) sever(connection)
    },
  }
}

function isStream(body: Outbound['body']): body is Readable {
  return body !== null && !(body instanceof Uint8Array)
}

function headersOf({ method, path, headers }: Outbound, host: string): Record<string, string> {
  const all: Record<string, string> = { ':method': method, ':path': path, ':scheme': 'https', ':authority': host }
  for (let at = 0; at < headers.length; at += 2) all[headers[at] ?? ''] = headers[at + 1] ?? ''
  return all
}

/** RFC 9113, section 7: what either side says when the other breaks the rules. */
const violations: readonly (number | undefined)[] = [
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
]

/** Why a stream ended before its time. A connection that broke may have been stale; a stream that was reset was not. */
function breachOf({ rstCode }: ClientHttp2Stream, { session: { destroyed } }: Http2Connection): Error {
  if (violations.includes(rstCode)) return new CoatcheckError('upstream_invalid', 'upstream_garbage')
  if (destroyed) return lostConnection('The connection broke')
  return new CoatcheckError('upstream_unreachable', 'upstream_reset')
}

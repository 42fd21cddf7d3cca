// Node transport: from undici's parser to the browser's socket, bytes untouched, without a web Request or Response between.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Dispatcher } from 'undici'
import { CoatcheckError } from '../errors.ts'
import type { Exchange, HeaderRecord, Transport, UpstreamCall } from '../platform.ts'
import { failure, isStaleConnection } from './failures.ts'
import { isCoded } from './headers.ts'
import type { OutboundHandler } from './http2.ts'
import { watchIfItLasts } from './lasting.ts'
import { type Lane, upstreamPools } from './undici-pools.ts'
import { type Upload, uploadOf } from './upload.ts'

/** A whole body up to this long goes to the socket in one write with the head. Bytes. */
const smallBody = 8_192

/** After so many pieces of an answer it is waited until all are taken: small ones cost far more than their bytes while they wait. */
const mostPieces = 256

/** What is read of an answer that the browser does not get, so that its connection can be used again. Bytes. */
const longestWithheld = 16_384

/** An answer without a length that lasts longer than this is a stream, whatever it says that it is. Milliseconds. */
const streamTime = 1_000

/** Methods whose effect does not multiply when a request is sent again (RFC 9110, section 9.2.2). */
const repeatable = new Set(['GET', 'HEAD', 'OPTIONS'])

export interface UndiciTransport {
  readonly transport: Transport
  /** Closes idle connections; waits for busy ones. */
  close(): Promise<void>
}

export function undiciTransport(): UndiciTransport {
  const pools = upstreamPools()
  return {
    transport(call, exchange) {
      const { incoming, outgoing } = exchange.source as HttpBindings
      const wantsEventStream = incoming.headers.accept?.includes('text/event-stream') === true
      const lane = pools.laneTo(call.destination, wantsEventStream)
      return new Promise((resolve, reject) => {
        const mayRepeat = repeatable.has(call.method) && !exchange.hasBody
        send(lane, call, exchange, incoming, outgoing, resolve, reject, mayRepeat)
      })
    },
    close: pools.close,
  }
}

function send(
  lane: Lane,
  call: UpstreamCall,
  exchange: Exchange,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  resolve: (answer: Response | undefined) => void,
  reject: (error: unknown) => void,
  mayRepeat: boolean,
): void {
  // The browser may have gone while its token was being renewed: nobody waits for this call any more.
  if (outgoing.destroyed) {
    call.ended(0)
    resolve(RESPONSE_ALREADY_SENT)
    return
  }
  let controller: Dispatcher.DispatchController | undefined
  let state: 'waiting' | 'streaming' | 'withheld' | 'over' = 'waiting'
  let isQueued = true
  let hasLeft = false
  let paused = false
  let wholeLength = -1
  let withheld = 0
  let received = 0
  let pieces = 0
  let upload: Upload | undefined
  let unwatch: (() => void) | undefined

  // undici starts its own clock again with every 1xx answer, and so would wait for ever. This one starts again only
  // while the body of the request moves: what the browser takes to send it is not the upstream's delay.
  let timer = setTimeout(onTime, call.timeout)
  let timesBody = false

  function onTime(): void {
    if (state === 'withheld') dropWithheld()
    else if (state === 'waiting' && upload?.awaitsBrowser()) timer.refresh()
    else if (state === 'waiting') {
      refuse(new CoatcheckError('upstream_timeout', isQueued ? 'upstream_queue_full' : 'timeout'))
    } else if (state === 'streaming' && wholeLength === -1) lane.becomeStream(start)
    else if (state === 'streaming') {
      if (!timesBody || paused) timeBody()
      else cut('upstream_stalled')
    }
  }
  /** From here on the upstream has so long for every piece of a body that it announced. */
  function timeBody(): void {
    if (timesBody) timer.refresh()
    else {
      timesBody = true
      clearTimeout(timer)
      timer = setTimeout(onTime, call.stallTimeout)
    }
  }
  /** Nothing more is done for this call, and its place is free. */
  function over(): void {
    if (state === 'streaming') call.ended(received)
    state = 'over'
    clearTimeout(timer)
    unwatch?.()
    outgoing.off('close', onClose)
    // What undici has and did not begin yet keeps its place until undici looks at it again.
    if (isQueued || controller) leave()
  }
  function refuse(error: CoatcheckError): void {
    over()
    controller?.abort(error)
    reject(error)
  }
  function leave(): void {
    if (hasLeft) return
    hasLeft = true
    lane.leave(start)
  }
  /** Cutting the connection is the only honest way to say that the rest is missing. */
  function cut(reason?: Parameters<UpstreamCall['broken']>[0]): void {
    over()
    if (reason) call.broken(reason)
    controller?.abort(new Error('Broken off'))
    outgoing.destroy()
  }
  function onClose(): void {
    if (state === 'over' || outgoing.writableFinished) {
      over()
      return
    }
    if (state === 'streaming') call.broken('client_gone')
    const wasStreaming = state === 'streaming'
    over()
    controller?.abort(new Error('The browser went away'))
    if (wasStreaming) return
    call.ended(0)
    resolve(RESPONSE_ALREADY_SENT)
  }
  /** Goes on without the rest of an answer that nobody is going to see. */
  function dropWithheld(): void {
    over()
    controller?.abort(new Error('Nobody wants the rest'))
    resolve(undefined)
  }
  function onDrain(): void {
    if (state !== 'streaming') return
    paused = false
    if (timesBody) timer.refresh()
    controller?.resume()
  }
  /** The socket counts what the other end takes, to the byte; it asks here when that was nothing for so long. */
  function onSilence(): void {
    if (state === 'streaming' && paused) cut('client_stalled')
    else if (state === 'over' && outgoing.writableLength > 0) {
      call.broken('client_stalled')
      outgoing.destroy()
    }
  }

  let isReused = false
  const handler: OutboundHandler = {
    onReuse(connected) {
      isReused = connected
    },
    onRequestStart(started) {
      controller = started
      if (state === 'over') started.abort(new Error('The browser went away'))
    },
    onResponseStart(_, status, headers) {
      if (status < 200 || state !== 'waiting') return
      if (isCoded(headers)) {
        refuse(new CoatcheckError('upstream_invalid', 'upstream_transfer_coding'))
        return
      }
      const out = call.receive(status, status === 204 ? withoutLength(headers) : headers)
      if (out === undefined) {
        state = 'withheld'
        return
      }
      state = 'streaming'
      outgoing.writeHead(status, out)
      if (headers['content-length'] !== undefined) {
        wholeLength = Number(headers['content-length'])
        if (wholeLength > smallBody) unwatch = watchBody(call, cut)
      } else {
        // What has no end may be silent for ever, and stay for hours: it does not take the place of other calls.
        clearTimeout(timer)
        if (isEventStream(headers)) lane.becomeStream(start)
        else timer = setTimeout(onTime, streamTime)
        // The first byte may be long in coming. If it did not come with the head, the head goes alone.
        process.nextTick(() => state === 'streaming' && outgoing.flushHeaders())
        unwatch = call.watch?.(() => cut())
      }
      resolve(RESPONSE_ALREADY_SENT)
    },
    onResponseData(_, chunk) {
      if (state === 'withheld') {
        withheld += chunk.length
        if (withheld > longestWithheld) dropWithheld()
      }
      if (state !== 'streaming') return
      received += chunk.length
      if (chunk.length === wholeLength && chunk.length <= smallBody) {
        // Node joins a head with a string only. In latin1 every character is a byte: they arrive as they came.
        outgoing.end(chunk.toString('latin1'), 'latin1')
        return
      }
      if (wholeLength !== -1) {
        // One that does not come in one piece may be long in coming.
        unwatch ??= watchBody(call, cut)
        timeBody()
      }
      const isMany = ++pieces % mostPieces === 0
      if ((isMany ? outgoing.write(chunk, onDrain) : outgoing.write(chunk)) && !isMany) return
      controller?.pause()
      if (paused) return
      paused = true
      if (outgoing.listenerCount('timeout') === 0) outgoing.setTimeout(call.stallTimeout, onSilence)
      if (!isMany) outgoing.once('drain', onDrain)
    },
    onResponseEnd() {
      const before = state
      over()
      leave()
      if (before === 'withheld') resolve(undefined)
      if (before !== 'streaming') return
      if (!outgoing.writableEnded) outgoing.end()
      // The upstream is done with, but the browser has not taken everything yet.
      if (outgoing.writableLength > 0 && outgoing.listenerCount('timeout') === 0)
        outgoing.setTimeout(call.stallTimeout, onSilence)
    },
    onResponseError(_, error) {
      const before = state
      if (before === 'streaming') cut('upstream_reset')
      else over()
      leave()
      if (before === 'withheld') resolve(undefined)
      else if (before === 'waiting' && mayRepeat && isReused && isStaleConnection(error)) {
        send(lane, call, exchange, incoming, outgoing, resolve, reject, false)
      } else if (before === 'waiting') reject(failure(error))
    },
  }

  function start(): void {
    isQueued = false
    const { path, headers, stallTimeout, bodyLimit: limit } = call
    if (exchange.hasBody && !call.body) {
      upload = uploadOf(incoming, outgoing, {
        limit,
        stallTimeout,
        moved: () => state === 'waiting' && timer.refresh(),
      })
    }
    const method = call.method as Dispatcher.HttpMethod
    lane.dispatch({ path, method, headers, body: call.body ?? upload?.body ?? null }, handler)
  }

  outgoing.once('close', onClose)
  if (lane.enter(start)) return
  hasLeft = true
  over()
  reject(new CoatcheckError('upstream_unreachable', 'upstream_queue_full', { retryAfter: 1 }))
}

/** A body of announced length ends with its session as well, if it lasts. */
function watchBody({ watch }: UpstreamCall, cut: () => void): (() => void) | undefined {
  return watch && watchIfItLasts(() => watch(() => cut()))
}

function isEventStream({ 'content-type': type }: HeaderRecord): boolean {
  return typeof type === 'string' && type.startsWith('text/event-stream')
}

/** A 204 has no length (RFC 9110, section 8.6), whatever the upstream says. */
function withoutLength({ 'content-length': _, ...headers }: HeaderRecord): HeaderRecord {
  return headers
}

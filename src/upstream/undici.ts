// Node transport: from undici's parser to the browser's socket, bytes untouched, without a web Request or Response between.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Dispatcher } from 'undici'
import { CoatcheckError } from '../errors.ts'
import type { Exchange, HeaderRecord, Transport, UpstreamCall } from '../platform.ts'
import { failure, isStaleConnection } from './failures.ts'
import { isCoded } from './headers.ts'
import { begins, ends } from './lasting.ts'
import {
  cut,
  dropWithheld,
  isShort,
  isTimed,
  lasts,
  leave,
  noticeSilence,
  onClose,
  onDrain,
  onTime,
  over,
  type Passage,
  refuse,
  timeLongBody,
} from './undici-passage.ts'
import { type Lane, upstreamPools } from './undici-pools.ts'
import { uploadOf } from './upload.ts'

/** A whole body up to this long goes to the socket in one write with the head. Bytes. */
const smallBody = 8_192

/** After so many pieces of an answer it is waited until all are taken: small ones cost far more than their bytes while they wait. */
const mostPieces = 256

/** What is read of an answer that the browser does not get, so that its connection can be used again. Bytes. */
const longestWithheld = 16_384

/** How long that may take. Milliseconds. */
const withheldTime = 1_000

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
  const passage: Passage = {
    lane,
    call,
    exchange,
    incoming,
    outgoing,
    resolve,
    reject,
    mayRepeat,
    startedAt: performance.now(),
    controller: undefined,
    state: 'waiting',
    isQueued: true,
    hasLeft: false,
    isReused: false,
    paused: false,
    wholeLength: -1,
    withheld: 0,
    received: 0,
    pieces: 0,
    timer: undefined,
    timesBody: false,
    upload: undefined,
    unwatch: undefined,
    before: undefined,
    after: undefined,
    start,
    lasts,
    onReuse,
    onRequestStart,
    onResponseStart,
    onResponseData,
    onResponseEnd,
    onResponseError,
  }
  // undici starts its own clock again with every 1xx answer, and so would wait for ever. This one starts again only
  // while the body of the request moves: what the browser takes to send it is not the upstream's delay.
  if (exchange.hasBody || isShort(call.timeout)) passage.timer = setTimeout(onTime, call.timeout, passage)
  else begins(passage)
  outgoing.on('close', () => onClose(passage))
  if (lane.enter(passage)) return
  passage.hasLeft = true
  over(passage)
  reject(new CoatcheckError('upstream_unreachable', 'upstream_queue_full', { retryAfter: 1 }))
}

function start(this: Passage): void {
  this.isQueued = false
  const { call, exchange, incoming, outgoing } = this
  const { path, headers, stallTimeout, bodyLimit: limit } = call
  if (exchange.hasBody && !call.body) {
    const moved = () => void (isTimed(this) && this.timer?.refresh())
    this.upload = uploadOf(incoming, outgoing, { limit, stallTimeout, moved })
  }
  const method = call.method as Dispatcher.HttpMethod
  this.lane.dispatch({ path, method, headers, body: call.body ?? this.upload?.body ?? null }, this)
}

function onReuse(this: Passage, connected: boolean): void {
  this.isReused = connected
}

function onRequestStart(this: Passage, started: Dispatcher.DispatchController): void {
  this.controller = started
  if (this.state === 'over') started.abort(new Error('The browser went away'))
}

function onResponseStart(
  this: Passage,
  _: Dispatcher.DispatchController,
  status: number,
  headers: Readonly<Record<string, string | string[]>>,
): void {
  if (status < 200 || this.state !== 'waiting') return
  const { call, outgoing } = this
  if (isCoded(headers)) {
    refuse(this, new CoatcheckError('upstream_invalid', 'upstream_transfer_coding'))
    return
  }
  const out = call.receive(status, status === 204 ? withoutLength(headers) : headers)
  if (out === undefined) {
    this.state = 'withheld'
    // Whoever waits for the next try does not wait for the rest of this one.
    ends(this)
    clearTimeout(this.timer)
    this.timer = setTimeout(onTime, withheldTime, this)
    return
  }
  this.state = 'streaming'
  outgoing.writeHead(status, out)
  if (headers['content-length'] !== undefined) {
    this.wholeLength = Number(headers['content-length'])
    // A short one comes with its head, or is found when it lasts.
    if (this.wholeLength > smallBody) timeLongBody(this)
    else begins(this)
  } else {
    // What has no end may be silent for ever, and stay for hours: it does not take the place of other calls.
    ends(this)
    clearTimeout(this.timer)
    if (isEventStream(headers)) this.lane.becomeStream(this)
    else this.timer = setTimeout(onTime, streamTime, this)
    // The first byte may be long in coming. If it did not come with the head, the head goes alone.
    process.nextTick(() => this.state === 'streaming' && outgoing.flushHeaders())
    this.unwatch = call.watch?.(() => cut(this))
  }
  this.resolve(RESPONSE_ALREADY_SENT)
}

function onResponseData(this: Passage, _: Dispatcher.DispatchController, chunk: Buffer): void {
  const { state, outgoing, wholeLength } = this
  if (state === 'withheld') {
    this.withheld += chunk.length
    if (this.withheld > longestWithheld) dropWithheld(this)
  }
  if (state !== 'streaming') return
  this.received += chunk.length
  if (chunk.length === wholeLength && chunk.length <= smallBody) {
    // Node joins a head with a string only. In latin1 every character is a byte: they arrive as they came.
    outgoing.end(chunk.toString('latin1'), 'latin1')
    return
  }
  if (wholeLength !== -1) {
    // One that does not come in one piece may be long in coming.
    if (this.timesBody) this.timer?.refresh()
    else if (this.pieces === 0) timeLongBody(this)
  }
  const isMany = ++this.pieces % mostPieces === 0
  if (isMany) outgoing.write(chunk, () => onDrain(this))
  else if (outgoing.write(chunk)) return
  this.controller?.pause()
  if (this.paused) return
  this.paused = true
  noticeSilence(this)
  if (!isMany) outgoing.once('drain', () => onDrain(this))
}

function onResponseEnd(this: Passage): void {
  const { state, outgoing } = this
  over(this)
  leave(this)
  if (state === 'withheld') this.resolve(undefined)
  if (state !== 'streaming') return
  if (!outgoing.writableEnded) outgoing.end()
  // The upstream is done with, but the browser has not taken everything yet.
  if (outgoing.writableLength > 0) noticeSilence(this)
}

function onResponseError(this: Passage, _: Dispatcher.DispatchController, error: Error): void {
  const { state, lane, call, exchange, incoming, outgoing, resolve, reject } = this
  // What was wrong with the rest of the request is not the upstream's fault.
  if (state === 'streaming') cut(this, error instanceof CoatcheckError ? brokenBy(error) : 'upstream_reset')
  else over(this)
  leave(this)
  if (state === 'withheld') resolve(undefined)
  else if (state === 'waiting' && this.mayRepeat && this.isReused && isStaleConnection(error)) {
    send(lane, call, exchange, incoming, outgoing, resolve, reject, false)
  } else if (state === 'waiting') reject(failure(error))
}

function brokenBy({ reason }: CoatcheckError): Parameters<UpstreamCall['broken']>[0] {
  return reason === 'body_too_large' || reason === 'client_stalled' ? reason : 'client_gone'
}

function isEventStream({ 'content-type': type }: HeaderRecord): boolean {
  return typeof type === 'string' && type.startsWith('text/event-stream')
}

/** A 204 has no length (RFC 9110, section 8.6), whatever the upstream says. */
function withoutLength({ 'content-length': _, ...headers }: Readonly<Record<string, string | string[]>>) {
  return headers
}

// Node transport: from undici's parser to the browser's socket, bytes untouched, without a web Request or Response between.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Client, type Dispatcher, Pool } from 'undici'
import { CoatcheckError } from '../errors.ts'
import type { Exchange, Transport, UpstreamCall } from '../platform.ts'

/**
 * undici marks a pool as busy for good when an idle client refuses a request synchronously. A refusal leaves the
 * client idle, so it can be told from a full one.
 */
class SafeClient extends Client {
  override dispatch(options: Dispatcher.DispatchOptions, handler: TrackingHandler): boolean {
    // Connected already, so the connection has been idle: the upstream may be closing it at this moment.
    handler.onReuse?.(this.stats.connected)
    return super.dispatch(options, handler) || this.stats.size === 0
  }
}

/** A handler that wants to know whether its connection is one that was used before. */
interface TrackingHandler extends Dispatcher.DispatchHandler {
  onReuse?(isReused: boolean): void
}

/** Settings of one connection pool; there is one pool for every upstream origin. */
const poolOptions: Pool.Options = {
  connections: 256,
  pipelining: 1,
  allowH2: false,
  connectTimeout: 5_000,
  keepAliveTimeout: 30_000,
  keepAliveMaxTimeout: 600_000,
  // Server-sent events may be silent for long; a browser that leaves ends the call.
  bodyTimeout: 0,
  maxHeaderSize: 65_536,
  factory: (origin: URL, options: object) => new SafeClient(origin, options),
}

/** A whole body up to this long goes to the socket in one write with the head. Bytes. */
const smallBody = 8_192

/** What is read of an answer that the browser does not get, so that its connection can be used again. Bytes. */
const longestWithheld = 16_384

/** Methods whose effect does not multiply when a request is sent again (RFC 9110, section 9.2.2). */
const repeatable = new Set(['GET', 'HEAD', 'OPTIONS'])
/** How long the connections may take to finish when everything ends. Milliseconds. */
const closeTime = 1_000

export interface UndiciTransport {
  readonly transport: Transport
  /** Closes idle connections; waits for busy ones. */
  close(): Promise<void>
}

export function undiciTransport(): UndiciTransport {
  const pools = new Map<string, Pool>()

  function poolFor(origin: string): Pool {
    const known = pools.get(origin)
    if (known) return known
    const pool = new Pool(origin, poolOptions)
    pools.set(origin, pool)
    return pool
  }

  return {
    transport(call, exchange) {
      const { incoming, outgoing } = exchange.source as HttpBindings
      return new Promise((resolve, reject) => {
        const mayRepeat = repeatable.has(call.method) && !exchange.hasBody
        send(poolFor(call.origin), call, exchange, incoming, outgoing, resolve, reject, mayRepeat)
      })
    },
    async close() {
      await Promise.all([...pools.values()].map(closePool))
    },
  }
}

async function closePool(pool: Pool): Promise<void> {
  const hurry = setTimeout(() => void pool.destroy(), closeTime)
  await pool.close().catch(() => {})
  clearTimeout(hurry)
}

function send(
  pool: Pool,
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
    resolve(RESPONSE_ALREADY_SENT)
    return
  }
  let controller: Dispatcher.DispatchController | undefined
  let state: 'waiting' | 'streaming' | 'withheld' | 'over' = 'waiting'
  let paused = false
  let wholeLength = -1
  let withheld = 0
  let unwatch: (() => void) | undefined

  // undici starts its own clock again with every 1xx answer, and so would wait for ever. This one starts again only
  // while the body of the request moves: what the browser takes to send it is not the upstream's delay.
  const timer = setTimeout(() => {
    if (state === 'withheld') return dropWithheld()
    if (state !== 'waiting') return
    state = 'over'
    outgoing.off('close', onClose)
    controller?.abort(new Error('The upstream took too long'))
    reject(new CoatcheckError('upstream_timeout', 'timeout'))
  }, call.timeout)

  const onClose = () => {
    clearTimeout(timer)
    unwatch?.()
    if (state === 'over' || outgoing.writableFinished) return
    if (state === 'streaming') call.broken('client_gone')
    const wasStreaming = state === 'streaming'
    state = 'over'
    controller?.abort(new Error('The browser went away'))
    if (!wasStreaming) resolve(RESPONSE_ALREADY_SENT)
  }
  /** Goes on without the rest of an answer that nobody is going to see. */
  function dropWithheld(): void {
    state = 'over'
    clearTimeout(timer)
    outgoing.off('close', onClose)
    controller?.abort(new Error('Nobody wants the rest'))
    resolve(undefined)
  }
  const onDrain = () => {
    paused = false
    controller?.resume()
  }

  let isReused = false
  const handler: TrackingHandler = {
    onReuse(connected) {
      isReused = connected
    },
    onRequestStart(started) {
      controller = started
      if (state === 'over') started.abort(new Error('The browser went away'))
    },
    onBodySent() {
      if (state === 'waiting') timer.refresh()
    },
    onResponseStart(_, status, headers) {
      if (status < 200 || state !== 'waiting') return
      const out = call.receive(status, headers)
      if (out === undefined) {
        state = 'withheld'
        return
      }
      clearTimeout(timer)
      state = 'streaming'
      outgoing.writeHead(status, out)
      if (headers['content-length'] !== undefined) wholeLength = Number(headers['content-length'])
      else {
        // The first byte may be long in coming. If it did not come with the head, the head goes alone.
        process.nextTick(() => state === 'streaming' && outgoing.flushHeaders())
        unwatch = call.watch?.(() => outgoing.destroy())
      }
      resolve(RESPONSE_ALREADY_SENT)
    },
    onResponseData(_, chunk) {
      if (state === 'withheld') {
        withheld += chunk.length
        if (withheld > longestWithheld) dropWithheld()
      }
      if (state !== 'streaming') return
      if (chunk.length === wholeLength && chunk.length <= smallBody) {
        // Node joins a head with a string only. In latin1 every character is a byte: they arrive as they came.
        outgoing.end(chunk.toString('latin1'), 'latin1')
        return
      }
      if (outgoing.write(chunk)) return
      controller?.pause()
      if (paused) return
      paused = true
      outgoing.once('drain', onDrain)
    },
    onResponseEnd() {
      clearTimeout(timer)
      unwatch?.()
      if (state === 'over') return
      if (state === 'withheld') resolve(undefined)
      else if (!outgoing.writableEnded) outgoing.end()
      state = 'over'
      outgoing.off('close', onClose)
    },
    onResponseError(_, error) {
      clearTimeout(timer)
      unwatch?.()
      const before = state
      state = 'over'
      outgoing.off('close', onClose)
      if (before === 'streaming') {
        call.broken('upstream_reset')
        // Cutting the connection is the only honest way to say that the rest is missing.
        outgoing.destroy()
      } else if (before === 'withheld') resolve(undefined)
      else if (before === 'waiting' && mayRepeat && isReused && isStaleConnection(error)) {
        send(pool, call, exchange, incoming, outgoing, resolve, reject, false)
      } else if (before === 'waiting') reject(failure(error))
    },
  }

  outgoing.once('close', onClose)
  pool.dispatch(
    {
      path: call.path,
      method: call.method as Dispatcher.HttpMethod,
      headers: call.headers,
      headersTimeout: 0,
      body: call.body ?? (exchange.hasBody ? bodyOf(incoming, call.bodyLimit) : null),
    },
    handler,
  )
}

/** The request body; one without an announced length is counted on the way. */
function bodyOf(incoming: IncomingMessage, limit: number): Readable {
  return incoming.headers['content-length'] === undefined ? Readable.from(limited(incoming, limit)) : incoming
}

async function* limited(incoming: IncomingMessage, limit: number): AsyncGenerator<Uint8Array> {
  let length = 0
  // What the browser still sends is drained later: the connection is good for the answer.
  for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
    length += chunk.length
    if (length > limit) throw new CoatcheckError('body_too_large', 'body_too_large')
    yield chunk
  }
}

/** An idle connection that the upstream closed just when it was used again: the request was never looked at. */
function isStaleConnection(error: Error & { code?: string }): boolean {
  return error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE'
}

function failure(error: Error & { code?: string }): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  if (isStaleConnection(error)) return new CoatcheckError('upstream_unreachable', 'upstream_reset', {}, error)
  const isGarbage = error.code?.startsWith('HPE_') || error.name === 'HTTPParserError' || !isNetworkError(error)
  if (isGarbage) return new CoatcheckError('upstream_invalid', 'upstream_garbage', {}, error)
  return new CoatcheckError('upstream_unreachable', 'unreachable', {}, error)
}

/** Errors of the system's network calls, and undici's own time-out for connecting. */
function isNetworkError(error: Error & { code?: string; errors?: unknown }): boolean {
  return (
    /^(E[A-Z]+|UND_ERR_CONNECT_TIMEOUT|CERT_|ERR_TLS|UNABLE_|DEPTH_|SELF_)/.test(error.code ?? '') || 'errors' in error
  )
}

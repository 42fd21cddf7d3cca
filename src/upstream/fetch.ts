// Transport over `fetch`, for Workers and for tests in memory: streams both ways, follows nothing.
import { CoatcheckError } from '../errors.ts'
import type { Destination, HeaderList, HeaderRecord, Transport, UpstreamCall } from '../platform.ts'
import { isCoded } from './headers.ts'

type Body = ReadableStream<Uint8Array>
/** A stream of bytes that passes them on as they come. */
type PassThrough = TransformStream<Uint8Array, Uint8Array>

/** Bytes of a request body that are read at once. */
const pieceSize = 65_536

/**
 * @param fetch the runtime's own, or a stand-in.
 * @param announced makes what a body passes through to have the length that was announced, where the runtime has a way to;
 * without it the upstream gets the body in chunks.
 */
export function fetchTransport(
  fetch: (request: Request, destination: Destination) => Promise<Response>,
  announced?: (length: number) => PassThrough,
): Transport {
  return async (call, exchange) => {
    const source = exchange.source as Request
    // The Fetch standard has no such request.
    if (exchange.hasBody && /^(GET|HEAD)$/.test(call.method)) throw new CoatcheckError('bad_request', 'body_unexpected')
    const aborted = new AbortController()
    const patience = patienceOf(call, aborted)
    const onGone = () => aborted.abort(new CoatcheckError('bad_request', 'client_gone'))
    source.signal?.addEventListener('abort', onGone, { once: true })
    try {
      const streamed = exchange.hasBody && !call.body
      const body = streamed ? limited(source.body, call.bodyLimit, aborted, patience) : null
      const length = exchange.headers['content-length']
      const sized = announced && body && length !== undefined ? body.pipeThrough(announced(Number(length))) : body
      const answer = await fetch(requestFor(call, call.body ?? sized, aborted), call.destination)
      const headers = headersOf(answer)
      const out = call.receive(answer.status, headers)
      if (out === undefined) {
        void answer.body?.cancel().catch(() => {})
        return undefined
      }
      return responseOf(answer, out, call, announced)
    } catch (error) {
      const cause = aborted.signal.aborted ? aborted.signal.reason : error
      if (cause instanceof CoatcheckError) throw cause
      throw new CoatcheckError('upstream_unreachable', 'unreachable', {}, error)
    } finally {
      patience.end()
    }
  }
}

/** Ends the call when whoever is waited for takes too long: the browser with its body, or else the upstream with its answer. */
interface Patience {
  withBrowser(): void
  withUpstream(): void
  end(): void
}

function patienceOf({ timeout, stallTimeout }: UpstreamCall, aborted: AbortController): Patience {
  let timer: ReturnType<typeof setTimeout> | undefined
  let isOver = false
  const wait = (milliseconds: number, error: () => CoatcheckError) => {
    clearTimeout(timer)
    if (!isOver) timer = setTimeout(() => aborted.abort(error()), milliseconds)
  }
  const patience: Patience = {
    withBrowser: () => wait(stallTimeout, () => new CoatcheckError('bad_request', 'client_stalled')),
    withUpstream: () => wait(timeout, () => new CoatcheckError('upstream_timeout', 'timeout')),
    end() {
      isOver = true
      clearTimeout(timer)
    },
  }
  patience.withUpstream()
  return patience
}

function requestFor(
  call: UpstreamCall,
  body: Body | Uint8Array<ArrayBuffer> | null,
  aborted: AbortController,
): Request {
  const headers = new Headers()
  for (let at = 0; at < call.headers.length; at += 2) headers.append(call.headers[at] ?? '', call.headers[at + 1] ?? '')
  // `duplex` is what Node asks for when a body streams; Workers ignore it.
  const init: RequestInit & { duplex: 'half' } = {
    method: call.method,
    headers,
    body,
    redirect: 'manual',
    signal: aborted.signal,
    duplex: 'half',
  }
  return new Request(call.destination.origin + call.path, init)
}

/** The request body, which ends the call when it grows too large or breaks off. */
function limited(body: Body | null, limit: number, aborted: AbortController, patience: Patience): Body | null {
  if (body === null) return null
  let length = 0
  const reader = largeReader(body)
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      patience.withBrowser()
      const { done, value } = await reader.read().catch((error) => {
        // Without this the runtime would end the body as if it were whole.
        aborted.abort(new CoatcheckError('bad_request', 'client_gone'))
        throw error
      })
      patience.withUpstream()
      if (done || value === undefined) return controller.close()
      length += value.length
      if (length <= limit) return controller.enqueue(value)
      const error = new CoatcheckError('body_too_large', 'body_too_large')
      aborted.abort(error)
      throw error
    },
    cancel: (reason) => reader.cancel(reason),
  })
}

/** Reads in large pieces where the runtime can: many small ones are what a gigabyte costs most time and memory. */
function largeReader(body: Body): Pick<ReadableStreamDefaultReader<Uint8Array>, 'cancel' | 'read'> {
  try {
    const reader = body.getReader({ mode: 'byob' })
    return {
      read: async () => {
        const { done, value } = await reader.read(new Uint8Array(pieceSize))
        return done ? { done, value: undefined } : { done, value }
      },
      cancel: (reason) => reader.cancel(reason),
    }
  } catch {
    // The standard has streams that cannot be read so.
    return body.getReader()
  }
}

/** Characters that no field value has (RFC 9110, section 5.5). A runtime that lets them in would let them out, too. */
const control = /[^\t -~\x80-\uffff]/

/** @throws CoatcheckError `upstream_invalid` */
function headersOf({ headers, body }: Response): HeaderRecord {
  const record: Record<string, string> = {}
  let reason: 'upstream_garbage' | 'upstream_transfer_coding' | undefined
  for (const [name, value] of headers) {
    if (control.test(value)) reason = 'upstream_garbage'
    record[name] = value
  }
  if (isCoded(record)) reason = 'upstream_transfer_coding'
  if (reason === undefined) return record
  void body?.cancel().catch(() => {})
  throw new CoatcheckError('upstream_invalid', reason)
}

function responseOf(
  answer: Response,
  out: HeaderList,
  call: UpstreamCall,
  announced: (length: number) => PassThrough = () => new TransformStream(),
): Response {
  const headers = new Headers()
  for (let at = 0; at < out.length; at += 2) headers.append(out[at] ?? '', out[at + 1] ?? '')
  const length = answer.headers.get('content-length')
  const isLookedInto = call.watch && answer.body && length === null
  // A body that is not looked into costs little; how it ends is not told then.
  if (!isLookedInto) call.ended(answer.body === null ? 0 : length === null ? undefined : Number(length))
  let body: Body | null = answer.body
  if (body && call.watch) {
    body = length === null ? watched(body, call) : passedOn(body, call, announced(Number(length)))
  }
  // Workers would pack a body again that says it is packed.
  const init: ResponseInit & { encodeBody: 'manual' } = { status: answer.status, headers, encodeBody: 'manual' }
  return new Response(body, init)
}

/** A body of announced length, moved by the runtime, that breaks off when its session ends. */
function passedOn(body: Body, call: UpstreamCall, { readable, writable }: PassThrough): Body {
  const over = new AbortController()
  const unwatch = call.watch?.(() => over.abort(new Error('The session is over')))
  const stop = () => unwatch?.()
  body.pipeTo(writable, { signal: over.signal }).then(stop, stop)
  return readable
}

/** A stream that breaks off when its session ends, also while nothing comes from the upstream. */
function watched(body: Body, call: UpstreamCall): Body {
  const reader = body.getReader()
  let received = 0
  let unwatch: (() => void) | undefined
  let isOver = false
  const over = () => {
    unwatch?.()
    if (!isOver) call.ended(received)
    isOver = true
  }
  return new ReadableStream<Uint8Array>({
    start(controller) {
      unwatch = call.watch?.(() => {
        over()
        controller.error(new Error('The session is over'))
        void reader.cancel().catch(() => {})
      })
    },
    async pull(controller) {
      const { done, value } = await reader.read().catch((error) => {
        over()
        throw error
      })
      if (done) {
        over()
        return controller.close()
      }
      received += value.length
      controller.enqueue(value)
    },
    cancel(reason) {
      over()
      return reader.cancel(reason)
    },
  })
}

// Transport over `fetch`, for Workers and for tests in memory: streams both ways, follows nothing.
import type { Context } from 'hono'
import { CoatcheckError } from '../errors.ts'
import type { Exchange, HeaderList, HeaderRecord, Transport, UpstreamCall } from '../platform.ts'

/** @param fetch the runtime's own, or a stand-in. */
export function fetchTransport(fetch: (request: Request) => Promise<Response>): Transport {
  return async (call, exchange, c) => {
    const aborted = new AbortController()
    const timer = setTimeout(() => aborted.abort(new CoatcheckError('upstream_timeout', 'timeout')), call.timeout)
    const onGone = () => aborted.abort(new CoatcheckError('upstream_unreachable', 'client_gone'))
    c.req.raw.signal?.addEventListener('abort', onGone, { once: true })
    try {
      const answer = await fetch(requestFor(call, exchange, c, aborted))
      const out = call.receive(answer.status, recordOf(answer.headers))
      if (out === undefined) {
        void answer.body?.cancel().catch(() => {})
        return undefined
      }
      return responseOf(answer, out, call)
    } catch (error) {
      const cause = aborted.signal.aborted ? aborted.signal.reason : error
      if (cause instanceof CoatcheckError) throw cause
      throw new CoatcheckError('upstream_unreachable', 'unreachable', {}, error)
    } finally {
      clearTimeout(timer)
    }
  }
}

function requestFor(call: UpstreamCall, exchange: Exchange, c: Context, aborted: AbortController): Request {
  const headers = new Headers()
  for (let at = 0; at < call.headers.length; at += 2) headers.append(call.headers[at] ?? '', call.headers[at + 1] ?? '')
  const body = exchange.hasBody ? limited(c.req.raw.body, call.bodyLimit, aborted) : null
  // `duplex` is what Node asks for when a body streams; Workers ignore it.
  const init: RequestInit & { duplex: 'half' } = {
    method: call.method,
    headers,
    body,
    redirect: 'manual',
    signal: aborted.signal,
    duplex: 'half',
  }
  return new Request(call.origin + call.path, init)
}

function limited(body: ReadableStream<Uint8Array> | null, limit: number, aborted: AbortController) {
  if (body === null) return null
  let length = 0
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        length += chunk.length
        if (length <= limit) return controller.enqueue(chunk)
        const error = new CoatcheckError('body_too_large', 'body_too_large')
        aborted.abort(error)
        controller.error(error)
      },
    }),
  )
}

function recordOf(headers: Headers): HeaderRecord {
  const record: Record<string, string> = {}
  for (const [name, value] of headers) record[name] = value
  return record
}

function responseOf(answer: Response, out: HeaderList, { watch }: UpstreamCall): Response {
  const headers = new Headers()
  for (let at = 0; at < out.length; at += 2) headers.append(out[at] ?? '', out[at + 1] ?? '')
  const isEventStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
  const body = watch && answer.body && isEventStream ? watched(answer.body, watch) : answer.body
  return new Response(body, { status: answer.status, headers })
}

/** A stream that breaks off when its session ends, also while nothing comes from the upstream. */
function watched(body: ReadableStream<Uint8Array>, watch: NonNullable<UpstreamCall['watch']>) {
  const reader = body.getReader()
  let unwatch = () => {}
  return new ReadableStream<Uint8Array>({
    start(controller) {
      unwatch = watch(() => {
        controller.error(new Error('The session is over'))
        void reader.cancel().catch(() => {})
      })
    },
    async pull(controller) {
      const { done, value } = await reader.read().catch((error) => {
        unwatch()
        throw error
      })
      if (!done) return controller.enqueue(value)
      unwatch()
      controller.close()
    },
    cancel(reason) {
      unwatch()
      return reader.cancel(reason)
    },
  })
}

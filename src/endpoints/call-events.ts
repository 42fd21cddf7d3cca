// What the operator is told of one call that went up: one event when it is over, and why when it broke off.
import { CoatcheckError, errorCodes } from '../errors.ts'
import type { Exchange, Platform, UpstreamCall } from '../platform.ts'

/** What is told of a call. */
interface Call {
  readonly route: { readonly path: string }
  readonly exchange: Pick<Exchange, 'method' | 'hasBody' | 'headers'>
  readonly session: { readonly id: string } | undefined
  /** When it came, and how long it waited for its credential. Milliseconds, since 1970 and long. */
  readonly startedAt: number
  readonly waited: number
}

export interface CallEvents {
  /**
   * A call is over.
   * @param status what the browser saw; 0 when it left before there was anything to see.
   * @param upstreamMilliseconds the wait for the head of the answer
   * @param responseBytes of the upstream's body; `undefined` where the runtime does not say
   */
  over(call: Call, status: number, upstreamMilliseconds: number, responseBytes: number | undefined): void
  /** A call ended in an error of ours. */
  failed(call: Call, error: unknown): void
  /** An answer that had begun broke off. */
  broken(route: string, reason: Parameters<UpstreamCall['broken']>[0]): void
}

/** The browser left before there was an answer: no status of HTTP, but what proxies call it. */
const clientLeft = 499
const unexpected = { code: 'internal_error', reason: 'unexpected' } as const

export function createCallEvents({ now, log }: Pick<Platform, 'now' | 'log'>): CallEvents {
  function over(
    { route, exchange, session, startedAt, waited }: Call,
    status: number,
    upstreamMilliseconds: number,
    responseBytes: number | undefined,
  ): void {
    const { method, hasBody, headers } = exchange
    const length = hasBody ? headers['content-length'] : 0
    // The query is no part of it.
    log({
      event: 'request.forwarded',
      route: route.path,
      method,
      status: status || clientLeft,
      milliseconds: now() - startedAt,
      upstreamMilliseconds,
      tokenMilliseconds: waited,
      requestBytes: length === undefined ? undefined : Number(length),
      responseBytes,
      session: session?.id,
    })
  }

  return {
    over,
    failed(call, error) {
      const { code, reason } = error instanceof CoatcheckError ? error : unexpected
      const status = reason === 'client_gone' ? clientLeft : errorCodes[code].status
      over(call, status, now() - call.startedAt - call.waited, 0)
    },
    broken(route, reason) {
      if (reason === 'client_gone') log({ event: 'client.gone', route })
      else if (reason === 'client_stalled') log({ event: 'client.stalled', route })
      else if (reason === 'body_too_large') log({ event: 'request.refused', code: reason, reason, route })
      else log({ event: 'upstream.failed', route, code: 'upstream_unreachable', reason })
    },
  }
}

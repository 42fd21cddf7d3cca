// The body of a request on its way from the browser's socket to an upstream: counted, never in a heap, never for ever.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { CoatcheckError } from '../errors.ts'
import { answerExpectation } from '../node-exchange.ts'

export interface UploadOptions {
  /** Bytes. One more than this ends it with `body_too_large`. */
  readonly limit: number
  /** Longest silence of the browser while the upstream would take more, in milliseconds. */
  readonly stallTimeout: number
  /** Called with every piece that goes on to the upstream. */
  readonly moved: () => void
}

export interface Upload {
  readonly body: Readable
  /** Whether the upstream would take more than the browser has sent: what takes so long is not the upstream's doing. */
  awaitsBrowser(): boolean
}

/**
 * A body that can be thrown away without the connection it comes on: an upstream may answer before it has seen all of it, and
 * the browser gets that answer. A browser that asks first (`Expect: 100-continue`) is told to go on when somebody reads.
 */
export function uploadOf(incoming: IncomingMessage, outgoing: ServerResponse, options: UploadOptions): Upload {
  let length = 0
  let hasBegun = false
  let wantsMore = false
  let timer: NodeJS.Timeout | undefined

  const body = new Readable({
    read() {
      wantsMore = true
      if (hasBegun) {
        incoming.resume()
        return
      }
      hasBegun = true
      answerExpectation(incoming, outgoing)
      timer = setTimeout(onSilence, options.stallTimeout)
      incoming.on('data', onData).on('end', onEnd)
    },
    destroy(error, done) {
      clearTimeout(timer)
      wantsMore = false
      incoming.off('data', onData).off('end', onEnd)
      // Who writes before it reads would else never come to the answer. How long that may take: `node-linger.ts`.
      if (hasBegun) incoming.resume()
      done(error)
    },
  })

  // undici listens only while it sends the body. Whoever it was that ended it is told by other ways.
  body.on('error', () => {})

  function onData(chunk: Buffer): void {
    length += chunk.length
    if (length > options.limit) {
      body.destroy(new CoatcheckError('body_too_large', 'body_too_large'))
      return
    }
    timer?.refresh()
    options.moved()
    wantsMore = body.push(chunk)
    if (!wantsMore) incoming.pause()
  }
  function onEnd(): void {
    clearTimeout(timer)
    wantsMore = false
    body.push(null)
  }
  function onSilence(): void {
    if (wantsMore) body.destroy(new CoatcheckError('bad_request', 'client_stalled'))
    else timer?.refresh()
  }
  return { body, awaitsBrowser: () => wantsMore }
}

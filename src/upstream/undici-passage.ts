// One call on its way between undici and the browser's socket: its state, its clocks, and its ends.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Dispatcher } from 'undici'
import { CoatcheckError } from '../errors.ts'
import type { AnsweringSocket } from '../node-upgrade.ts'
import type { Exchange, UpstreamCall } from '../platform.ts'
import type { OutboundHandler } from './http2.ts'
import { begins, ends, type Lasting, lookEvery } from './lasting.ts'
import type { Lane, Visitor } from './undici-pools.ts'
import type { Upload } from './upload.ts'

/** One call on its way, with the methods that undici calls. There is one for every call: so it has fields, and no closures. */
export interface Passage extends OutboundHandler, Lasting, Visitor {
  readonly lane: Lane
  readonly call: UpstreamCall
  readonly exchange: Exchange
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly resolve: (answer: Response | undefined) => void
  readonly reject: (error: unknown) => void
  readonly mayRepeat: boolean
  /** Milliseconds by the clock of `performance`. */
  readonly startedAt: number
  /** There from the moment when undici begins to send. */
  controller: Dispatcher.DispatchController | undefined
  /** For the head of the answer; its body goes to the browser, or to nobody; done with. */
  state: 'waiting' | 'streaming' | 'withheld' | 'over'
  /** Whether it still waits for a place in its lane, and whether it has given that back. */
  isQueued: boolean
  hasLeft: boolean
  /** Whether its connection was used before. */
  isReused: boolean
  /** Whether the browser is waited for. */
  paused: boolean
  /** Bytes: what the answer announces, -1 for nothing; what came of one that is withheld, and of one that goes on. */
  wholeLength: number
  withheld: number
  received: number
  /** How many pieces it came in. */
  pieces: number
  /** For the head, or (`timesBody`) for the next piece of the body. */
  timer: NodeJS.Timeout | undefined
  timesBody: boolean
  upload: Upload | undefined
  unwatch: (() => void) | undefined
}

/** Whether a time is too short to wait for the next look at what lasts. */
export const isShort = (milliseconds: number) => milliseconds < 2 * lookEvery

/** Gives a clock of its own to what lasts, and an end with its session. */
export function lasts(this: Passage): void {
  const { call } = this
  if (this.state === 'streaming') {
    this.unwatch ??= call.watch?.(() => cut(this))
    if (!this.timesBody) timeBody(this)
  } else if (this.state !== 'over' && !this.timer) {
    const rest = call.timeout - (performance.now() - this.startedAt)
    this.timer = setTimeout(onTime, Math.max(rest, 0), this)
  }
}

export function onTime(passage: Passage): void {
  const { state, upload, timer, lane } = passage
  if (state === 'withheld') dropWithheld(passage)
  else if (state === 'waiting' && upload?.awaitsBrowser()) timer?.refresh()
  else if (state === 'waiting') {
    const reason = passage.isQueued ? 'upstream_queue_full' : 'timeout'
    refuse(passage, new CoatcheckError('upstream_timeout', reason))
  } else if (state === 'streaming' && passage.wholeLength === -1) lane.becomeStream(passage)
  else if (state === 'streaming') {
    if (!passage.timesBody || passage.paused || upload?.awaitsBrowser()) timeBody(passage)
    else cut(passage, 'upstream_stalled')
  }
}

/** Whether the upstream has a limited time for what comes next: a stream without an end takes as long as it likes. */
export const isTimed = ({ state, wholeLength }: Passage) =>
  state === 'waiting' || (state === 'streaming' && wholeLength !== -1)

/** From here on the upstream has so long for every piece of a body that it announced. */
function timeBody(passage: Passage): void {
  if (passage.timesBody) passage.timer?.refresh()
  else {
    passage.timesBody = true
    clearTimeout(passage.timer)
    passage.timer = setTimeout(onTime, passage.call.stallTimeout, passage)
  }
}

/** Nothing more is done for this call, and its place is free. */
export function over(passage: Passage): void {
  const { state, timer, unwatch } = passage
  if (state === 'streaming') passage.call.ended(passage.received)
  passage.state = 'over'
  ends(passage)
  if (timer) clearTimeout(timer)
  if (unwatch) unwatch()
  // What undici has and did not begin yet keeps its place until undici looks at it again.
  if (passage.isQueued || passage.controller) leave(passage)
}

export function leave(passage: Passage): void {
  if (passage.hasLeft) return
  passage.hasLeft = true
  passage.lane.leave(passage)
}

export function refuse(passage: Passage, error: CoatcheckError): void {
  over(passage)
  passage.controller?.abort(error)
  passage.reject(error)
}

/** Cutting the connection is the only honest way to say that the rest is missing. */
export function cut(passage: Passage, reason?: Parameters<UpstreamCall['broken']>[0]): void {
  over(passage)
  if (reason) passage.call.broken(reason)
  passage.controller?.abort(new Error('Broken off'))
  passage.outgoing.destroy()
}

/** Goes on without the rest of an answer that nobody is going to see. */
export function dropWithheld(passage: Passage): void {
  over(passage)
  passage.controller?.abort(new Error('Nobody wants the rest'))
  passage.resolve(undefined)
}

export function onClose(passage: Passage): void {
  const { state, call } = passage
  if (state === 'over') return
  if (passage.outgoing.writableFinished) {
    over(passage)
    return
  }
  if (state === 'streaming') call.broken('client_gone')
  over(passage)
  passage.controller?.abort(new Error('The browser went away'))
  if (state === 'streaming') return
  call.ended(0)
  passage.resolve(RESPONSE_ALREADY_SENT)
}

export function onDrain(passage: Passage): void {
  if (passage.state !== 'streaming') return
  passage.paused = false
  if (passage.timesBody) passage.timer?.refresh()
  passage.controller?.resume()
}

/** The socket counts what the other end takes, to the byte; it asks here when that was nothing for so long. */
export function noticeSilence(passage: Passage): void {
  const { outgoing, call } = passage
  if (outgoing.listenerCount('timeout') > 0) return
  const { socket } = outgoing as ServerResponse & { socket: AnsweringSocket | null }
  // The next request may have come already: then Node leaves this clock to its answer, which knows nothing of it.
  outgoing.once('finish', () => socket?._httpMessage && socket.setTimeout(0))
  outgoing.setTimeout(call.stallTimeout, () => {
    if (passage.state === 'streaming' && passage.paused) cut(passage, 'client_stalled')
    else if (passage.state === 'over' && outgoing.writableLength > 0) {
      call.broken('client_stalled')
      outgoing.destroy()
    }
  })
}

/** A body of announced length has so long for every piece, and ends with its session as well, if it lasts. */
export function timeLongBody(passage: Passage): void {
  begins(passage)
  if (isShort(passage.call.stallTimeout)) timeBody(passage)
}

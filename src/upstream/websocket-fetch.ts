// Workers: the same two handshakes with `fetch`, and a relay between two sockets of the runtime.
import { CoatcheckError } from '../errors.ts'
import type { Destination, HeaderRecord, Transport, UpstreamCall, WebSocketCall, WebSocketReason } from '../platform.ts'
import { type Closing, closeCodeOf, closings, noCloseFrame, noCode } from './websocket-closing.ts'
import { handshakeCookies, isAcceptable, withoutBody } from './websocket-handshake.ts'

/** A WebSocket as Workers have it. */
export interface RuntimeWebSocket {
  binaryType: string
  /** @param options `allowHalfOpen` leaves the answer to a close frame to us. */
  accept(options?: { allowHalfOpen?: boolean }): void
  send(message: string | ArrayBuffer): void
  close(code?: number, reason?: string): void
  addEventListener(type: 'message', listener: (event: { data: string | ArrayBuffer }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
  addEventListener(type: 'error', listener: () => void): void
}

export interface WebSocketRuntime {
  /** Asks the upstream. An answer of 101 has its socket. */
  fetch(request: Request, destination: Destination): Promise<Response & { webSocket?: RuntimeWebSocket | null }>
  /** Answers 101: what is sent into `ours` arrives at the browser. */
  switched(headers: Headers): { answer: Response; ours: RuntimeWebSocket }
}

/**
 * There is no back-pressure here, because the runtime has none to offer, no ping and no way to cut a connection: it
 * answers pings itself, and what was cut on one side is closed with 1001 on the other.
 */
export function fetchUpgrade(runtime: WebSocketRuntime): Transport {
  return async (call) => {
    const { websocket } = call
    if (websocket === undefined) throw new CoatcheckError('internal_error', 'unexpected')
    const answer = await dial(runtime, call, websocket)
    const { status, headers, webSocket: upstream } = answer
    const received: Record<string, string> = {}
    for (const [name, value] of headers) received[name] = value
    if (upstream && !isAcceptable(received, websocket.protocols)) {
      upstream.accept()
      upstream.close(1002, 'unknown subprotocol')
      throw new CoatcheckError('upstream_invalid', 'upstream_garbage')
    }
    // 101 without a socket.
    if (!upstream && status < 200) throw new CoatcheckError('upstream_invalid', 'upstream_garbage')
    if (upstream) {
      await websocket.live().catch((error) => {
        upstream.accept()
        upstream.close(1001, '')
        throw error
      })
    }
    const out = call.receive(status, received)
    if (!upstream) {
      void answer.body?.cancel().catch(() => {})
      if (out) call.ended(0)
      return out && new Response(null, { status, headers: headersOf(withoutBody(out)) })
    }
    const { answer: accepted, ours } = runtime.switched(switchedHeaders(received, out ?? []))
    relay(ours, upstream, websocket)
    call.ended(0)
    return accepted
  }
}

async function dial({ fetch }: WebSocketRuntime, call: UpstreamCall, { protocols }: WebSocketCall) {
  const headers = headersOf(call.headers)
  headers.set('upgrade', 'websocket')
  if (protocols.length > 0) headers.set('sec-websocket-protocol', protocols.join(', '))
  const aborted = new AbortController()
  const timer = setTimeout(() => aborted.abort(new CoatcheckError('upstream_timeout', 'timeout')), call.timeout)
  try {
    const { destination, path } = call
    const request = new Request(destination.origin + path, { headers, redirect: 'manual', signal: aborted.signal })
    return await fetch(request, destination)
  } catch (error) {
    if (aborted.signal.aborted) throw aborted.signal.reason
    throw new CoatcheckError('upstream_unreachable', 'unreachable', {}, error)
  } finally {
    clearTimeout(timer)
  }
}

function headersOf(list: readonly string[]): Headers {
  const headers = new Headers()
  for (let at = 0; at < list.length; at += 2) headers.append(list[at] ?? '', list[at + 1] ?? '')
  return headers
}

function switchedHeaders(received: HeaderRecord, out: string[]): Headers {
  const headers = headersOf(handshakeCookies(out).flat())
  const chosen = received['sec-websocket-protocol']
  if (typeof chosen === 'string') headers.set('sec-websocket-protocol', chosen)
  return headers
}

/** Passes messages and closing handshakes from each side to the other. */
function relay(browser: RuntimeWebSocket, upstream: RuntimeWebSocket, call: WebSocketCall): void {
  const sides = { browser, upstream }
  const up = { messages: 0, bytes: 0 }
  const down = { messages: 0, bytes: 0 }
  let isOver = false
  let idle: ReturnType<typeof setTimeout> | undefined
  const tell = call.opened((reason) => end(reason))

  function over(by: 'browser' | 'upstream' | 'coatcheck', closeCode: number, reason?: WebSocketReason): void {
    isOver = true
    clearTimeout(idle)
    tell({ by, closeCode, reason, up, down })
  }

  function end(reason: WebSocketReason, blamed?: 'browser' | 'upstream'): void {
    if (isOver) return
    over(blamed ?? 'coatcheck', closeCodeOf(reason), reason)
    const closing = closings[reason]
    for (const name of ['browser', 'upstream'] as const) {
      const blame: Closing | undefined = name === blamed ? [1009, 'message too large'] : undefined
      shut(sides[name], ...(blame ?? (closing === 'dropped' ? [1001, ''] : closing[name])))
    }
  }

  function stayAwake(): void {
    if (call.idleTimeout === undefined) return
    clearTimeout(idle)
    idle = setTimeout(() => end('websocket_idle'), call.idleTimeout)
  }

  function pump(name: 'browser' | 'upstream', to: RuntimeWebSocket, traffic: typeof up): void {
    const from = sides[name]
    from.binaryType = 'arraybuffer'
    from.addEventListener('message', ({ data }) => {
      if (isOver) return
      const bytes = sizeOf(data)
      if (bytes > call.messageLimit) return end('websocket_message_too_large', name)
      traffic.messages++
      traffic.bytes += bytes
      stayAwake()
      try {
        to.send(data)
      } catch {
        // It is closing, and says so in a moment.
      }
    })
    from.addEventListener('close', ({ code, reason }) => {
      if (!isOver) over(name, code)
      shut(from, code, reason)
      shut(to, code, reason)
    })
    from.addEventListener('error', () => {
      if (!isOver) over(name, noCloseFrame)
      shut(to, noCloseFrame, '')
    })
  }

  stayAwake()
  pump('browser', upstream, up)
  pump('upstream', browser, down)
  browser.accept({ allowHalfOpen: true })
  upstream.accept({ allowHalfOpen: true })
}

function shut(socket: RuntimeWebSocket, code: number, reason: string): void {
  try {
    if (code === noCode) socket.close()
    else if (code === noCloseFrame) socket.close(1001)
    else socket.close(code, reason)
  } catch {
    // Closed already, or a code that the runtime does not send.
  }
}

/** Bytes of a message; text is counted as UTF-8. */
function sizeOf(data: string | ArrayBuffer): number {
  return typeof data === 'string' ? new TextEncoder().encode(data).length : data.byteLength
}

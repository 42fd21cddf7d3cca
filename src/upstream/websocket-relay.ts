// Two WebSockets that are one: messages, closing handshakes and silence pass from each to the other. Node only.
import { type RawData, WebSocket } from 'ws'
import type { WebSocketCall, WebSocketReason, WebSocketSummary, WebSocketTraffic } from '../platform.ts'
import { closeCodeOf, closings, noCloseFrame, noCode } from './websocket-closing.ts'

/** With more than this unsent towards one side, nothing more is read from the other. Bytes. */
const mostUnsent = 262_144
/** With no more than this left, reading goes on. Bytes. */
const fewUnsent = 65_536
/** How often each side is pinged. Who has answered nothing by the next time is gone. Milliseconds. */
const heartbeat = 30_000
/** How long a side that we close may take to answer. Milliseconds. */
const closeTime = 3_000

export interface Relays {
  /** Connects two WebSockets that are both open. The upstream's is paused, the browser's was opened in this very turn. */
  connect(browser: WebSocket, upstream: WebSocket, call: WebSocketCall): void
  /** Ends all of them with 1001, and at once each that comes later. Resolves when no connection is left. */
  close(): Promise<void>
}

export function createRelays(): Relays {
  const open = new Set<Relay>()
  let isStopping = false
  let whenEmpty = () => {}
  let beat: ReturnType<typeof setInterval> | undefined

  return {
    connect(browser, upstream, call) {
      const relay = startRelay(browser, upstream, call, () => {
        open.delete(relay)
        if (open.size > 0) return
        clearInterval(beat)
        beat = undefined
        whenEmpty()
      })
      open.add(relay)
      beat ??= setInterval(() => {
        for (const one of open) one.beat()
      }, heartbeat).unref()
      upstream.resume()
      if (isStopping) relay.end('websocket_server_stopping')
    },
    async close() {
      isStopping = true
      const empty = new Promise<void>((resolve) => {
        whenEmpty = resolve
      })
      if (open.size === 0) return
      for (const relay of open) relay.end('websocket_server_stopping')
      // Also those that were ending by themselves, and take longer.
      const hurry = setTimeout(() => {
        for (const relay of open) relay.cut()
      }, closeTime)
      await empty
      clearTimeout(hurry)
    },
  }
}

interface Relay {
  end(reason: WebSocketReason): void
  /** Pings both sides, and gives up one that has not answered the last time. */
  beat(): void
  /** Cuts both connections. */
  cut(): void
}

type Name = 'browser' | 'upstream'

interface Side {
  readonly name: Name
  readonly socket: WebSocket
  /** What came from here. */
  readonly traffic: WebSocketTraffic
  /** Whether anything was heard from it since the last beat. */
  isAlive: boolean
  /** Whether it is not read, because the other side does not keep up. */
  isPaused: boolean
}

/** @param gone told when both connections are closed. */
function startRelay(browser: WebSocket, upstream: WebSocket, call: WebSocketCall, gone: () => void): Relay {
  const left = sideOf('browser', browser)
  const right = sideOf('upstream', upstream)
  let closedSides = 0
  let isOver = false
  let isAbandoned = false
  const tell = call.opened(end)
  const idle = call.idleTimeout === undefined ? undefined : setTimeout(() => end('websocket_idle'), call.idleTimeout)

  function over(by: WebSocketSummary['by'], closeCode: number, reason?: WebSocketReason): void {
    if (isOver) return
    isOver = true
    clearTimeout(idle)
    tell({ by, closeCode, reason, up: left.traffic, down: right.traffic })
  }

  /** Ends it whatever the two sides would like. Nothing passes any more. */
  function end(reason: WebSocketReason, blamed?: Side): void {
    if (isOver) return
    isAbandoned = true
    over(blamed?.name ?? 'coatcheck', closeCodeOf(reason), reason)
    const closing = closings[reason]
    const isPolite = closing !== 'dropped'
    if (isPolite) {
      // Who is to blame was told already, by the library, in the code for what was wrong.
      for (const { name, socket } of [left, right]) if (name !== blamed?.name) socket.close(...closing[name])
    }
    // What is not read could not answer either.
    for (const side of [left, right]) resume(side)
    if (isPolite) setTimeout(cut, closeTime).unref()
    else cut()
  }

  function cut(): void {
    browser.terminate()
    upstream.terminate()
  }

  function pump(from: Side, to: Side): void {
    const sent = () => {
      if (!from.isPaused) return
      to.isAlive = true
      if (to.socket.bufferedAmount <= fewUnsent) resume(from)
    }
    from.socket.on('message', (data: RawData, isBinary: boolean) => {
      from.isAlive = true
      if (isAbandoned || to.socket.readyState !== WebSocket.OPEN) return
      // Buffers is what they are: `binaryType` is the library's own.
      const message = data as Buffer
      from.traffic.messages++
      from.traffic.bytes += message.length
      idle?.refresh()
      to.socket.send(message, { binary: isBinary }, sent)
      if (from.isPaused || to.socket.bufferedAmount <= mostUnsent) return
      from.isPaused = true
      from.socket.pause()
    })
    const heard = () => {
      from.isAlive = true
    }
    from.socket.on('ping', heard).on('pong', heard)
    from.socket.on('error', (error: Error & { code?: string }) => {
      const isTooLarge = error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
      // Anything else is a connection that broke, and `close` follows.
      if (!isTooLarge && !error.code?.startsWith('WS_ERR_')) return
      end(isTooLarge ? 'websocket_message_too_large' : 'websocket_protocol_error', from)
    })
    from.socket.on('close', (code: number, text: Buffer) => {
      over(from.name, code)
      if (code === noCloseFrame) to.socket.terminate()
      else if (code === noCode) to.socket.close()
      else to.socket.close(code, text)
      resume(to)
      closedSides++
      if (closedSides === 2) gone()
    })
  }

  pump(left, right)
  pump(right, left)
  return {
    end,
    cut,
    beat() {
      for (const side of [left, right]) {
        // One that is not read cannot be heard. The side it waits for decides.
        if (side.isPaused || side.socket.readyState !== WebSocket.OPEN) continue
        if (!side.isAlive) return end('websocket_silent', side)
        side.isAlive = false
        side.socket.ping()
      }
    },
  }
}

function sideOf(name: Name, socket: WebSocket): Side {
  return { name, socket, traffic: { messages: 0, bytes: 0 }, isAlive: true, isPaused: false }
}

function resume(side: Side): void {
  if (!side.isPaused) return
  side.isPaused = false
  side.socket.resume()
}

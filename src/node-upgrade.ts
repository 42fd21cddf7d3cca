// WebSocket handshakes as Node hands them over: made into requests like any other, and all the rest put back where it was.
import { type IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { markUpgrade } from './node-exchange.ts'

/** How long what a browser still sends after its refusal is read, so that the refusal reaches it. Milliseconds. */
const lingerTime = 1_000

export interface Upgrades {
  /** Cuts the connections of handshakes and WebSockets that are still there. */
  cut(): void
}

/**
 * Takes the handshakes of a server.
 *
 * @param isOurs whether a request is a handshake that may become a WebSocket. Every other is a request like any other,
 * whatever it would like its connection to become.
 * @param listener answers them. Its response is the only one on its connection, which closes behind it: what follows the
 * head of a handshake is never taken for a request.
 */
export function takeUpgrades(
  server: Server,
  isOurs: (incoming: IncomingMessage) => boolean,
  listener: RequestListener,
): Upgrades {
  const open = new Set<Socket>()

  function take(incoming: IncomingMessage, socket: Socket, head: Buffer): void {
    if (socket.destroyed) return
    const pending = (socket as AnsweringSocket)._httpMessage
    if (pending) {
      // A browser does not do this: requests before this one are still being answered on the same connection.
      pending.once('close', () => take(incoming, socket, head))
      return
    }
    if (!isOurs(incoming)) {
      giveBack(server, incoming, socket, head)
      return
    }
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    if (head.length > 0) socket.unshift(head)
    const outgoing = new ServerResponse(incoming)
    outgoing.shouldKeepAlive = false
    outgoing.assignSocket(socket)
    outgoing.once('finish', () => {
      outgoing.detachSocket(socket)
      linger(socket)
    })
    // Nobody reads here until it is a WebSocket, and whoever leaves before that would not be noticed.
    socket.once('end', () => {
      if (!outgoing.destroyed && !outgoing.writableEnded) socket.destroy()
    })
    socket.read(0)
    markUpgrade(incoming)
    listener(incoming, outgoing)
  }

  server.on('upgrade', (incoming: IncomingMessage, _: Duplex, head: Buffer) => {
    const { socket } = incoming
    // Node has taken its own listeners away, and an error that nobody listens to would end the process.
    socket.on('error', () => socket.destroy())
    take(incoming, socket, head)
  })
  return {
    cut: () => {
      for (const socket of open) socket.destroy()
    },
  }
}

/** Whether a request asks for a WebSocket and for nothing besides. */
export function isWebSocketHandshake({ method, httpVersion, headers }: IncomingMessage): boolean {
  const isAsked = headers.upgrade?.toLowerCase() === 'websocket' && method === 'GET' && httpVersion === '1.1'
  return isAsked && headers['content-length'] === undefined && headers['transfer-encoding'] === undefined
}

/** Node keeps the answer under way here, and looks here itself before it answers a malformed request. */
export type AnsweringSocket = Socket & { _httpMessage?: ServerResponse | null }

/**
 * Lets the server read the request once more, without the wish for another protocol. Only Node before 24.9 hands over
 * what it was not asked to (`shouldUpgradeCallback`).
 */
function giveBack(server: Server, incoming: IncomingMessage, socket: Socket, head: Buffer): void {
  const { method = '', url = '', httpVersion, rawHeaders } = incoming
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2)
    // Node's parser takes the one for the other.
    const isConnection = /^(?:proxy-)?connection$/i.test(name)
    lines.push(`${name}: ${isConnection ? withoutUpgrade(value) : value}`)
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit('connection', socket)
}

function withoutUpgrade(value: string): string {
  const options = value.split(',').filter((option) => option.trim().toLowerCase() !== 'upgrade')
  return options.join(',').trim()
}

/** Closes our half, and the rest when the other side has heard it. */
function linger(socket: Socket): void {
  socket.end()
  socket.resume()
  socket.once('end', () => socket.destroySoon())
  const timer = setTimeout(() => socket.destroy(), lingerTime)
  socket.once('close', () => clearTimeout(timer))
}

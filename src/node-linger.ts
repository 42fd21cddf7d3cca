// What a browser goes on sending when it has its answer: read for a while and thrown away. Whoever closes a connection over unread
// bytes resets it, and the answer may be lost with it (RFC 9112, section 9.6).
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'

/** How long it may take altogether, and how long nothing may come. Milliseconds. */
const lingerTime = 30_000
const longestSilence = 5_000
/** How often that is looked at. Milliseconds. */
const lookEvery = 1_000
/** Most that is taken; whoever sends so much so fast does not mean us well. Bytes. */
const mostTaken = 268_435_456

/** To be called with each request that has a body, before it is answered. Costs nothing unless the answer comes first. */
export function lingerBehind(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { socket } = incoming
  if (!outgoing.shouldKeepAlive || incoming.headers.expect !== undefined) {
    // Behind the last answer on a connection Node closes it at once, whatever still comes.
    socket.destroySoon = () => {
      if (outgoing.writableFinished && !incoming.complete) socket.end()
      else Socket.prototype.destroySoon.call(socket)
    }
  }
  outgoing.once('finish', () => {
    if (!incoming.complete && !socket.destroyed) linger(incoming)
  })
}

function linger(incoming: IncomingMessage): void {
  const { socket } = incoming
  const before = socket.bytesRead
  let seen = before
  let time = 0
  let silence = 0
  const timer = setInterval(() => {
    const { bytesRead } = socket
    time += lookEvery
    silence = bytesRead === seen ? silence + lookEvery : 0
    seen = bytesRead
    const isEnough = time >= lingerTime || silence >= longestSilence || bytesRead - before > mostTaken
    if (isEnough) socket.destroy()
    // Who had begun to read it has stopped.
    else if (incoming.isPaused()) incoming.removeAllListeners('data').resume()
  }, lookEvery)
  timer.unref()
  const over = () => {
    clearInterval(timer)
    socket.off('close', over)
    // Nothing may follow where it was said that nothing would.
    if (socket.writableEnded) socket.destroySoon()
  }
  incoming.once('end', over)
  socket.once('close', over)
}

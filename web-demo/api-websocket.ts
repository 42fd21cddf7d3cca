// The WebSocket of the demo API, at /echo: says whom its token was for, and then what it hears.
import type { Server } from 'node:http'
import { WebSocketServer } from 'ws'

/** @param subjectOf the user of an `Authorization` header, or `undefined` for one that is no good. */
export function takeWebSockets(
  server: Server,
  subjectOf: (authorization: string | undefined) => Promise<string | undefined>,
): void {
  const echo = new WebSocketServer({ noServer: true, maxPayload: 65_536 })
  server.on('upgrade', async (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    const subject = request.url === '/echo' ? await subjectOf(request.headers.authorization) : undefined
    if (subject === undefined) {
      socket.end(
        'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n',
      )
      return
    }
    echo.handleUpgrade(request, socket, head, (opened) => {
      opened.on('error', () => opened.terminate())
      opened.on('message', (message, isBinary) => opened.send(message, { binary: isBinary }))
      opened.send(`hello ${subject}`)
    })
  })
}

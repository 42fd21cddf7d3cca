// The API behind the bench: event streams that say one thing and then nothing, WebSockets that send back what they hear.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { settings } from '../../support/node-server.ts'

const { port, origins } = settings<'origins'>()

const echo = new WebSocketServer({ noServer: true, clientTracking: false })

for (const one of [port, ...JSON.parse(origins)]) {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: open\n\n')
  })
  server.on('upgrade', (request, socket, head) => {
    echo.handleUpgrade(request, socket, head, (opened) => {
      opened.on('error', () => {})
      opened.on('message', (message, isBinary) => opened.send(message, { binary: isBinary }))
    })
  })
  server.listen(one, '127.0.0.1')
}

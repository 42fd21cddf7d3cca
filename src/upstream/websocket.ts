// Node: the two handshakes of a WebSocket, the upstream's first, so that what it refuses the browser hears as HTTP.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { WebSocket, WebSocketServer } from 'ws'
import { CoatcheckError } from '../errors.ts'
import type { HeaderList, HeaderRecord, Transport, UpstreamCall, WebSocketCall } from '../platform.ts'
import { failure } from './failures.ts'
import { tlsOptionsOf } from './tls.ts'
import { handshakeCookies, isAcceptable, withoutBody } from './websocket-handshake.ts'
import { createRelays } from './websocket-relay.ts'

export interface WebSocketUpgrade {
  readonly upgrade: Transport
  /** Closes all WebSockets with 1001, and cuts those that take longer than three seconds over it. */
  close(): Promise<void>
}

/** What no upstream may ask of us, and no browser: compression of each message would cost memory for each connection. */
const always = { perMessageDeflate: false, followRedirects: false, maxHeaderSize: 65_536 } as const

export function webSocketUpgrade(): WebSocketUpgrade {
  const relays = createRelays()
  return {
    close: relays.close,
    async upgrade(call, exchange) {
      const { incoming, outgoing } = exchange.source as HttpBindings
      const { websocket } = call
      if (websocket === undefined) throw new CoatcheckError('internal_error', 'unexpected')
      const dialled = await dial(call, websocket, outgoing)
      // The browser went away.
      if (dialled === undefined) {
        call.ended(0)
        return RESPONSE_ALREADY_SENT
      }
      const { upstream, status, headers } = dialled
      if (upstream) {
        await websocket.live().catch((error) => {
          upstream.terminate()
          throw error
        })
      }
      const out = call.receive(status, headers)
      if (upstream) {
        const browser = accept(incoming, outgoing, websocket, headers, out ?? [])
        if (browser) relays.connect(browser, upstream, websocket)
        else upstream.terminate()
      } else if (out) outgoing.writeHead(status, [...withoutBody(out), 'content-length', '0']).end()
      else return undefined
      call.ended(0)
      return RESPONSE_ALREADY_SENT
    },
  }
}

/** What came of the upstream's handshake: a WebSocket that is paused, or its refusal. */
interface Dialled {
  readonly upstream?: WebSocket
  readonly status: number
  readonly headers: HeaderRecord
}

/** @returns `undefined` when the browser did not wait. @throws CoatcheckError */
function dial(call: UpstreamCall, { protocols, messageLimit }: WebSocketCall, outgoing: ServerResponse) {
  return new Promise<Dialled | undefined>((resolve, reject) => {
    if (outgoing.destroyed) return resolve(undefined)
    const { destination } = call
    const headers: Record<string, string> = {}
    for (let at = 0; at < call.headers.length; at += 2) headers[call.headers[at] ?? ''] = call.headers[at + 1] ?? ''
    // Not as the library's own parameter: it insists that the upstream chooses one, which the standard does not.
    if (protocols.length > 0) headers['sec-websocket-protocol'] = protocols.join(', ')
    const upstream = new WebSocket(`ws${destination.origin.slice('http'.length)}${call.path}`, {
      ...always,
      ...tlsOptionsOf(destination.tls),
      headers,
      maxPayload: messageLimit,
      finishRequest(request) {
        // The library writes the query anew; it goes up byte for byte.
        request.path = call.path
        request.end()
      },
    })

    // A clock of our own: the library's starts again with every byte, and so would wait for ever.
    const timer = setTimeout(() => {
      settle(() => reject(new CoatcheckError('upstream_timeout', 'timeout')))
      upstream.terminate()
    }, call.timeout)
    const onGone = () => {
      settle(() => resolve(undefined))
      upstream.terminate()
    }
    outgoing.once('close', onGone)
    function settle(how: () => void): void {
      clearTimeout(timer)
      outgoing.off('close', onGone)
      how()
    }

    let answer: HeaderRecord = {}
    upstream.on('upgrade', (response: IncomingMessage) => {
      answer = { ...response.headers }
      // Any other than one of the offered is left there for the library to stumble over.
      if (isAcceptable(answer, protocols)) delete response.headers['sec-websocket-protocol']
    })
    upstream.on('open', () => {
      upstream.pause()
      settle(() => resolve({ upstream, status: 101, headers: answer }))
    })
    upstream.on('unexpected-response', (_, { statusCode: status = 0, headers }) => {
      // 101 without what belongs to it, or nothing that Node would let us send.
      const isAnswer = status >= 200 && status <= 599
      if (isAnswer) settle(() => resolve({ status, headers }))
      else settle(() => reject(new CoatcheckError('upstream_invalid', 'upstream_garbage')))
      upstream.terminate()
    })
    // Stays: an error that nobody listens to would end the process.
    upstream.on('error', (error) => settle(() => reject(failure(error))))
  })
}

/** Answers the browser's handshake with 101. `undefined` when it has gone. */
function accept(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { messageLimit }: WebSocketCall,
  answer: HeaderRecord,
  out: HeaderList,
): WebSocket | undefined {
  const { socket } = incoming
  if (socket.destroyed) return undefined
  // From here on the connection is no answer's. Who holds it still must not write to it.
  outgoing.detachSocket(socket)
  outgoing.destroy()
  const chosen = answer['sec-websocket-protocol']
  const server = new WebSocketServer({
    ...always,
    noServer: true,
    clientTracking: false,
    maxPayload: messageLimit,
    handleProtocols: () => (typeof chosen === 'string' ? chosen : false),
  })
  server.on('headers', (lines) => {
    for (const [name, value] of handshakeCookies(out)) lines.push(`${name}: ${value}`)
  })
  let browser: WebSocket | undefined
  server.handleUpgrade(incoming, socket, Buffer.alloc(0), (opened) => {
    browser = opened
  })
  return browser
}

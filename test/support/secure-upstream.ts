// An API over TLS that speaks HTTP/2, HTTP/1.1 or both, and counts who connects.
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type SecureServerOptions,
  type ServerHttp2Session,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type Certificate, selfSigned } from './certificate.ts'

export { constants }

export interface SecureUpstream {
  readonly url: string
  readonly port: number
  readonly server: Http2SecureServer
  /** What a route needs as `tls.ca` to believe it. */
  readonly certificate: Certificate
  /** `GET /path 2.0`, one for each request. */
  readonly calls: string[]
  /** Connections that are open now, and how many there have been. */
  readonly open: Set<TLSSocket>
  readonly connections: { count: number }
  readonly sessions: Set<ServerHttp2Session>
  /** Common names of the client certificates that were shown, `-` for none; one for each connection. */
  readonly shown: string[]
  /** Takes over from the next request on. */
  answer: (request: Http2ServerRequest, response: Http2ServerResponse) => void
  close(): Promise<void>
}

/** Starts it; whoever starts it closes it. `options.allowHTTP1: false` makes it speak nothing but HTTP/2. */
export async function startSecureUpstream(
  options: SecureServerOptions = {},
  certificate = selfSigned('localhost'),
): Promise<SecureUpstream> {
  const { key, cert } = certificate
  const server = createSecureServer({ allowHTTP1: true, key, cert, ...options }, (request, response) => {
    upstream.calls.push(`${request.method} ${request.url} ${request.httpVersion}`)
    request.on('error', () => {})
    response.on('error', () => {})
    upstream.answer(request, response)
  })
  server.on('secureConnection', (socket) => {
    upstream.connections.count++
    upstream.open.add(socket)
    upstream.shown.push(String(socket.getPeerCertificate().subject?.CN ?? '-'))
    socket.on('error', () => {}).on('close', () => upstream.open.delete(socket))
  })
  server.on('session', (session) => {
    upstream.sessions.add(session)
    session.on('error', () => {}).on('close', () => upstream.sessions.delete(session))
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const upstream: SecureUpstream = {
    url: `https://localhost:${port}`,
    port,
    server,
    certificate,
    calls: [],
    open: new Set(),
    connections: { count: 0 },
    sessions: new Set(),
    shown: [],
    answer: (request, response) => void response.end(`${request.method} ${request.url} ${request.httpVersion}`),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const session of upstream.sessions) session.destroy()
      for (const socket of upstream.open) socket.destroy()
      await closed
    },
  }
  return upstream
}

// An API over TLS that answers with exactly the HTTP/2 frames a test wants, proper ones or not (RFC 9113, section 6).
import type { AddressInfo } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { selfSigned } from './certificate.ts'

export interface RawHttp2Upstream {
  readonly url: string
  /** What a route needs as `tls.ca` to believe it. */
  readonly ca: string
  /** How many connections there have been. */
  readonly connections: { count: number }
  /** Connections that are open now. */
  readonly open: Set<TLSSocket>
  /** Takes over from the next request on. */
  answer: (socket: TLSSocket, stream: number) => void
  close(): Promise<void>
}

const types = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7 } as const
const flags = { none: 0, acknowledges: 1, endStream: 1, endHeaders: 4 } as const

function frame(type: keyof typeof types, flag: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = types[type]
  head[4] = flag
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value, at * 4)
  return bytes
}

/** `:status: 200`, and a length where one is announced. */
export function answerHead(stream: number, length?: string): Buffer {
  const announced = length === undefined ? '' : `\x0f\x0d${String.fromCharCode(length.length)}${length}`
  return frame('headers', flags.endHeaders, stream, Buffer.from(`\x88${announced}`, 'latin1'))
}
export const data = (stream: number, text: string, last: 'last' | 'more') =>
  frame('data', last === 'last' ? flags.endStream : flags.none, stream, Buffer.from(text))
export const reset = (stream: number, code = 0) => frame('reset', flags.none, stream, words(code))
export const goaway = (lastStream: number, code = 0) => frame('goaway', flags.none, 0, words(lastStream, code))
/** SETTINGS_MAX_CONCURRENT_STREAMS */
export const mostStreams = (number: number) =>
  frame('settings', flags.none, 0, Buffer.concat([Buffer.from([0, 3]), words(number)]))

/** Starts it; whoever starts it closes it. */
export async function startRawHttp2Upstream(answer: RawHttp2Upstream['answer'] = () => {}): Promise<RawHttp2Upstream> {
  const { key, cert } = selfSigned('localhost')
  const open = new Set<TLSSocket>()
  const connections = { count: 0 }
  const server = createServer({ key, cert, ALPNProtocols: ['h2'] }, (socket) => {
    open.add(socket)
    connections.count++
    let unread: Buffer = Buffer.alloc(0)
    let preface = 24
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    socket.write(frame('settings', flags.none, 0))
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      if (unread.length < preface) return
      unread = unread.subarray(preface)
      preface = 0
      while (unread.length >= 9 && unread.length >= 9 + unread.readUIntBE(0, 3)) {
        const end = 9 + unread.readUIntBE(0, 3)
        const [type, flag, stream] = [unread[3], unread[4] ?? 0, unread.readUInt32BE(5)]
        const asks = (flag & flags.acknowledges) === 0
        if (type === types.settings && asks) socket.write(frame('settings', flags.acknowledges, 0))
        if (type === types.ping && asks) socket.write(frame('ping', flags.acknowledges, 0, unread.subarray(9, end)))
        if (type === types.headers) upstream.answer(socket, stream)
        unread = unread.subarray(end)
      }
    })
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const upstream: RawHttp2Upstream = {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    ca: cert,
    connections,
    open,
    answer,
    async close() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return upstream
}

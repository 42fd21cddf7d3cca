// WebSocket handshakes and frames as bytes, right or wrong, for tests that speak without a library.
import { createHash } from 'node:crypto'

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** Header lines of a proper handshake, as a browser sends them. */
export const handshakeLines = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

/** What a server has to answer to the key in this head. */
export function acceptFor(head: string): string {
  const key = /^sec-websocket-key: *(\S+)/im.exec(head)?.[1] ?? ''
  return createHash('sha1')
    .update(key + guid)
    .digest('base64')
}

/** The 101 for a handshake. */
export function switching(head: string, more: readonly string[] = []): string {
  const lines = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${acceptFor(head)}`, ...more]
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`
}

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

interface FrameOptions {
  /** Browsers mask, servers do not. Default: `true`. */
  masked?: boolean
  fin?: boolean
  /** The three reserved bits. */
  reserved?: number
  /** The length that the frame announces, if not that of the payload. */
  announced?: bigint
}

export function frame(opcode: number, payload: string | Buffer, options: FrameOptions = {}): Buffer {
  const { masked = true, fin = true, reserved = 0, announced } = options
  const data = Buffer.from(payload)
  const length = announced ?? BigInt(data.length)
  const first = (fin ? 128 : 0) | (reserved << 4) | opcode
  const mask = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0)
  const body = masked ? data.map((byte, at) => byte ^ (mask[at % 4] ?? 0)) : data
  return Buffer.concat([Buffer.from([first]), lengthBytes(length, masked ? 128 : 0), mask, body])
}

function lengthBytes(length: bigint, maskBit: number): Buffer {
  if (length < 126n) return Buffer.from([maskBit | Number(length)])
  if (length < 65_536n) return Buffer.from([maskBit | 126, Number(length >> 8n), Number(length & 255n)])
  const bytes = Buffer.alloc(9)
  bytes[0] = maskBit | 127
  bytes.writeBigUInt64BE(length, 1)
  return bytes
}

/** The close code in what a server sent behind its 101; `undefined` when it sent no close frame. */
export function closeCodeIn(received: Buffer): number | undefined {
  for (let at = 0; at + 1 < received.length; ) {
    const [opcode = 0, second = 0] = [(received[at] ?? 0) & 15, received[at + 1] ?? 0]
    const extra = second === 127 ? 8 : second === 126 ? 2 : 0
    const length = extra === 0 ? second : Number(`0x${received.toString('hex', at + 2, at + 2 + extra)}`)
    const start = at + 2 + extra
    if (opcode === opcodes.close) return length >= 2 ? received.readUInt16BE(start) : 1005
    at = start + length
  }
  return undefined
}

// A client that sends exactly the bytes a test wants, over one TCP connection, and reads answers one after another.
import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  readonly status: number
  readonly headers: Headers
  readonly setCookie: string[]
  readonly body: Buffer
  readonly text: string
}

export interface RawConnection {
  readonly socket: Socket
  send(bytes: string | Buffer): void
  /** The next complete answer that is not 1xx; `undefined` when the server closed the connection without one. */
  answer(to?: 'HEAD'): Promise<RawAnswer | undefined>
  /** All answers until the server closes the connection. */
  answers(first?: 'HEAD'): Promise<RawAnswer[]>
  /** Everything received so far, as it came. */
  received(): string
  close(): void
}

/** Longest wait for one answer, in milliseconds. Whoever takes longer hangs, and a test says so. */
const patience = 8_000

export function openConnection(url: string): RawConnection {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  const chunks: Buffer[] = []
  let unread: Buffer = Buffer.alloc(0)
  let closed = false
  let wake = () => {}
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    unread = Buffer.concat([unread, chunk])
    wake()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
    wake()
  })

  async function answer(to?: 'HEAD'): Promise<RawAnswer | undefined> {
    const deadline = Date.now() + patience
    for (;;) {
      const found = firstAnswer(unread, closed, to === 'HEAD')
      if (found) {
        unread = unread.subarray(found.length)
        if (found.answer.status >= 200) return found.answer
        continue
      }
      if (closed) return undefined
      const isLate = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(true), deadline - Date.now())
        wake = () => {
          clearTimeout(timer)
          resolve(false)
        }
      })
      if (isLate) throw new Error(`No complete answer within ${patience} ms, only ${JSON.stringify(String(unread))}`)
    }
  }

  return {
    socket,
    send: (bytes) => void socket.write(bytes),
    answer,
    async answers(first) {
      const all: RawAnswer[] = []
      for (let one = await answer(first); one; one = await answer()) all.push(one)
      return all
    },
    received: () => Buffer.concat(chunks).toString('latin1'),
    close: () => void socket.destroy(),
  }
}

/** Sends bytes that end in a request with `Connection: close`; returns all answers. */
export async function converse(url: string, bytes: string | Buffer): Promise<RawAnswer[]> {
  const connection = openConnection(url)
  try {
    connection.send(bytes)
    return await connection.answers(String(bytes).startsWith('HEAD ') ? 'HEAD' : undefined)
  } finally {
    connection.close()
  }
}

/** A request head: request line, `Host`, these header lines, and the empty line. */
export function head(line: string, headers: readonly string[] = [], host = 'app.localhost'): string {
  return [`${line} HTTP/1.1`, `Host: ${host}`, ...headers, '', ''].join('\r\n')
}

/** What a page of the application sends with `fetch`. */
export const fromPage = ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty']

/** One request, with the headers of a page, over a connection of its own. */
export async function ask(url: string, line: string, headers: readonly string[] = [], body = ''): Promise<RawAnswer> {
  const [answer] = await converse(url, head(line, [...fromPage, ...headers, 'Connection: close']) + body)
  if (!answer) throw new Error(`${line}: the connection was closed without an answer`)
  return answer
}

function firstAnswer(
  bytes: Buffer,
  closed: boolean,
  toHead: boolean,
): { answer: RawAnswer; length: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [line = '', ...fields] = bytes.toString('latin1', 0, end).split('\r\n')
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1])
  if (Number.isNaN(status)) throw new Error(`Not an answer: ${JSON.stringify(line)}`)
  const headers = new Headers()
  for (const field of fields) headers.append(field.slice(0, field.indexOf(':')), field.slice(field.indexOf(':') + 1))
  const found = bodyAt(bytes, end + 4, headers, closed, toHead || status < 200 || status === 204 || status === 304)
  if (!found) return undefined
  const { body, length } = found
  const answer = { status, headers, setCookie: headers.getSetCookie(), body, text: body.toString() }
  return { answer, length }
}

/** The body that begins at `start`, and where it ends (RFC 9112, section 6.3). */
function bodyAt(
  bytes: Buffer,
  start: number,
  headers: Headers,
  closed: boolean,
  isEmpty: boolean,
): { body: Buffer; length: number } | undefined {
  if (isEmpty) return { body: Buffer.alloc(0), length: start }
  const announced = headers.get('content-length')
  if (headers.get('transfer-encoding') === 'chunked') return chunked(bytes, start)
  const length = announced === null ? bytes.length : start + Number(announced)
  const isComplete = announced === null ? closed : bytes.length >= length
  return isComplete ? { body: bytes.subarray(start, length), length } : undefined
}

function chunked(bytes: Buffer, start: number): { body: Buffer; length: number } | undefined {
  const chunks: Buffer[] = []
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const line = bytes.toString('latin1', at, lineEnd)
    if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`Not a chunk: ${JSON.stringify(line)}`)
    const size = Number.parseInt(line, 16)
    const data = lineEnd + 2
    if (bytes.length < data + size + 2) return undefined
    if (size === 0) return { body: Buffer.concat(chunks), length: data + 2 }
    chunks.push(bytes.subarray(data, data + size))
    at = data + size + 2
  }
}

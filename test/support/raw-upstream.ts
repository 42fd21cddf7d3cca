// An API that answers with exactly the bytes a test wants, proper HTTP or not.

import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'

export interface RawUpstream {
  readonly url: string
  readonly port: number
  /** Heads of the requests that came, each as it came. */
  readonly calls: string[]
  /** Connections that are open now. */
  readonly open: Set<Socket>
  /** Takes over from the next request on. */
  answer: (socket: Socket, head: string) => void
  close(): Promise<void>
}

/** Starts it; whoever starts it closes it. Request bodies are not looked at: give requests none. */
export async function startRawUpstream(answer: RawUpstream['answer'] = () => {}): Promise<RawUpstream> {
  const open = new Set<Socket>()
  const calls: string[] = []
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket)
    let pending = ''
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    socket.on('data', (chunk) => {
      pending += chunk.toString('latin1')
      for (let end = pending.indexOf('\r\n\r\n'); end !== -1; end = pending.indexOf('\r\n\r\n')) {
        const head = pending.slice(0, end)
        pending = pending.slice(end + 4)
        calls.push(head)
        upstream.answer(socket, head)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const upstream: RawUpstream = {
    url: `http://127.0.0.1:${port}`,
    port,
    calls,
    open,
    answer,
    async close() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return upstream
}

// Stands between the browser and coatcheck and keeps every byte, in both directions.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Wiretap {
  /** Where the browser connects. */
  readonly port: number
  /** Everything coatcheck sent, and everything the browser sent, one text for each connection. */
  received(): string[]
  sent(): string[]
  close(): Promise<void>
}

/** @param target port of coatcheck on 127.0.0.1 */
export async function startWiretap(target: number): Promise<Wiretap> {
  const lines: { received: Buffer[]; sent: Buffer[] }[] = []
  const sockets = new Set<Socket>()
  const server = createServer((browser) => {
    const line: (typeof lines)[number] = { received: [], sent: [] }
    lines.push(line)
    const coatcheck = connect(target, '127.0.0.1')
    browser.on('data', (chunk: Buffer) => line.sent.push(chunk))
    coatcheck.on('data', (chunk: Buffer) => line.received.push(chunk))
    browser.pipe(coatcheck).pipe(browser)
    for (const socket of [browser, coatcheck]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        browser.destroy()
        coatcheck.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString('latin1')
  return {
    port: (server.address() as AddressInfo).port,
    received: () => lines.map(({ received }) => text(received)),
    sent: () => lines.map(({ sent }) => text(sent)),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

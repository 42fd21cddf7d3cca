// A server on a free port of loopback that a test starts and that ends with it.
import { randomInt } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { getCACertificates, setDefaultCACertificates, type TlsOptions } from 'node:tls'
import { onTestFinished } from 'vitest'

export interface TestServer {
  readonly url: string
  readonly port: number
  readonly server: Server
  close(): Promise<void>
}

/** Starts an HTTP server; whoever starts it closes it. @param tls with a certificate for `localhost` it is https */
export async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  tls?: TlsOptions,
): Promise<TestServer> {
  const settings = { keepAliveTimeout: 60_000 }
  const server = tls ? createTlsServer({ ...settings, ...tls }, handler) : createServer(settings, handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
    port,
    server,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Ends something when the running test is over. */
export function closeAfterTest<T extends { close(): Promise<unknown> }>(thing: T): T {
  onTestFinished(async () => {
    await thing.close()
  })
  return thing
}

/** Lets this process believe a certificate until the test is over. */
export function trustUntilTheEnd(cert: string): void {
  onTestFinished(trust(cert))
}

/** Lets this process believe a certificate; what it returns ends that. */
export function trust(cert: string): () => Promise<void> {
  const before = getCACertificates('default')
  setDefaultCACertificates([...before, cert])
  return async () => setDefaultCACertificates(before)
}

/**
 * A port that was free a moment ago. From below those that the system gives to outgoing connections: of these one could be
 * taken between being looked at and being listened on.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

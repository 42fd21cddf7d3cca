// Ports of this machine: which are free, and a server on one of them.
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'

export interface LoopbackServer {
  readonly url: string
  readonly port: number
  readonly server: Server
  /** Ends the server and everything that is open on it. */
  close(): Promise<void>
}

/** Serves HTTP on 127.0.0.1. @param port 0 takes a free one. */
export async function listen(port: number, listener: RequestListener): Promise<LoopbackServer> {
  const server = createServer(listener)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const taken = (server.address() as AddressInfo).port
  return {
    url: `http://127.0.0.1:${taken}`,
    port: taken,
    server,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

/** A port that is free at this moment. */
export async function freePort(): Promise<number> {
  const server = await listen(0, () => {})
  await server.close()
  return server.port
}

/**
 * Whether a server can have this port to itself. A server of somebody else on `[::1]` counts too: browsers try that
 * address first when they are told `localhost`.
 */
export async function isFree(port: number): Promise<boolean> {
  const listens = await listen(port, () => {}).then(
    async (server) => {
      await server.close()
      return true
    },
    () => false,
  )
  return listens && !(await answers(port, '::1'))
}

function answers(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: 500 })
    const settle = (connected: boolean) => {
      socket.destroy()
      resolve(connected)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
    socket.once('timeout', () => settle(false))
  })
}

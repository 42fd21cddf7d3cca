// What it costs to hold connections that say nothing: memory of the one coatcheck process, for each of them.
import { type ClientRequest, request as httpRequest } from 'node:http'
import { WebSocket } from 'ws'
import { pageHeaders } from '../support/browser.ts'
import { pause } from '../support/processes.ts'
import type { Memory } from './servers/coatcheck.ts'
import type { World } from './world.ts'

export type Kind = 'WebSockets' | 'event streams'

/** Memory in all, before, while and after the connections were there. */
export interface Held {
  readonly kind: Kind
  readonly connections: number
  readonly before: Memory
  readonly held: Memory
  readonly heldCollected: Memory
  readonly after: Memory
}

interface Connection {
  close(): void
}

/** Opened and closed before anything is measured, so that what is made once is made. */
const warmUp = 200
/** Handshakes at a time. */
const atATime = 50
/** How long they are left alone before they are counted. Milliseconds. */
const settling = 3_000

export async function hold(world: World, kind: Kind, connections: number): Promise<Held> {
  await closeAll(await openAll(world, kind, warmUp))
  const before = await world.memory('collected')
  const open = await openAll(world, kind, connections)
  await pause(settling)
  const held = await world.memory()
  const heldCollected = await world.memory('collected')
  await closeAll(open)
  const after = await world.memory('collected')
  return { kind, connections, before, held, heldCollected, after }
}

async function openAll(world: World, kind: Kind, count: number): Promise<Connection[]> {
  const all: Connection[] = []
  while (all.length < count) {
    const some = Array.from({ length: Math.min(atATime, count - all.length) }, (_, at) => {
      const number = all.length + at
      const path = world.routes[number % world.routes.length] ?? ''
      const cookie = world.visitors[number % world.visitors.length] ?? ''
      return kind === 'WebSockets' ? openWebSocket(world, path, cookie) : openStream(world, path, cookie)
    })
    all.push(...(await Promise.all(some)))
  }
  return all
}

async function closeAll(connections: readonly Connection[]): Promise<void> {
  for (const { close } of connections) close()
  await pause(settling)
}

/** As a page of the application opens one. */
export function openWebSocket(
  { publicUrl }: World,
  path: string,
  cookie: string,
): Promise<Connection & { socket: WebSocket }> {
  return new Promise((resolve, reject) => {
    const { 'User-Agent': userAgent = '' } = pageHeaders
    const socket = new WebSocket(`${publicUrl.replace('http', 'ws')}${path}`, {
      origin: publicUrl,
      headers: { cookie, 'User-Agent': userAgent },
      perMessageDeflate: false,
    })
    socket.once('open', () => resolve({ socket, close: () => socket.close(1000) }))
    socket.on('error', reject)
  })
}

function openStream({ publicUrl }: World, path: string, cookie: string): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const headers = { ...pageHeaders, Accept: 'text/event-stream', cookie }
    const request: ClientRequest = httpRequest(`${publicUrl}${path}`, { headers, agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`A stream was answered ${response.statusCode}`))
      response.on('error', () => {})
      response.once('data', () => resolve({ close: () => request.destroy() }))
    })
    request.on('error', reject)
    request.end()
  })
}

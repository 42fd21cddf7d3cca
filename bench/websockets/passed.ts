// How fast messages pass: to the API and back, straight and through coatcheck.
import { WebSocket } from 'ws'
import { pause } from '../support/processes.ts'
import { median } from '../support/statistics.ts'
import { cpuTime } from '../support/usage.ts'
import { openWebSocket } from './held.ts'
import type { World } from './world.ts'

/** Round trips, straight and through coatcheck; and what coatcheck paid for one. */
export interface Passed {
  readonly size: number
  /** Each second, over all connections. */
  readonly direct: number
  readonly through: number
  /** CPU time of coatcheck for one round trip, which is two messages. Microseconds. */
  readonly cpu: number
}

export const connections = 50
/** Messages of one connection under way at a time. */
export const window = 8
export const rounds = 3
/** Of each measurement. Seconds. */
export const duration = 4

export async function pass(world: World, size: number): Promise<Passed> {
  const direct = await openDirect(world)
  const through = await Promise.all(
    Array.from({ length: connections }, async (_, at) => {
      const path = world.routes[0] ?? ''
      return (await openWebSocket(world, path, world.visitors[at % world.visitors.length] ?? '')).socket
    }),
  )
  const message = Buffer.alloc(size, 'x')
  const measured: { direct: number; through: number; cpu: number }[] = []
  // One more than counts, for compilers to settle.
  for (let round = 0; round <= rounds; round++) {
    const straight = await exchange(direct, message)
    const before = cpuTime(world.pid)
    const around = await exchange(through, message)
    const cpu = (cpuTime(world.pid) - before) / around
    measured.push({ direct: straight / duration, through: around / duration, cpu })
  }
  for (const socket of [...direct, ...through]) socket.close(1000)
  const counted = measured.slice(1)
  return {
    size,
    direct: median(counted.map((one) => one.direct)),
    through: median(counted.map((one) => one.through)),
    cpu: median(counted.map((one) => one.cpu)),
  }
}

function openDirect({ api }: World): Promise<WebSocket[]> {
  const open = () =>
    new Promise<WebSocket>((resolve, reject) => {
      const socket = new WebSocket(api.replace('http', 'ws'), { perMessageDeflate: false })
      socket.once('open', () => resolve(socket)).on('error', reject)
    })
  return Promise.all(Array.from({ length: connections }, open))
}

/** Counts what comes back within the time. */
async function exchange(sockets: readonly WebSocket[], message: Buffer): Promise<number> {
  let count = 0
  let isOver = false
  const take = (socket: WebSocket) => () => {
    if (isOver) return
    count++
    socket.send(message)
  }
  for (const socket of sockets) {
    socket.on('message', take(socket))
    for (let number = 0; number < window; number++) socket.send(message)
  }
  await pause(duration * 1_000)
  isOver = true
  // What is under way comes home before the next measurement.
  await pause(500)
  for (const socket of sockets) socket.removeAllListeners('message')
  return count
}

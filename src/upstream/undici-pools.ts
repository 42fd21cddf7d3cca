// Connections to upstreams on Node: one pool for every destination, how many calls may use it at once, and who waits.
import { Client, type Dispatcher, Pool } from 'undici'
import type { Destination } from '../platform.ts'
import { http2Connections, type Outbound, type OutboundHandler } from './http2.ts'
import { tlsOptionsOf } from './tls.ts'

/** Calls at once to one destination, and calls that may wait for one of them to end. */
const ordinary = { connections: 256, waiting: 1_024 }
/** Event streams at once to one destination. Each stays for hours: to wait for one makes no sense. */
const eventStreams = { connections: 10_000, waiting: 0 }
/** How long the connections may take to finish when everything ends. Milliseconds. */
const closeTime = 1_000

/**
 * undici marks a pool as busy for good when an idle client refuses a request synchronously. A refusal leaves the
 * client idle, so it can be told from a full one.
 */
class SafeClient extends Client {
  override dispatch(options: Dispatcher.DispatchOptions, handler: OutboundHandler): boolean {
    // Connected already, so the connection has been idle: the upstream may be closing it at this moment.
    handler.onReuse?.(this.stats.connected)
    return super.dispatch(options, handler) || this.stats.size === 0
  }
}

const poolOptions: Pool.Options = {
  pipelining: 1,
  keepAliveTimeout: 30_000,
  keepAliveMaxTimeout: 600_000,
  // Both are watched over by the transport, which knows who is slow.
  headersTimeout: 0,
  bodyTimeout: 0,
  maxHeaderSize: 65_536,
  // HTTP/2 is not left to undici: see http2.ts.
  allowH2: false,
  factory: (origin: URL, options: object) => new SafeClient(origin, options),
}

const connectTimeout = 5_000
/** How long an upstream that chose HTTP/1.1 is not offered HTTP/2 again, in milliseconds. */
const declinedTime = 300_000

/** The calls to one destination. Whoever enters leaves, exactly once. */
export interface Lane {
  dispatch(outbound: Outbound, handler: OutboundHandler): void
  /** Calls `start` at once or in turn. `false`: too many wait already. */
  enter(start: () => void): boolean
  leave(start: () => void): void
  close(): Promise<void>
}

export interface UpstreamPools {
  /** @param isEventStream whether the call may well stay open for hours */
  laneTo(destination: Destination, isEventStream: boolean): Lane
  /** Closes idle connections; waits for busy ones. */
  close(): Promise<void>
}

export function upstreamPools(): UpstreamPools {
  const lanes = new Map<Destination, Lane>()
  const streamLanes = new Map<Destination, Lane>()
  return {
    laneTo(destination, isEventStream) {
      const known = (isEventStream ? streamLanes : lanes).get(destination)
      if (known) return known
      const lane = laneTo(destination, isEventStream ? eventStreams : ordinary)
      ;(isEventStream ? streamLanes : lanes).set(destination, lane)
      return lane
    },
    async close() {
      await Promise.all([...lanes.values(), ...streamLanes.values()].map((lane) => lane.close()))
    },
  }
}

function laneTo({ origin, http2, tls }: Destination, most: { connections: number; waiting: number }): Lane {
  const tlsOptions = tlsOptionsOf(tls)
  const connect = { ...tlsOptions, timeout: connectTimeout }
  const pool = new Pool(origin, { ...poolOptions, connections: most.connections, connect })
  const overHttp1 = (outbound: Outbound, handler: OutboundHandler) => void pool.dispatch(outbound, handler)
  const mayHttp2 = http2 && origin.startsWith('https:')
  let speaksHttp2 = mayHttp2
  const offerAgain = () => {
    speaksHttp2 = mayHttp2
  }
  // It may be another server by now, that speaks nothing else.
  pool.on('connectionError', offerAgain)
  const connections = http2Connections({
    origin,
    tls: tlsOptions,
    connectTimeout,
    fallBack(outbound, handler) {
      if (speaksHttp2) setTimeout(offerAgain, declinedTime).unref()
      speaksHttp2 = false
      overHttp1(outbound, handler)
    },
  })
  const waiting = new Set<() => void>()
  let busy = 0

  return {
    dispatch(outbound, handler) {
      if (speaksHttp2) connections.dispatch(outbound, handler)
      else overHttp1(outbound, handler)
    },
    enter(start) {
      if (busy < most.connections) {
        busy++
        start()
        return true
      }
      if (waiting.size >= most.waiting) return false
      waiting.add(start)
      return true
    },
    leave(start) {
      if (waiting.size === 0) {
        busy--
        return
      }
      if (waiting.delete(start)) return
      // The place goes to who has waited longest.
      const [next] = waiting
      if (next === undefined) return
      waiting.delete(next)
      next()
    },
    async close() {
      const hurry = setTimeout(() => {
        connections.destroy()
        void pool.destroy()
      }, closeTime)
      await Promise.all([connections.close(), pool.close().catch(() => {})])
      clearTimeout(hurry)
    },
  }
}

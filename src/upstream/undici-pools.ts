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

/** A call that wants a place in a lane. */
export interface Visitor {
  /** The place is there. */
  start(this: Visitor): void
}

/** The calls to one destination. Whoever enters leaves, exactly once. */
export interface Lane {
  dispatch(outbound: Outbound, handler: OutboundHandler): void
  /** Starts it at once or in turn. `false`: too many wait already. */
  enter(visitor: Visitor): boolean
  /** The call that entered turned out to be a stream: it is counted among these, as long as there are not too many. */
  becomeStream(visitor: Visitor): void
  leave(visitor: Visitor): void
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
      const streams = streamLanes.get(destination) ?? laneTo(destination, eventStreams)
      streamLanes.set(destination, streams)
      if (isEventStream) return streams
      const lane = laneTo(destination, ordinary, streams)
      lanes.set(destination, lane)
      return lane
    },
    async close() {
      await Promise.all([...lanes.values(), ...streamLanes.values()].map((lane) => lane.close()))
    },
  }
}

/** What stands for a call in the lane that it did not enter itself. */
const guest: Visitor = { start() {} }

/** @param streams the lane that counts those calls of this one that turn out to be streams */
function laneTo(
  { origin, http2, tls }: Destination,
  most: { connections: number; waiting: number },
  streams?: Lane,
): Lane {
  const tlsOptions = tlsOptionsOf(tls)
  const connect = { ...tlsOptions, timeout: connectTimeout }
  // Streams that are counted elsewhere keep the connections that they have here: who has a place must find one.
  const connections = most.connections + (streams ? eventStreams.connections : 0)
  const pool = new Pool(origin, { ...poolOptions, connections, connect })
  const overHttp1 = (outbound: Outbound, handler: OutboundHandler) => void pool.dispatch(outbound, handler)
  const mayHttp2 = http2 && origin.startsWith('https:')
  let speaksHttp2 = mayHttp2
  const offerAgain = () => {
    speaksHttp2 = mayHttp2
  }
  // It may be another server by now, that speaks nothing else.
  pool.on('connectionError', offerAgain)
  const http2Calls = http2Connections({
    origin,
    tls: tlsOptions,
    connectTimeout,
    fallBack(outbound, handler) {
      if (speaksHttp2) setTimeout(offerAgain, declinedTime).unref()
      speaksHttp2 = false
      overHttp1(outbound, handler)
    },
  })
  const waiting = new Set<Visitor>()
  /** Calls that are counted among the streams. */
  const streaming = new Set<Visitor>()
  let busy = 0

  function giveBack(visitor: Visitor): void {
    if (waiting.size === 0) {
      busy--
      return
    }
    if (waiting.delete(visitor)) return
    // The place goes to who has waited longest.
    const [next] = waiting
    if (next === undefined) return
    waiting.delete(next)
    next.start()
  }

  return {
    dispatch(outbound, handler) {
      if (speaksHttp2) http2Calls.dispatch(outbound, handler)
      else overHttp1(outbound, handler)
    },
    enter(visitor) {
      if (busy < most.connections) {
        busy++
        visitor.start()
        return true
      }
      if (waiting.size >= most.waiting) return false
      waiting.add(visitor)
      return true
    },
    becomeStream(visitor) {
      if (!streams?.enter(guest)) return
      streaming.add(visitor)
      giveBack(visitor)
    },
    leave(visitor) {
      if (streaming.size > 0 && streaming.delete(visitor)) streams?.leave(guest)
      else giveBack(visitor)
    },
    async close() {
      const hurry = setTimeout(() => {
        http2Calls.destroy()
        void pool.destroy()
      }, closeTime)
      await Promise.all([http2Calls.close(), pool.close().catch(() => {})])
      clearTimeout(hurry)
    },
  }
}

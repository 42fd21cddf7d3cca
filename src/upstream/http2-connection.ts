// One connection by HTTP/2: how it comes about, whether it has room for a call, whether there is still somebody at its other end.
import { type ClientHttp2Session, connect, type Settings } from 'node:http2'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { TlsOptions } from './tls.ts'

/** Calls at once over one connection, if the upstream takes so many. */
const streams = 100
/** How long a connection without calls is kept, in milliseconds. */
const idleTime = 30_000
/** How long a connection may be quiet on the question whether it is still there, in milliseconds. */
const pingTime = 2_000
/** How long it is believed that an upstream which takes no calls would not take any over another connection. Milliseconds. */
const shutTime = 3_000

export interface Http2Connection {
  readonly session: ClientHttp2Session
  readonly socket: TLSSocket
  /** Calls that are under way. */
  open: number
  wasUsed: boolean
  /** Whether it has still to show that there is somebody at the other end. */
  isSuspect: boolean
  /** Whether the upstream said a moment ago that it takes no calls. */
  isShut: boolean
}

export interface Http2Endpoint {
  readonly origin: string
  readonly tls: TlsOptions
  /** Milliseconds, from the first packet to the upstream's settings. */
  readonly connectTimeout: number
}

/** What becomes of a connection. The first three are alternatives. */
export interface Http2Events {
  ready(connection: Http2Connection): void
  /** The upstream does not speak HTTP/2. */
  declined(): void
  failed(error: Error): void
  /** There may be room where there was none. */
  changed(): void
  gone(connection: Http2Connection): void
}

/** Opens a connection; what is returned gives up the attempt. */
export function openHttp2({ origin, tls, connectTimeout }: Http2Endpoint, events: Http2Events): { destroy(): void } {
  const { hostname, port } = new URL(origin)
  const host = hostname.replace(/^\[|\]$/g, '')
  const isAddress = /^[\d.]+$|:/.test(host)
  const socket = connectTls({
    ...(!isAddress && { servername: host }),
    ...tls,
    host,
    port: Number(port || 443),
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  let isSettled = false
  const settle = (tell: () => void) => {
    clearTimeout(hurry)
    if (isSettled) return
    isSettled = true
    tell()
  }
  const hurry = setTimeout(() => socket.destroy(lostConnection('Connecting took too long')), connectTimeout)
  let lastError: Error = lostConnection('The connection was closed')
  socket
    .setNoDelay(true)
    .setKeepAlive(true, 60_000)
    .on('error', (error) => {
      lastError = error
    })
    .on('close', () => settle(() => events.failed(lastError)))
    .once('secureConnect', () => {
      if (socket.alpnProtocol === 'h2') return adopt(origin, socket, events, settle)
      settle(events.declined)
      socket.destroy()
      return undefined
    })
  return { destroy: () => void socket.destroy() }
}

function adopt(origin: string, socket: TLSSocket, events: Http2Events, settle: (tell: () => void) => void): void {
  const session = connect(origin, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: 262_144 },
  })
  const connection: Http2Connection = { session, socket, open: 0, wasUsed: false, isSuspect: false, isShut: false }
  // Its calls are told one by one.
  session.on('error', () => {})
  session.on('timeout', () => connection.open === 0 && session.close())
  session.on('close', () => events.gone(connection))
  // From here on it is known how many calls it takes.
  session.once('remoteSettings', (settings) => {
    watchShut(connection, settings, events)
    session.on('remoteSettings', (changed) => {
      watchShut(connection, changed, events)
      events.changed()
    })
    idle(connection)
    settle(() => events.ready(connection))
  })
}

export function hasRoom({ session, open, isSuspect }: Http2Connection): boolean {
  const most = Math.min(session.remoteSettings.maxConcurrentStreams ?? streams, streams)
  return open < most && !isSuspect && !isGone(session)
}

/**
 * An upstream may say that it takes no calls for now (RFC 9113, section 6.5.2: only for a short time). It would not take any over
 * another connection either; but one that says nothing else any more has forgotten this connection, or is a new one.
 */
function watchShut(connection: Http2Connection, { maxConcurrentStreams }: Settings, { changed }: Http2Events): void {
  connection.isShut = maxConcurrentStreams === 0
  if (!connection.isShut) return
  const hope = setTimeout(() => {
    connection.isShut = false
    changed()
  }, shutTime)
  hope.unref()
}

/** Whether there is no use in another connection. */
export function isShut({ session, isShut }: Http2Connection): boolean {
  return isShut && !isGone(session)
}

export function isGone(session: ClientHttp2Session): boolean {
  return session.closed || session.destroyed
}

/** No call uses it any more: it ends after a while, and does not keep the process alive. */
export function idle({ session }: Http2Connection): void {
  if (session.destroyed) return
  session.setTimeout(idleTime)
  session.unref()
}

/** Asks whether there is still somebody at the other end; until that is known, nothing else is sent there. */
export function suspect(connection: Http2Connection, changed: () => void): void {
  const { session, isSuspect } = connection
  if (isSuspect || session.destroyed) return
  connection.isSuspect = true
  const hurry = setTimeout(() => sever(connection), pingTime)
  session.ping(() => {
    clearTimeout(hurry)
    connection.isSuspect = false
    changed()
  })
}

/** Ends it at once. A session that was closed already would wait for the other end, which may not be there. */
export function sever({ session, socket }: Http2Connection): void {
  session.destroy()
  socket.destroy()
}

/** An error as the system has it for a connection that broke. */
export function lostConnection(message: string): Error {
  return Object.assign(new Error(message), { code: 'ECONNRESET' })
}

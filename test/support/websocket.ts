// WebSockets for tests: an API that takes them, and a page that opens one.
import type { EventEmitter } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { onTestFinished } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { Browser } from './browser.ts'
import type { World } from './coatcheck.ts'
import type { SecureUpstream } from './secure-upstream.ts'
import type { Upstream } from './upstream.ts'

export interface Message {
  readonly data: Buffer
  readonly isBinary: boolean
}

export interface Closed {
  readonly code: number
  readonly reason: string
}

/** One end of a WebSocket with everything that came to it. */
export interface Peer {
  readonly socket: WebSocket
  readonly messages: Message[]
  /** Pings that came; they were answered. */
  readonly pings: Buffer[]
  readonly closed: Promise<Closed>
  /** The same once it is known. */
  end: Closed | undefined
}

export function peerOf(socket: WebSocket): Peer {
  const messages: Message[] = []
  const pings: Buffer[] = []
  const closed = new Promise<Closed>((resolve) => {
    socket.on('close', (code, reason) => {
      peer.end = { code, reason: String(reason) }
      resolve(peer.end)
    })
  })
  const peer: Peer = { socket, messages, pings, closed, end: undefined }
  socket.on('message', (data: Buffer, isBinary) => messages.push({ data, isBinary }))
  socket.on('ping', (data) => pings.push(data))
  socket.on('error', () => {})
  return peer
}

export interface WebSocketApi {
  /** Handshakes that came, refused ones too. */
  readonly handshakes: { readonly target: string; readonly headers: IncomingHttpHeaders; readonly raw: string[] }[]
  readonly peers: Peer[]
  last(): Peer
  /** Decides on a handshake. What it answers with bytes of its own is refused. Default: takes all. */
  refuse: (request: IncomingMessage, socket: Duplex) => boolean
  /** Called with each peer. Default: sends back what comes. */
  accepted: (peer: Peer, request: IncomingMessage) => void
  /** The subprotocol of those offered. Default: the last. */
  choose: (offered: Set<string>) => string | false
  /** More header lines for the 101. */
  headers: string[]
}

/** Lets an API take WebSockets, from now on. */
export function takeWebSockets(api: Pick<Upstream | SecureUpstream, 'server'>): WebSocketApi {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: 64 * 1_048_576,
    handleProtocols: (offered) => websockets.choose(offered),
  })
  server.on('headers', (lines) => lines.push(...websockets.headers))
  const websockets: WebSocketApi = {
    handshakes: [],
    peers: [],
    headers: [],
    refuse: () => false,
    choose: (offered) => [...offered].at(-1) ?? false,
    accepted: ({ socket }) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
    last() {
      const last = websockets.peers.at(-1)
      if (!last) throw new Error('No WebSocket came')
      return last
    },
  }
  const sockets: Duplex[] = []
  // What the two kinds of server say they have is typed too differently to be asked for in one breath.
  const listener: EventEmitter = api.server
  listener.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {})
    sockets.push(socket)
    websockets.handshakes.push({ target: request.url ?? '', headers: request.headers, raw: request.rawHeaders })
    if (websockets.refuse(request, socket)) return
    server.handleUpgrade(request, socket, head, (opened) => {
      const peer = peerOf(opened)
      websockets.peers.push(peer)
      websockets.accepted(peer, request)
    })
  })
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
  })
  return websockets
}

/** A handshake that was answered with HTTP. */
export class Refused extends Error {
  readonly status: number
  readonly headers: Headers
  readonly text: string

  constructor({ statusCode = 0, rawHeaders }: IncomingMessage, text: string) {
    super(`${statusCode} ${text}`)
    this.status = statusCode
    this.text = text
    this.headers = new Headers()
    for (let at = 0; at < rawHeaders.length; at += 2)
      this.headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '')
  }
}

export interface Page extends Peer {
  /** Headers of the 101. */
  readonly headers: IncomingHttpHeaders
}

/**
 * Opens a WebSocket as a page of the application does.
 * @throws Refused
 */
export function openPage(
  world: Pick<World, 'publicUrl' | 'url'>,
  path: string,
  {
    browser,
    protocols = [],
    headers = {},
  }: { browser?: Browser; protocols?: string[]; headers?: Record<string, string> } = {},
): Promise<Page> {
  const cookie = browser?.cookieHeader()
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}${path}`, protocols, {
    origin: world.publicUrl,
    headers: { ...(cookie && { cookie }), ...headers },
    finishRequest(request) {
      // The library would write the query anew.
      request.path = path
      request.end()
    },
    maxPayload: 64 * 1_048_576,
  })
  onTestFinished(() => socket.terminate())
  // From the first moment: what comes right behind the handshake counts too.
  const peer = peerOf(socket)
  return new Promise((resolve, reject) => {
    let answer: IncomingHttpHeaders = {}
    socket.on('upgrade', (response) => {
      answer = response.headers
      for (const line of response.headers['set-cookie'] ?? []) browser?.take(line)
    })
    socket.on('open', () => resolve(Object.assign(peer, { headers: answer })))
    socket.on('error', reject)
    socket.on('unexpected-response', (_, response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        for (const line of response.headers['set-cookie'] ?? []) browser?.take(line)
        reject(new Refused(response, String(Buffer.concat(chunks))))
      })
    })
  })
}

/** The refusal of a handshake that must be refused. */
export async function refusalOf(opening: Promise<Page>): Promise<Refused> {
  const outcome = await opening.catch((error: unknown) => error)
  if (outcome instanceof Refused) return outcome
  throw new Error('The handshake was not answered with HTTP', { cause: outcome })
}

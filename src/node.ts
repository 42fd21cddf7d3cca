// coatcheck on Node: listen, refuse early what is no proper request, drain at the end.
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Hono } from 'hono'
import { createAdminServer, createMetrics, type Metrics } from './admin.ts'
import { problem, strictTransport } from './answers.ts'
import { type Coatcheck, createCoatcheck } from './app.ts'
import type { ConfigInput } from './config.ts'
import { unsafe } from './config-file.ts'
import { ConfigError, readConfig } from './config-reader.ts'
import { isOwnPath } from './config-values.ts'
import type { ErrorCode } from './errors.ts'
import { answerExpectation, hasBody, nodeExchange, timesSent } from './node-exchange.ts'
import { lingerBehind } from './node-linger.ts'
import { type NodePlatform, nodePlatform } from './node-platform.ts'
import { type AnsweringSocket, isWebSocketHandshake, takeUpgrades, type Upgrades } from './node-upgrade.ts'
import { isLogged, type Log, type LogEvent } from './observability.ts'
import type { Reason } from './reasons.ts'
import { stdoutLog } from './stdout-log.ts'
import { canonicalTarget } from './upstream/routes.ts'

export { type NodePlatform, nodePlatform } from './node-platform.ts'

type FetchCallback = Parameters<typeof getRequestListener>[0]

/** Room for the cookies of a crowded domain; Node's own 16 KB would lock such a user out (431). Bytes. */
const maxHeaderSize = 65_536
/** How often connections that have become idle are closed while draining. Milliseconds. */
const sweepEvery = 50
/** How long requests may go on after the server was told to stop. Milliseconds. */
const drainTime = 8_000

export interface ServeOptions {
  /** Source of `${NAME}` in the configuration. Default: `process.env`. */
  env?: Record<string, unknown>
  /** Folder that `spa.dir` and `store.path` are relative to. Default: the current one. */
  root?: string
  /** Takes the events instead of stdout. */
  log?: Log
  /** Makes an application of your own around coatcheck: `(coatcheck) => new Hono().get('/hello', ...).route('/', coatcheck)`. */
  mount?: (coatcheck: Coatcheck) => Hono
}

export interface RunningServer {
  /** Where it listens, such as `http://127.0.0.1:3000`. */
  readonly url: string
  readonly coatcheck: Coatcheck
  /**
   * Goes on with the session keys of another version of the document, without a restart and without signing anybody out
   * whose key is still among them. Nothing else in it counts.
   *
   * @throws ConfigError with every mistake; the old keys then stay
   */
  reloadKeys(document: ConfigInput): void
  /** Stops accepting, lets requests finish for up to eight seconds, then closes everything. */
  close(): Promise<void>
}

/**
 * Serves coatcheck over HTTP on `listen` of its configuration.
 *
 * @throws ConfigError with every mistake of the configuration; Error when its store cannot be opened; the system's error
 * when the address cannot be had.
 */
export async function serve(document: ConfigInput, options: ServeOptions = {}): Promise<RunningServer> {
  const env = options.env ?? process.env
  const mistakes = unsafe(env)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  let platform: NodePlatform | undefined
  let metrics: Metrics | undefined
  const coatcheck = createCoatcheck(document, {
    env,
    platform: (config) => {
      if (config.admin) metrics = createMetrics()
      const write = options.log ?? stdoutLog((event) => metrics?.count(event))
      const log = listeningFirst((event) => {
        metrics?.count(event)
        if (isLogged(event, config.log.level)) write(event)
      })
      platform = nodePlatform(config, { root: options.root ?? '.', log })
      return platform
    },
  })
  const { listen, admin } = coatcheck.config
  const log: Log = (event) => platform?.log(event)
  const { server, cut } = createHttpServer(options.mount?.(coatcheck), coatcheck, log)
  const servers = [{ server, address: listen, cut }]
  if (admin && metrics) {
    servers.push({ server: createAdminServer(admin, metrics) as Server, address: admin.listen, cut: () => {} })
  }
  try {
    await platform?.ready()
    await coatcheck.warmUp()
    for (const { server, address } of servers) await listening(server, address)
  } catch (error) {
    for (const { server } of servers) server.close()
    await platform?.close()
    throw error
  }
  const url = urlOf(server.address() as AddressInfo)
  log({ event: 'server.listening', url })
  // Metadata is fetched now so that the first login need not wait; a failure is only the next login's business.
  void coatcheck.notReady()
  return {
    url,
    coatcheck,
    reloadKeys(next) {
      const { keys } = readConfig(next, env).session
      coatcheck.reloadKeys(keys)
      log({ event: 'keys.reloaded', numbers: keys.map(({ id }) => id) })
    },
    async close() {
      log({ event: 'server.stopping' })
      await Promise.all([platform?.hangUp(), ...servers.map(({ server, cut }) => drain(server, cut))])
      await platform?.close()
      log({ event: 'server.stopped' })
    },
  }
}

/** Holds back what happens until `server.listening`, which is the first that is told. */
function listeningFirst(log: Log): Log {
  let early: LogEvent[] | undefined = []
  return (event) => {
    if (!early) return log(event)
    if (event.event !== 'server.listening') return void early.push(event)
    const heldBack = early
    early = undefined
    log(event)
    for (const one of heldBack) log(one)
  }
}

function listening(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

/** @param mounted an application around coatcheck, which then has every request first. */
function createHttpServer(mounted: Hono | undefined, coatcheck: Coatcheck, log: Log): Upgrades & { server: Server } {
  const app = mounted ?? coatcheck
  const always = coatcheck.config.publicUrl.startsWith('https:') ? [strictTransport] : []
  const refused = (reason: Reason) => {
    log({ event: 'request.refused', code: 'bad_request', reason })
    const { headers, ...answer } = problem('bad_request')
    return { ...answer, headers: [...headers, ...always] }
  }
  const listener = getRequestListener(answering(app), {
    // It would give a browser half a second to end its request, and the answer would be lost on whoever takes longer.
    autoCleanupIncoming: false,
    // Only what Hono cannot even make a request of ends here.
    errorHandler: () => {
      const { status, headers, body } = refused('target_malformed')
      return new Response(body, { status, headers })
    },
  })
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    // Node loses what comes in one packet behind a request to upgrade, and takes the next packet for a new request.
    if (asksToUpgrade(incoming)) outgoing.shouldKeepAlive = false
    // What follows the last request of a connection is none.
    if (incoming.socket.writableEnded) return
    const reason = refusalOf(incoming)
    if (reason === undefined) {
      const exchange = nodeExchange({ incoming, outgoing })
      if (exchange.hasBody) lingerBehind(incoming, outgoing)
      // What there is most of, calls without a body, never becomes a web Request: that alone would cost a fifth.
      const answer = mounted === undefined && !exchange.hasBody ? coatcheck.forward(exchange) : undefined
      if (!answer) return void listener(incoming, outgoing)
      return void write(answer, outgoing)
    }
    if (hasBody(incoming)) lingerBehind(incoming, outgoing)
    const { status, headers, body } = refused(reason)
    outgoing.writeHead(status, headers.flat())
    outgoing.end(body)
  }
  const isOurs = (incoming: IncomingMessage) =>
    isWebSocketHandshake(incoming) && refusalOf(incoming) === undefined && coatcheck.hasWebSockets(incoming.url ?? '')
  const server = createServer(
    {
      ...{ maxHeaderSize, requireHostHeader: false, keepAliveTimeout: 65_000 },
      // Uploads may take long; a client that is slow with its head is cut off by headersTimeout.
      ...{ requestTimeout: 0, headersTimeout: 60_000 },
      // A request without a body is none that anybody waits for the end of.
      optimizeEmptyRequests: true,
      // A browser that vanished without a word would keep its place on a silent event stream for as long as its session lasts.
      ...{ keepAlive: true, keepAliveInitialDelay: 30_000 },
      shouldUpgradeCallback: isOurs,
    },
    handle,
  )
  // Whoever asks before sending a body (RFC 9110, section 10.1.1) gets to hear first whether it is wanted at all. The transport
  // tells when the upstream wants it; what else reads bodies does not know the question.
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const path = canonicalTarget(incoming.url ?? '')?.path
    if (mounted !== undefined || (path !== undefined && isOwnPath(path))) {
      answerExpectation(incoming, outgoing)
    }
    server.emit('request', incoming, outgoing)
  })
  // Node would answer 417 by itself to what it does not know; what is expected is nobody's business but ours.
  server.on('checkExpectation', (incoming, outgoing) => server.emit('request', incoming, outgoing))
  server.on('clientError', (error: Error & { code?: string }, socket: AnsweringSocket) => {
    // Bytes after a request that is being answered must not be answered into the middle of that.
    const pending = socket._httpMessage
    const isOwnBody = pending?.req.complete === false && !pending.headersSent
    const mayAnswer = socket.writable && error.code !== 'ECONNRESET' && (pending === undefined || isOwnBody)
    if (!mayAnswer) return void socket.destroy()
    const isTooLarge = error.code === 'HPE_HEADER_OVERFLOW'
    const code = isTooLarge ? 'headers_too_large' : 'bad_request'
    log({ event: 'request.refused', code, reason: isTooLarge ? 'head_too_large' : 'head_malformed' })
    socket.end(rawProblem(code, always))
    return undefined
  })
  const hasWebSockets = coatcheck.config.routes.some(({ websocket }) => websocket)
  // Without this listener no connection ever leaves the ordinary path.
  return { server, ...(hasWebSockets ? takeUpgrades(server, isOurs, handle) : { cut: () => {} }) }
}

/** Sends what an answer is made of, unless the transport has sent it already. Never throws. */
async function write(answer: Promise<Response>, outgoing: ServerResponse): Promise<void> {
  try {
    const response = await answer
    if (outgoing.headersSent || outgoing.destroyed) return
    const { status, headers } = response
    const body = await response.text()
    outgoing.writeHead(status, [...headers, ['content-length', String(Buffer.byteLength(body))]].flat())
    outgoing.end(body)
  } catch {
    outgoing.destroy()
  }
}

/** Hono answers HEAD with a copy of the answer to GET, and the copy of one that was sent already looks like a new one. */
function answering(app: Hono): FetchCallback {
  const answerHead = async (request: Request, env: HttpBindings) => {
    const answer = await app.fetch(request, env)
    return env.outgoing.headersSent ? RESPONSE_ALREADY_SENT : answer
  }
  const answer = (request: Request, env: HttpBindings) =>
    request.method === 'HEAD' ? answerHead(request, env) : app.fetch(request, env)
  return answer as FetchCallback
}

/** Why a request is refused before anything else looks at it, if it is. */
function refusalOf(incoming: IncomingMessage): Reason | undefined {
  const { httpVersionMajor, url = '' } = incoming
  if (httpVersionMajor !== 1) return 'head_malformed'
  if (!hasOneHost(incoming)) return 'host_malformed'
  const coding = incoming.headers['transfer-encoding']
  // Any other would have to be undone here, and is a way to make two servers disagree (RFC 9112, section 6.1).
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return 'head_malformed'
  return canonicalTarget(url) === undefined ? 'target_malformed' : undefined
}

function asksToUpgrade({ headers: { connection, upgrade } }: IncomingMessage): boolean {
  return upgrade !== undefined && connection !== undefined && /upgrade/i.test(connection)
}

/** RFC 9112, section 3.2: exactly one Host, and nothing but a host in it. */
function hasOneHost(incoming: IncomingMessage): boolean {
  const { host } = incoming.headers
  return host !== undefined && /^[A-Za-z0-9._~:[\]-]+$/.test(host) && timesSent(incoming, 'host') === 1
}

/** A problem as bytes, for requests that never became one. */
function rawProblem(code: ErrorCode, always: [string, string][]): string {
  const { status, headers, body } = problem(code)
  const more = [...always, ['content-length', String(Buffer.byteLength(body))], ['connection', 'close']]
  const lines = [...headers, ...more].map(([name, value]) => `${name}: ${value}`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${body}`
}

/** @param cut closes what the server does not know of any more. */
async function drain(server: Server, cut: () => void): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection that was busy becomes idle when its answer is complete, and would be kept for the next request.
  const sweep = setInterval(() => server.closeIdleConnections(), sweepEvery)
  server.closeIdleConnections()
  const hurry = setTimeout(() => {
    server.closeAllConnections()
    cut()
  }, drainTime)
  await closed
  clearInterval(sweep)
  clearTimeout(hurry)
}

// Node as a platform: raw requests, undici to the upstreams, files from a folder, JSON lines on stdout.
import { join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context } from 'hono'
import { LRUCache } from 'lru-cache'
import pino from 'pino'
import send from 'send'
import type { Config } from './config.ts'
import { ConfigError, requirePlatform } from './config-reader.ts'
import { nodeExchange } from './node-exchange.ts'
import { nodeFetch } from './node-fetch.ts'
import { type Log, type LogEvent, levels, logLine } from './observability.ts'
import type { HeaderList, Platform } from './platform.ts'
import { memoryStore } from './stores/memory.ts'
import { type RedisState, redisStore } from './stores/redis.ts'
import { sqliteStore } from './stores/sqlite.ts'
import type { Store } from './stores/store.ts'
import { tlsMistakes } from './upstream/tls.ts'
import { undiciTransport } from './upstream/undici.ts'
import { webSocketUpgrade } from './upstream/websocket.ts'

/** How long the end waits for what runs behind the answers. Milliseconds. */
const closeTime = 10_000

export interface NodePlatform extends Platform {
  /** Resolves once it can be used. @throws Error saying what has to be installed */
  ready(): Promise<void>
  /** Closes the WebSockets, and all that are opened from now on. */
  hangUp(): Promise<void>
  /** Finishes what runs behind the answers and closes connections. */
  close(): Promise<void>
}

/**
 * The platform of `coatcheck serve`.
 * @param root folder that `spa.dir` and `store.path` are relative to.
 * @throws ConfigError for what Node does not have, and for certificates that do not work; Error saying what is wrong with the file of the store
 */
export function nodePlatform(config: Config, { log, root }: { log: Log; root: string }): NodePlatform {
  const now = Date.now
  requirePlatform(config, 'Node')
  const mistakes = tlsMistakes(config)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  const { store, loaded, close: closeStore } = openStore(config, { log, root, now })
  const { transport, close } = undiciTransport()
  const authorizationServers = nodeFetch()
  const { upgrade, close: hangUp } = webSocketUpgrade()
  const background = new Set<Promise<unknown>>()
  const dir = config.spa && join(root, config.spa.dir)
  const platform: NodePlatform = {
    now,
    fetch: authorizationServers.fetch,
    transport,
    upgrade,
    store,
    log,
    sharesPromises: true,
    waitUntil(work) {
      const tracked = work.catch(() => {}).finally(() => background.delete(tracked))
      background.add(tracked)
    },
    exchange: (c: Context<{ Bindings: HttpBindings }>) => nodeExchange(c.env),
    ready: async () => loaded,
    hangUp,
    async close() {
      // What runs behind the answers may begin more of it.
      const deadline = now() + closeTime
      while (background.size > 0 && now() < deadline) await Promise.race([...background, setTimeout(100)])
      await close()
      await authorizationServers.close()
      await closeStore?.()
    },
  }
  if (dir !== undefined) platform.asset = (c, path, headers) => sendFile(c, path, headers, dir)
  return platform
}

interface OpenedStore {
  store: Store
  loaded?: Promise<void>
  close?: () => Promise<void>
}

function openStore(config: Config, { log, root, now }: { log: Log; root: string; now: () => number }): OpenedStore {
  const settings = config.store
  if (settings.type === 'sqlite') {
    const store = sqliteStore(resolve(root, settings.path), now)
    return { store, close: store.close }
  }
  if (settings.type !== 'redis') return { store: memoryStore(now) }
  const tell = (state: RedisState) =>
    log(state === 'ready' ? { event: 'store.ready' } : { event: 'store.unavailable', reason: `store_${state}` })
  const store = redisStore(settings.url, { prefix: settings.prefix, tell })
  return { store, loaded: store.loaded, close: store.close }
}

/** Writes events as JSON lines to stdout, without making a request wait for it. */
export function stdoutLog(level: Config['log']['level']): Log {
  // Written together: a write for each call would cost as much as the call.
  const output = pino.destination({ dest: 1, sync: false, minLength: 8_192, periodicFlush: 100 })
  const logger = pino(
    { level, base: null, timestamp: false, formatters: { level: (label) => ({ level: label }) } },
    output,
  )
  const tellsCalls = logger.isLevelEnabled(levels['request.forwarded'])
  return (event) => {
    if (event.event === 'request.forwarded') {
      if (tellsCalls) output.write(callLine(event, Date.now()))
      return
    }
    const { level: severity, ...line } = logLine(event, Date.now())
    if (event.event === 'server.listening') process.stdout.write(`${JSON.stringify({ level: severity, ...line })}\n`)
    else if (logger.isLevelEnabled(severity)) logger[severity](line)
  }
}

/** Beginnings of lines by route and method, which are few. */
const beginnings = new LRUCache<string, string>({ max: 1_000 })
let lastTime = { at: -1, text: '' }

/** The line of the one event that every call writes, at a tenth of what it costs to have it made. Nothing in it is foreign. */
function callLine(event: Extract<LogEvent, { event: 'request.forwarded' }>, now: number): string {
  const { route, method, requestBytes, responseBytes, session } = event
  const key = `${method} ${route}`
  let beginning = beginnings.get(key)
  if (beginning === undefined) {
    beginning = `","event":"request.forwarded","route":${JSON.stringify(route)},"method":${JSON.stringify(method)},"status":`
    beginnings.set(key, beginning)
  }
  if (lastTime.at !== now) lastTime = { at: now, text: new Date(now).toISOString() }
  let end = `,"tokenMilliseconds":${event.tokenMilliseconds}`
  if (requestBytes !== undefined) end += `,"requestBytes":${requestBytes}`
  if (responseBytes !== undefined) end += `,"responseBytes":${responseBytes}`
  if (session !== undefined) end += `,"session":"${session}"`
  return `{"level":"info","time":"${lastTime.text}${beginning}${event.status},"milliseconds":${event.milliseconds},"upstreamMilliseconds":${event.upstreamMilliseconds}${end}}\n`
}

/** Streams a file with conditional requests and ranges answered; dot files do not exist. */
function sendFile(
  { env }: Context<{ Bindings: HttpBindings }>,
  path: string,
  headers: HeaderList,
  root: string,
): Promise<Response | undefined> {
  const { incoming, outgoing } = env
  // Made here, where a header that cannot be one is an error of this request and not of the process.
  const all = new Headers()
  for (let at = 0; at < headers.length; at += 2) all.set(headers[at] ?? '', headers[at + 1] ?? '')
  return new Promise((resolve) => {
    const nothing = () => resolve(undefined)
    send(incoming, path, { root, index: false, dotfiles: 'ignore', cacheControl: false })
      .on('headers', () => {
        outgoing.setHeaders(all)
        outgoing.once('close', () => resolve(RESPONSE_ALREADY_SENT))
      })
      .on('directory', nothing)
      .on('error', ({ status, headers: more }: { status?: number; headers?: Record<string, string> }) => {
        if (status !== 412 && status !== 416) return nothing()
        for (const name of outgoing.getHeaderNames()) outgoing.removeHeader(name)
        const answer = new Response(null, { status, headers: more ?? {} })
        for (const [name, value] of all) answer.headers.set(name, value)
        answer.headers.set('cache-control', 'no-store')
        resolve(answer)
      })
      .pipe(outgoing)
  })
}

// Node as a platform: raw requests, undici to the upstreams, files from a folder.
import { resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context } from 'hono'
import send from 'send'
import type { Config } from './config.ts'
import { ConfigError, requirePlatform } from './config-reader.ts'
import { nodeExchange } from './node-exchange.ts'
import { nodeFetch } from './node-fetch.ts'
import type { Log } from './observability.ts'
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
  const dir = config.spa && resolve(root, config.spa.dir)
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

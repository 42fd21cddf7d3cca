// coatcheck on Cloudflare Workers: the same application, its configuration and secrets from bindings.
import { waitUntil } from 'cloudflare:workers'
import type { Context } from 'hono'
import { type Coatcheck, createCoatcheck } from './app.ts'
import type { Config, ConfigInput } from './config.ts'
import { ConfigError, requirePlatform } from './config-reader.ts'
import { isLogged, logLine } from './observability.ts'
import type { HeaderList, Platform } from './platform.ts'
import { durableObjectStore } from './stores/durable-object.ts'
import { memoryStore } from './stores/memory.ts'
import type { Store } from './stores/store.ts'
import { fetchTransport } from './upstream/fetch.ts'
import { fetchUpgrade } from './upstream/websocket-fetch.ts'
import { webExchange } from './web-platform.ts'

/** What the Worker is bound to. Everything that is a string can be named as `${NAME}` in the configuration. */
export interface WorkerBindings {
  /** The configuration document, as JSON text or as a JSON variable. */
  COATCHECK_CONFIG?: string | ConfigInput
  /** The files of the single-page application. */
  ASSETS?: { fetch(request: Request): Promise<Response> }
  [name: string]: unknown
}

/** A Worker with the configuration in a module of its own; without one it is read from `COATCHECK_CONFIG`. */
export function createWorker(document?: ConfigInput): {
  fetch(request: Request, env: WorkerBindings): Promise<Response>
} {
  let coatcheck: Coatcheck | undefined
  return {
    async fetch(request, env) {
      coatcheck ??= createCoatcheck(document ?? configFrom(env), {
        env,
        platform: (config) => workerPlatform(config, env),
      })
      return coatcheck.fetch(request, env)
    },
  }
}

export { SessionObject } from './stores/durable-object.ts'
export default createWorker()

function configFrom({ COATCHECK_CONFIG: config }: WorkerBindings): ConfigInput {
  if (config === undefined)
    throw new Error('The Worker needs the variable COATCHECK_CONFIG with the configuration as JSON')
  // Whatever it is, readConfig checks it from the ground up.
  return typeof config === 'string' ? (JSON.parse(config) as ConfigInput) : config
}

function workerPlatform(config: Config, env: WorkerBindings): Platform {
  requirePlatform(config, 'Cloudflare Workers')
  requireBindings(config, env)
  const { ASSETS } = env
  const now = Date.now
  const platform: Platform = {
    now,
    fetch: (url, { certificate, ...init }) =>
      fetcherOf(certificate?.binding, env)(new Request(url, init as RequestInit)),
    transport: fetchTransport(
      (request, { tls }) => fetchThrough(tls?.binding, env)(request),
      (length) => new FixedLengthStream(length),
    ),
    upgrade: fetchUpgrade({
      fetch: (request, { tls }) => fetchThrough(tls?.binding, env)(request),
      switched(headers) {
        const { 0: theirs, 1: ours } = new WebSocketPair()
        return { answer: new Response(null, { status: 101, headers, webSocket: theirs } as ResponseInit), ours }
      },
    }),
    store: storeFrom(config, env),
    log: (event) => {
      if (isLogged(event, config.log.level)) console.log(JSON.stringify(logLine(event, now())))
    },
    waitUntil,
    exchange: (c) => webExchange(c, c.req.raw.headers.get('cf-connecting-ip') ?? undefined),
  }
  if (ASSETS) platform.asset = (c, path, headers) => assetFrom(ASSETS, c, path, headers)
  return platform
}

function storeFrom(config: Config, env: WorkerBindings): Store {
  const { store } = config
  if (store.type !== 'durable-object') return memoryStore()
  const namespace = env[store.binding]
  if (!isNamespace(namespace)) {
    throw new ConfigError(['store.binding: the Worker has no Durable Objects bound by this name'])
  }
  return durableObjectStore(namespace)
}

function isNamespace(binding: unknown): binding is DurableObjectNamespace {
  return typeof binding === 'object' && binding !== null && 'idFromName' in binding
}

type Fetcher = { fetch(request: Request, init?: RequestInit): Promise<Response> }

/** Bytes are passed on as they come, packed or not. */
const asItCame: RequestInit & { encodeResponseBody: 'manual' } = { encodeResponseBody: 'manual' }

function isFetcher(binding: unknown): binding is Fetcher {
  return typeof binding === 'object' && binding !== null && 'fetch' in binding
}

function requireBindings({ routes, providers }: Config, env: WorkerBindings): void {
  const named = [
    ...routes.map(({ tls }, index) => [`routes[${index}].tls.binding`, tls?.binding]),
    ...providers.map(({ clientAuth }, index) => [
      `providers[${index}].clientAuth.binding`,
      'binding' in clientAuth ? clientAuth.binding : undefined,
    ]),
  ]
  const mistakes = named
    .filter(([, name]) => name !== undefined && !isFetcher(env[name]))
    .map(([at]) => `${at}: the Worker has no certificate or service bound by this name`)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
}

/** What reaches an upstream: its binding, and nothing else if it has one. */
function fetchThrough(name: string | undefined, env: WorkerBindings): Fetcher['fetch'] {
  const through = fetcherOf(name, env)
  return (request) => through(request, asItCame)
}

function fetcherOf(name: string | undefined, env: WorkerBindings): Fetcher['fetch'] {
  if (name === undefined) return (request, init) => fetch(request, init)
  const binding = env[name]
  if (!isFetcher(binding)) throw new ConfigError([`${name}: a binding is gone`])
  return (request, init) => binding.fetch(request, init)
}

async function assetFrom(
  assets: NonNullable<WorkerBindings['ASSETS']>,
  c: Context,
  path: string,
  headers: HeaderList,
): Promise<Response | undefined> {
  // The binding redirects `/index.html` to `/`: it is asked for what it would redirect to.
  const url = new URL(path.replace(/\/index\.html$/, '/'), c.req.url)
  const found = await assets.fetch(new Request(url, { method: c.req.method, headers: c.req.raw.headers }))
  if (found.status === 404) return undefined
  const answer = new Response(found.body, found)
  for (let at = 0; at < headers.length; at += 2) answer.headers.set(headers[at] ?? '', headers[at + 1] ?? '')
  return answer
}

// The world of a storm, every part of it a real process: two instances of coatcheck over one store (or one workerd), an
// authorization server, an API.
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ConfigInput } from '../../src/config.ts'
import { bundleWorker } from '../../test/support/worker-bundle.ts'
import { startWorkerd } from '../../test/support/workerd-process.ts'
import { freePort, type StartedProcess, startServer } from '../support/processes.ts'
import type { Behaviour, Redemption } from './servers/authorization-server.ts'
import type { Seen } from './servers/upstream.ts'

export const storeTypes = ['redis', 'sqlite', 'durable-object'] as const
export type StoreType = (typeof storeTypes)[number]
export type Storage = 'cookie' | 'store'

export interface WorldOptions {
  readonly store: StoreType
  readonly storage: Storage
  /** Settings of coatcheck other than the default. */
  readonly refresh?: ConfigInput['refresh']
}

export interface World {
  /** What coatcheck believes its address to be, wherever it listens. */
  readonly publicUrl: string
  /** Where requests go, in turns. */
  readonly instances: readonly Instance[]
  readonly authorizationServer: {
    behave(changes: Partial<Behaviour>): Promise<void>
    /** Every refresh request so far. */
    redemptions(): Promise<Redemption[]>
    /** How many are being answered at the moment. */
    underWay(): Promise<number>
  }
  readonly upstream: { seen(): Promise<Seen>; forget(): Promise<void> }
  /** The Redis, to be killed and started again with what it wrote down. */
  readonly redis?: { kill(): Promise<void>; start(): Promise<void> }
  close(): Promise<void>
}

export interface Instance {
  readonly url: string
  /** SIGKILL. */
  kill(): Promise<void>
  /** The end of its log. */
  log(): string
}

export const client = { clientId: 'storm', clientSecret: 'umbrella' }

/** Settings of an authorization server that knows this client. */
export function providerAt(issuer: string): ConfigInput['providers'][number] {
  return {
    id: 'main',
    issuer,
    clientId: client.clientId,
    clientAuth: { method: 'client_secret_basic', secret: client.clientSecret },
    allowInsecureRequests: true,
  }
}

/** Starts everything; whoever starts it closes it. */
export async function startWorld(options: WorldOptions): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-storm-'))
  const started: { stop(): Promise<void> }[] = []
  const close = async () => {
    for (const { stop } of started.reverse()) await stop()
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const issuer = await startProgram('authorization-server', started)
    const api = await startProgram('upstream', started)
    const redis = options.store === 'redis' ? await startRedis(dir, started) : undefined
    const ports = [await freePort(), await freePort()] as const
    const publicUrl = `http://127.0.0.1:${ports[0]}`
    const config = { ...configFor(options, redis?.url), ...addresses(publicUrl, issuer, api) }
    const instances =
      options.store === 'durable-object'
        ? [await startWorker({ ...config, listen: { port: ports[0] } }, started)]
        : await Promise.all(ports.map((port) => startInstance({ ...config, listen: { port } }, dir, started)))
    return {
      publicUrl,
      instances,
      authorizationServer: {
        behave: async (changes) => void (await ask(`${issuer}/behaviour`, 'PUT', changes)),
        redemptions: () => ask<Redemption[]>(`${issuer}/redemptions`),
        underWay: async () => (await ask<{ underWay: number }>(`${issuer}/under-way`)).underWay,
      },
      upstream: {
        seen: () => ask<Seen>(`${api}/seen`),
        forget: async () => void (await ask(`${api}/seen`, 'DELETE')),
      },
      ...(redis && { redis }),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function configFor({ store, storage, refresh }: WorldOptions, redisUrl = ''): Omit<ConfigInput, 'publicUrl'> {
  const stores = {
    redis: { type: 'redis', url: redisUrl },
    sqlite: { type: 'sqlite', path: 'store.db' },
    'durable-object': { type: 'durable-object', binding: 'SESSIONS' },
  } as const
  return {
    session: { keys: [`1:${randomBytes(32).toString('base64url')}`], storage },
    store: stores[store],
    ...(refresh && { refresh }),
    providers: [],
  }
}

function addresses(
  publicUrl: string,
  issuer: string,
  api: string,
): Pick<ConfigInput, 'publicUrl' | 'providers' | 'routes'> {
  return {
    publicUrl,
    providers: [providerAt(issuer)],
    routes: [{ path: '/api', upstream: api, token: 'user' }],
  }
}

/** One of the programs in `servers`. Returns where it listens. */
export async function startProgram(name: string, started: { stop(): Promise<void> }[]): Promise<string> {
  const port = await freePort()
  const file = fileURLToPath(new URL(`servers/${name}.ts`, import.meta.url))
  const env = { BENCH_SETTINGS: JSON.stringify({ ...client, port }) }
  started.push(await startServer([process.execPath, file], { port, env }))
  return `http://127.0.0.1:${port}`
}

/** `coatcheck serve`, as a user starts it. */
async function startInstance(
  config: ConfigInput & { listen: { port: number } },
  dir: string,
  started: { stop(): Promise<void> }[],
): Promise<Instance> {
  const { port } = config.listen
  const file = join(dir, `coatcheck-${port}.json`)
  await writeFile(file, JSON.stringify(config), { mode: 0o600 })
  const cli = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
  const running = await startServer([process.execPath, cli, 'serve', '--config', file], { port })
  started.push(running)
  return { url: `http://127.0.0.1:${port}`, kill: running.kill, log: running.printed }
}

/** The Worker, with its Durable Objects on disk, in one workerd. */
async function startWorker(
  config: ConfigInput & { listen: { port: number } },
  started: { stop(): Promise<void> }[],
): Promise<Instance> {
  const bundle = await bundleWorker(fileURLToPath(new URL('../../src/worker.ts', import.meta.url)))
  started.push({ stop: bundle.remove })
  const { url, close, output } = await startWorkerd({
    bundle: bundle.folder,
    module: 'worker.js',
    port: config.listen.port,
    bindings: [`(name = "COATCHECK_CONFIG", json = ${JSON.stringify(JSON.stringify(config))})`],
  })
  started.push({ stop: close })
  return { url, kill: close, log: () => output().slice(-4_000) }
}

/** A Redis that writes down everything before it answers. */
export async function startRedis(dir: string, started: { stop(): Promise<void> }[]) {
  const port = await freePort()
  const folder = join(dir, 'redis')
  await mkdir(folder)
  const address = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder]
  const persistence = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always']
  let running: StartedProcess | undefined
  const start = async () => {
    running = await startServer(['redis-server', ...address, ...persistence], { port })
  }
  started.push({ stop: async () => running?.stop() })
  await start()
  return { url: `redis://127.0.0.1:${port}`, start, kill: async () => running?.kill() }
}

async function ask<T>(url: string, method = 'GET', body?: object): Promise<T> {
  const answer = await fetch(url, { method, ...(body && { body: JSON.stringify(body) }) })
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
  // One of our own two programs, whose types these are.
  return (await answer.json()) as T
}

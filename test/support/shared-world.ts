// One world for all tests of a describe, where a corpus is too large for a world of its own for every entry.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, inject } from 'vitest'
import workerd from 'workerd'
import type { ConfigInput } from '../../src/config.ts'
import { serve } from '../../src/node.ts'
import type { LogEvent } from '../../src/observability.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { createBrowser, exchange } from './browser.ts'
import { runtime, sessionKey, type World } from './coatcheck.ts'
import { freePort } from './http-server.ts'
import { startUpstream, type Upstream } from './upstream.ts'

interface Parts {
  as: AuthorizationServer
  api: Upstream
  publicUrl: string
}

/** Starts the three servers before the tests of the surrounding describe; they end after them. */
export function sharedWorld(overrides: (parts: Parts) => Partial<ConfigInput> = () => ({})): () => World {
  let world: World | undefined
  const open: { close(): Promise<unknown> }[] = []

  beforeAll(async () => {
    const [as, api] = [await startAuthorizationServer(), await startUpstream()]
    open.push(as, api)
    const port = await freePort()
    const publicUrl = `http://app.localhost:${port}`
    const config: ConfigInput = {
      publicUrl,
      listen: { host: '127.0.0.1', port },
      session: { keys: [sessionKey()] },
      providers: [
        {
          id: 'main',
          issuer: as.issuer,
          clientId: as.clientId,
          clientAuth: { method: 'client_secret_basic', secret: as.clientSecret },
          allowInsecureRequests: true,
        },
      ],
      routes: [
        { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
        { path: '/api/open', upstream: `${api.url}/open`, token: 'none' },
        { path: '/api/maybe', upstream: `${api.url}/maybe`, token: 'user-or-none' },
      ],
      ...overrides({ as, api, publicUrl }),
    }
    const { url, events, close } = await (runtime === 'workerd' ? onWorkerd(config) : onNode(config))
    open.unshift({ close })
    world = {
      as,
      api,
      url,
      publicUrl: config.publicUrl,
      config,
      browser: () => createBrowser(url, config.publicUrl),
      events,
      logged: (name) => events().filter((event): event is never => event.event === name),
    }
  })

  afterAll(async () => {
    for (const { close } of open) await close()
  })

  return () => {
    if (!world) throw new Error('The shared world has not started: call this inside a test')
    return world
  }
}

async function onNode(config: ConfigInput) {
  const events: LogEvent[] = []
  const { url, close } = await serve(config, { env: {}, log: (event) => events.push(event) })
  return { url, events: () => events, close }
}

/** As workerd.ts does it, but not bound to a test: that file ends its workerd when the running test is over. */
async function onWorkerd(config: ConfigInput) {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-workerd-'))
  const file = join(folder, 'config.capnp')
  const url = `http://127.0.0.1:${config.listen?.port}`
  await writeFile(file, capnp(config, new URL(url).host))
  const child = spawn(workerd, ['serve', file, '--verbose', `--import-path=${inject('workerBundle')}`])
  const exit = once(child, 'exit')
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const isReady = () => exchange(new URL('/healthz', url), 'GET', {}).then(({ status }) => status === 200)
  const deadline = Date.now() + 15_000
  while (!(await isReady().catch(() => false))) {
    if (Date.now() > deadline || child.exitCode !== null) throw new Error(`workerd is not ready:\n${output}`)
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
  return {
    url,
    events: () => (output.match(/\{"level":"[^\n]*\}/g) ?? []).map((line): LogEvent => JSON.parse(line)),
    async close() {
      // A mere SIGTERM would wait for connections that a test left hanging.
      child.kill('SIGKILL')
      await exit
      await rm(folder, { recursive: true })
    },
  }
}

function capnp(config: ConfigInput, address: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "${address}", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "/worker.js")],
  compatibilityDate = "2026-10-20",
  bindings = [(name = "COATCHECK_CONFIG", json = ${JSON.stringify(JSON.stringify(config))})],
);
`
}

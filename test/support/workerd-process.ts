// workerd as a process of its own, with one Worker in it. Knows nothing of tests, so that the bench can use it too.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exchange } from './browser.ts'

/** Where the binary is. The package publishes no types, and its `default` is one only to bundlers. */
const { default: workerd } = createRequire(import.meta.url)('workerd') as { default: string }

/** What a test adds to the Worker, as workerd.capnp has it. */
export interface WorkerdExtras {
  readonly bindings?: readonly string[]
  readonly services?: readonly string[]
  /** Certificates that are believed besides those of the web, in PEM. */
  readonly trusted?: readonly string[]
  /** Folder that Durable Objects are kept in; else they end with this. In memory workerd has no SQLite. */
  readonly disk?: string
}

interface WorkerdOptions extends WorkerdExtras {
  /** Folder with the bundled Worker, and the file in it. */
  bundle: string
  module: string
  port: number
  /** `SESSIONS` with the Durable Objects is always there. */
  readonly bindings?: readonly string[]
}

export interface Workerd {
  readonly url: string
  readonly pid: number | undefined
  output(): string
  close(): Promise<void>
}

/** Starts a Worker that answers `/healthz`; whoever starts it closes it. */
export async function startWorkerd(options: WorkerdOptions): Promise<Workerd> {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-workerd-'))
  const file = join(folder, 'config.capnp')
  await mkdir(join(folder, 'objects'))
  await writeFile(file, capnp({ disk: join(folder, 'objects'), ...options }))
  const child = spawn(workerd, ['serve', file, '--verbose', `--import-path=${options.bundle}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const url = `http://127.0.0.1:${options.port}`
  const close = async () => {
    await ended(child)
    await rm(folder, { recursive: true })
  }
  await untilReady(url, child, () => output).catch(async (error) => {
    await close()
    throw error
  })
  return { url, pid: child.pid, output: () => output, close }
}

function capnp({ module, port, bindings = [], services = [], trusted = [], disk = '' }: WorkerdOptions): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true, trustedCertificates = ${JSON.stringify(trusted)}))),
    (name = "disk", disk = (path = ${JSON.stringify(disk)}, writable = true)),
${services.map((service) => `    ${service},\n`).join('')}  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "/${module}")],
  compatibilityDate = "2026-10-20",
  bindings = [${[...bindings, '(name = "SESSIONS", durableObjectNamespace = "SessionObject")'].join(', ')}],
  durableObjectNamespaces = [(className = "SessionObject", uniqueKey = "coatcheck", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
);
`
}

async function untilReady(url: string, child: ChildProcess, output: () => string): Promise<void> {
  const deadline = Date.now() + 15_000
  for (;;) {
    const answer = await exchange(new URL('/healthz', url), 'GET', {}).catch(() => undefined)
    if (answer?.status === 200) return
    if (answer || child.exitCode !== null || Date.now() > deadline)
      throw new Error(`workerd is not ready: ${answer?.text}\n${output()}`)
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}

async function ended(child: ChildProcess): Promise<unknown> {
  if (child.exitCode !== null || child.signalCode !== null) return undefined
  const exit = new Promise((resolve) => child.once('exit', resolve))
  // Asked politely it would wait for its idle connections.
  child.kill('SIGKILL')
  return exit
}

// Starts servers and programs, pinned to cores, and ends exactly those again, whatever happens.
import { execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface StartedProcess {
  readonly pid: number
  /** Ends it with everything below it: politely, and after three seconds not. */
  stop(): Promise<void>
  /** Ends it with everything below it at once, as a crash would. */
  kill(): Promise<void>
  /** The last that it printed. */
  printed(): string
}

const running = new Set<StartedProcess>()

/** Which core the contestant has to itself, and which are for everything else; `undefined` when there is only one. */
export interface Cores {
  readonly contestant: string
  readonly others: string
}

/** Shares out the cores this process may use. Without a second core, or without `taskset`, nothing is pinned. */
export async function shareCores(): Promise<Cores | undefined> {
  const allowed = allowedCores()
  const [contestant, ...others] = allowed
  if (contestant === undefined || others.length === 0) return undefined
  const cores = { contestant: String(contestant), others: others.join(',') }
  const pinned = run('taskset', ['-a', '-c', '-p', cores.others, String(process.pid)])
  return pinned.then(
    () => cores,
    () => undefined,
  )
}

function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

/**
 * Starts a server and waits until its port takes connections.
 *
 * @param core the core it is pinned to, if any
 * @throws Error with what the server printed, when it ends or stays silent instead.
 */
export async function startServer(
  command: readonly [string, ...string[]],
  { port, core, env = {} }: { port: number; core?: string | undefined; env?: Record<string, string> },
): Promise<StartedProcess> {
  const [program, ...args] = core === undefined ? command : (['taskset', '-c', core, ...command] as const)
  // A process group of its own: a Ctrl-C at the terminal reaches only the run itself, which then ends the servers.
  const child = spawn(program, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      printed = (printed + chunk).slice(-4_000)
    })
  }
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', (error) => {
      printed += error.message
      resolve()
    })
  })
  const { pid } = child
  if (pid === undefined) {
    await exited
    throw new Error(`Cannot start ${command[0]}: ${printed}`)
  }
  const started: StartedProcess = {
    pid,
    async stop() {
      signalGroup(pid, 'SIGTERM')
      await Promise.race([exited, pause(3_000)])
      await started.kill()
    },
    async kill() {
      signalGroup(pid, 'SIGKILL')
      await exited
    },
    printed: () => printed,
  }
  running.add(started)
  let over = false
  void exited.then(() => {
    over = true
    running.delete(started)
  })
  for (let tries = 0; tries < 200; tries++) {
    if (over) break
    if (await accepts(port)) return started
    await pause(50)
  }
  throw new Error(`${command.slice(0, 3).join(' ')} ${over ? 'ended' : 'does not listen'}:\n${printed}`)
}

/** Runs a program to its end on the cores of this process; returns what it printed. @throws its failure */
export async function runProgram(program: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(program, [...args], { maxBuffer: 1_000_000 })
  return stdout + stderr
}

/** Ends every server that was started here and still runs. */
export async function stopServers(): Promise<void> {
  await Promise.all([...running].map((server) => server.stop()))
}

/** The last resort of a run that is ending for good. */
process.on('exit', () => {
  for (const { pid } of running) signalGroup(pid, 'SIGKILL')
})

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // It is gone already.
  }
}

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

// A Redis of the test's own on a free port of loopback: one that can be stopped, frozen and started again.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './http-server.ts'

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Kills it at once, as a crash would. */
  kill(): Promise<void>
  /** Starts it again on the same port, empty. */
  start(): Promise<void>
  /** Stops its clock (`true`): connections stay open and nothing is answered; or lets it go on. */
  freeze(isFrozen: boolean): void
  close(): Promise<void>
}

/** Starts `redis-server`; whoever starts it closes it. `options` are those of its command line. */
export async function startRedis(options: string[] = [], port?: number): Promise<RedisServer> {
  return startOn(port ?? (await freePort()), options)
}

async function startOn(port: number, options: string[]): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-redis-'))
  const common = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', '--dir', folder]
  let child: ChildProcess | undefined

  async function start(): Promise<void> {
    child = await spawned([...common, ...options])
    await untilListening(port, child)
  }

  async function kill(): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = new Promise((resolve) => child?.once('exit', resolve))
    child.kill('SIGKILL')
    await exit
  }

  await start()
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    start,
    kill,
    freeze: (isFrozen) => void child?.kill(isFrozen ? 'SIGSTOP' : 'SIGCONT'),
    async close() {
      await kill()
      await rm(folder, { recursive: true })
    },
  }
}

function spawned(args: string[]): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn('redis-server', args, { stdio: 'ignore' })
    child.once('spawn', () => resolve(child))
    child.once('error', (error) =>
      reject(new Error('These tests need a real Redis: apt-get install redis-server', { cause: error })),
    )
  })
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (isThere) return
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error('redis-server does not start')
    }
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}

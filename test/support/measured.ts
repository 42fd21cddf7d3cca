// coatcheck in a process of its own, on either runtime, whose memory can be looked at.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, inject } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { providerFor, runtime, sessionKey } from './coatcheck.ts'
import { coatcheck, fileWith } from './command.ts'
import { closeAfterTest, freePort } from './http-server.ts'
import { startWorkerd } from './workerd-process.ts'

export interface Measured {
  readonly url: string
  readonly publicUrl: string
  /** Resident memory in bytes. */
  memory(): Promise<number>
  /** By how many bytes memory was above what it was in the beginning while `work` went on, at most. */
  growthDuring(work: () => Promise<unknown>): Promise<number>
}

/**
 * Starts it with these routes; it ends with the test.
 * @param heap what JavaScript may keep on Node, in MB. Beyond that the process dies.
 */
export async function startMeasured(
  as: AuthorizationServer,
  routes: ConfigInput['routes'],
  heap = 96,
): Promise<Measured> {
  const port = await freePort()
  const publicUrl = `http://app.localhost:${port}`
  const listen = { host: '127.0.0.1', port }
  const config: ConfigInput = {
    publicUrl,
    listen,
    session: { keys: [sessionKey()] },
    providers: [providerFor(as)],
    routes,
  }
  const pid = await (runtime === 'workerd' ? onWorkerd(config, port) : onNode(config, heap))
  const memory = () => residentMemory(pid)

  async function growthDuring(work: () => Promise<unknown>): Promise<number> {
    const before = await memory()
    let most = before
    let isOver = false
    const watching = (async () => {
      while (!isOver) {
        most = Math.max(most, await memory())
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    })()
    await work().finally(() => (isOver = true))
    await watching
    return most - before
  }

  return { url: `http://127.0.0.1:${port}`, publicUrl, memory, growthDuring }
}

async function onNode(config: ConfigInput, heap: number): Promise<number> {
  // Without this V8 collects no garbage before there are hundreds of megabytes of it.
  const env = { NODE_OPTIONS: `--max-old-space-size=${heap}` }
  const command = coatcheck(['serve', '--config', await fileWith(JSON.stringify(config))], env)
  await expect.poll(command.stdout, { timeout: 15_000 }).toContain('server.listening')
  return command.pid ?? 0
}

async function onWorkerd(config: ConfigInput, port: number): Promise<number> {
  const { pid, close } = await startWorkerd({
    bundle: inject('workerBundle'),
    module: 'worker.js',
    port,
    bindings: [`(name = "COATCHECK_CONFIG", json = ${JSON.stringify(JSON.stringify(config))})`],
  })
  closeAfterTest({ close })
  return pid ?? 0
}

/** Fails when the process is gone. */
async function residentMemory(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
  return Number(stdout) * 1_024
}

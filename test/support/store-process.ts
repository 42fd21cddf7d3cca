// A store in a process of its own, that a test talks to and may kill.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Store } from '../../src/stores/store.ts'

/** Calls of `Store` that can be asked of the other process; a lease stays there and is told as its fence. */
export interface StoreProcess {
  call(method: keyof Store, ...args: unknown[]): Promise<any>
  /** SIGKILL: it has no chance to clean up. */
  kill(): Promise<void>
}

export interface Answer {
  id: number
  value?: unknown
  error?: string
}

/** Opens the SQLite store `path` in another process; it ends with the test. `limit` is the largest file it may write, in KB. */
export async function startStoreProcess(path: string, limit?: number): Promise<StoreProcess> {
  const command = `${limit === undefined ? '' : `ulimit -f ${limit};`} exec "$0" "$@"`
  const program = fileURLToPath(new URL('store-process-main.ts', import.meta.url))
  const child = spawn('bash', ['-c', command, process.execPath, program, path], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  onTestFinished(() => ended(child))
  const open = new Map<number, (answer: Answer) => void>()
  child.on('message', (answer: Answer) => open.get(answer.id)?.(answer))
  const ask = (id: number) => new Promise<Answer>((resolve) => open.set(id, resolve))
  const ready = await ask(0)
  if (ready.error !== undefined) throw new Error(ready.error)
  let calls = 0
  return {
    async call(method, ...args) {
      const id = ++calls
      child.send({ id, method, args })
      const { value, error } = await ask(id)
      if (error !== undefined) throw new Error(error)
      return value
    },
    kill: () => ended(child),
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await exit
}

// The command line as a user runs it, in a process of its own.
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { onTestFinished } from 'vitest'

/** A configuration for which nothing else has to run: one route without tokens. */
export const simpleConfig = (port: number, upstream = 'http://127.0.0.1:9') => ({
  publicUrl: `http://localhost:${port}`,
  listen: { port },
  session: { keys: ['${COATCHECK_KEY}'] },
  providers: [
    {
      id: 'main',
      issuer: 'http://127.0.0.1:9',
      allowInsecureRequests: true,
      clientId: 'app',
      clientAuth: { method: 'client_secret_basic', secret: 'x' },
    },
  ],
  routes: [{ path: '/api', upstream, token: 'none' }],
})

export interface Command {
  stdout(): string
  /** Where its output comes from, for who reads it otherwise. */
  readonly reader: Readable | null
  stderr(): string
  /** Exit code, or `null` when it was killed. */
  readonly exit: Promise<number | null>
  readonly pid: number | undefined
  kill(signal?: NodeJS.Signals): void
}

/**
 * Runs `coatcheck <args>`; it ends with the test. `env` is all of its environment besides `PATH`.
 * @param stdout descriptor of a file that it writes to, or a terminal
 */
export function coatcheck(
  args: readonly string[],
  env: Record<string, string> = {},
  stdout?: number | 'terminal',
): Command {
  const command = [process.execPath, 'src/cli.ts', ...args]
  const [program = '', ...rest] =
    stdout === 'terminal' ? ['script', '-qefc', `exec ${command.join(' ')}`, '/dev/null'] : command
  const child = spawn(program, rest, {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', typeof stdout === 'number' ? stdout : 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout?.on('data', (chunk) => (output.stdout += chunk))
  child.stderr?.on('data', (chunk) => (output.stderr += chunk))
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
  onTestFinished(async () => {
    // A terminal takes along what runs in it only when it is asked to.
    child.kill(stdout === 'terminal' ? 'SIGTERM' : 'SIGKILL')
    await exit
  })
  return {
    stdout: () => output.stdout,
    reader: child.stdout,
    stderr: () => output.stderr,
    exit,
    pid: child.pid,
    kill: (signal) => void child.kill(signal),
  }
}

/** A file that ends with the test. */
export async function fileWith(content: string, name = 'coatcheck.json'): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-test-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, name)
  await writeFile(file, content)
  return file
}

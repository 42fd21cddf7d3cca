// The world of this bench: an authorization server, an API and one coatcheck, each a process; the browsers are in this one.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ConfigInput } from '../../src/config.ts'
import { providerAt, startProgram } from '../refresh/world.ts'
import { signIn } from '../support/browser.ts'
import { freePort, startServer } from '../support/processes.ts'
import type { Memory } from './servers/coatcheck.ts'

export interface World {
  /** What coatcheck believes its address to be, and where it is. */
  readonly publicUrl: string
  /** Where the API is. */
  readonly api: string
  /** Paths of the routes, each to an origin of the API of its own. */
  readonly routes: readonly string[]
  /** `Cookie` headers of people who are signed in. */
  readonly visitors: readonly string[]
  /** Process of coatcheck. */
  readonly pid: number
  /** What it has as it is, or once everything was collected that can be. */
  memory(after?: 'collected'): Promise<Memory>
  close(): Promise<void>
}

/** Origins of the API. Connections to one are limited, and an event stream keeps one to itself. */
const originCount = 16
const visitorCount = 50

/** Starts everything; whoever starts it closes it. */
export async function startWorld(): Promise<World> {
  const started: { stop(): Promise<void> }[] = []
  const close = async () => {
    for (const { stop } of started.reverse()) await stop()
  }
  try {
    const issuer = await startProgram('authorization-server', started)
    await fetch(`${issuer}/behaviour`, { method: 'PUT', body: JSON.stringify({ firstLifetime: 3_600, latency: 0 }) })
    const origins = []
    for (let number = 0; number < originCount; number++) origins.push(await freePort())
    const [first = 0, ...others] = origins
    await start('api', first, { origins: JSON.stringify(others) })
    const [port, controlPort] = [await freePort(), await freePort()]
    const publicUrl = `http://127.0.0.1:${port}`
    const config: ConfigInput = {
      publicUrl,
      listen: { port },
      session: { keys: [`1:${randomBytes(32).toString('base64url')}`] },
      providers: [providerAt(issuer)],
      routes: origins.map((origin, number) => ({
        path: `/api/${number}`,
        upstream: `http://127.0.0.1:${origin}`,
        token: 'user',
        websocket: true,
      })),
    }
    const { pid } = await start('coatcheck', port, {
      config: JSON.stringify(config),
      controlPort: String(controlPort),
    })
    const visitors = []
    for (let number = 0; number < visitorCount; number++) {
      visitors.push(await signIn(`${publicUrl}/auth/login?login_hint=visitor-${number}`))
    }
    return {
      publicUrl,
      api: `http://127.0.0.1:${first}`,
      routes: origins.map((_, number) => `/api/${number}`),
      visitors,
      pid,
      async memory(after) {
        const answer = await fetch(`http://127.0.0.1:${controlPort}/${after ?? 'now'}`)
        // Our own program, whose type this is.
        return (await answer.json()) as Memory
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }

  async function start(name: string, port: number, more: Record<string, string>) {
    const file = fileURLToPath(new URL(`servers/${name}.ts`, import.meta.url))
    const env = { BENCH_SETTINGS: JSON.stringify({ ...more, port }) }
    const server = await startServer([process.execPath, '--expose-gc', file], { port, env })
    started.push(server)
    return server
  }
}

/**
 * Files that one process may have open. Node raises it to this by itself.
 * @throws RangeError when that is too few
 */
export function requireFiles(connections: number): void {
  const [, limit = '0'] = /^Max open files +\S+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  // coatcheck has two for each connection.
  const needed = connections * 2 + 200
  if (Number(limit) < needed) throw new RangeError(`${connections} connections need ulimit -Hn ${needed}, not ${limit}`)
}

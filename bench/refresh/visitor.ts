// A browser of the storms: a cookie jar, a sign-in, and calls that are sent again where a browser or a load balancer would.
import { Pool } from 'undici'
import { pageHeaders } from '../support/browser.ts'
import { pause } from '../support/processes.ts'
import type { World } from './world.ts'

/** How one call ended, after however many tries. */
export interface Outcome {
  readonly status: number
  /** Our own error code, if it is one of ours. */
  readonly code: string | undefined
  /** From the first try to the end of the last answer. */
  readonly milliseconds: number
  /** Tries that found the instance dead, and tries that were answered 503 with `Retry-After`. */
  readonly moved: number
  readonly postponed: number
}

export interface Visitor {
  readonly user: string
  cookieHeader(): string
  /** Signs in at an instance. */
  signIn(instance: number): Promise<void>
  /**
   * A call of the API, with the cookies of now or those given.
   * @param instance where to begin; the others are asked when it is dead
   */
  call(instance: number, cookie?: string): Promise<Outcome>
}

/** Visitors share connections, many of them, to each instance. */
export interface Visitors {
  visitor(user: string): Visitor
  close(): Promise<void>
}

/** What a page sends, without what a connection brings; and what a person does who follows a link. */
const { connection: _, ...page } = Object.fromEntries(
  Object.entries(pageHeaders).map(([name, value]) => [name.toLowerCase(), value]),
)
const navigation = { ...page, accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }

/** A 503 is repeated for this long, then it is the answer. Milliseconds. */
const longestPatience = 60_000

/** @param connections to each instance, at most; `repeats`: whether a 503 with `Retry-After` is tried again. */
export function createVisitors(
  { instances, publicUrl }: World,
  { connections, repeats }: { connections: number; repeats: boolean },
): Visitors {
  const pools = instances.map(({ url }) => new Pool(url, { connections, headersTimeout: 60_000 }))

  async function send(at: number, path: string, headers: Record<string, string>) {
    const pool = pools[at % pools.length]
    if (!pool) throw new Error('There is no instance')
    const answer = await pool.request({ path, method: 'GET', headers })
    return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() }
  }

  function visitor(user: string): Visitor {
    const cookies = new Map<string, string>()
    const cookieHeader = () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

    function keep(lines: string | string[] = []): void {
      for (const line of [lines].flat()) {
        const [pair = '', ...attributes] = line.split('; ')
        const name = pair.slice(0, pair.indexOf('='))
        if (attributes.includes('Max-Age=0')) cookies.delete(name)
        else cookies.set(name, pair.slice(name.length + 1))
      }
    }

    async function navigate(at: number, path: string): Promise<URL> {
      const answer = await send(at, path, { ...navigation, cookie: cookieHeader() })
      keep(answer.headers['set-cookie'])
      if (answer.status !== 303) {
        const log = instances[at % instances.length]?.log()
        throw new Error(`A sign-in was answered ${answer.status}. The end of the log:\n${log}`)
      }
      return new URL(String(answer.headers.location), publicUrl)
    }

    return {
      user,
      cookieHeader,

      async signIn(at) {
        const authorize = await navigate(at, `/auth/login?login_hint=${user}`)
        const answer = await fetch(authorize, { redirect: 'manual' })
        const callback = new URL(answer.headers.get('location') ?? '')
        await navigate(at, callback.pathname + callback.search)
      },

      async call(instance, cookie) {
        const startedAt = performance.now()
        let [moved, postponed, at] = [0, 0, instance]
        for (;;) {
          const headers = { ...page, cookie: (postponed === 0 && cookie) || cookieHeader() }
          const answer = await send(at, `/api/orders/${user}`, headers).catch(() => undefined)
          const milliseconds = performance.now() - startedAt
          if (!answer) {
            // As a load balancer does with a GET whose connection breaks.
            moved++
            at++
            if (milliseconds > longestPatience) return { status: 0, code: 'no_answer', milliseconds, moved, postponed }
            if (moved > 1) await pause(50)
            continue
          }
          keep(answer.headers['set-cookie'])
          const seconds = Number(answer.headers['retry-after'])
          if (repeats && answer.status === 503 && seconds > 0 && milliseconds < longestPatience) {
            postponed++
            await pause(seconds * 1_000)
            continue
          }
          const code = answer.headers['coatcheck-error']
          return { status: answer.status, code: code && String(code), milliseconds, moved, postponed }
        }
      },
    }
  }

  return {
    visitor,
    close: async () => void (await Promise.all(pools.map((pool) => pool.destroy()))),
  }
}

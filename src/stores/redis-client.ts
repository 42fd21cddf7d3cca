// A connection to Redis: the package, a client that knows our scripts, and its end.
import { answerTime, inTime } from './patience.ts'
import * as scripts from './redis-scripts.ts'

/** Longest pause between attempts to connect. Milliseconds. */
const longestBackOff = 1_000

export type Library = typeof import('redis')
export type Client = ReturnType<typeof createClient>

/** The package. @throws Error saying what has to be installed */
export async function load(): Promise<Library> {
  return import('redis').catch((error: unknown) => {
    const isMissing = (error as { code?: string }).code === 'ERR_MODULE_NOT_FOUND'
    const hint = isMissing ? 'is not installed: npm install redis@6' : 'cannot be loaded'
    throw new Error(`A store of type redis needs the package redis, which ${hint}`, { cause: error })
  })
}

/** A client with our scripts, which is not connected yet. Every connection that is lost is made again. */
export function createClient(library: Library, url: string) {
  const script = (text: string) =>
    library.defineScript({
      SCRIPT: text,
      NUMBER_OF_KEYS: 1,
      parseCommand(parser, key: string, ...args: string[]) {
        parser.pushKey(key)
        parser.push(...args)
      },
      transformReply: (reply: unknown) => reply,
    })
  return library.createClient({
    url,
    disableOfflineQueue: true,
    maintNotifications: 'disabled',
    socket: {
      connectTimeout: answerTime,
      reconnectStrategy: (retries) =>
        Math.min(longestBackOff, 25 * 2 ** Math.min(retries, 10)) * (0.5 + Math.random() / 2),
    },
    scripts: {
      put: script(scripts.put),
      remove: script(scripts.remove),
      take: script(scripts.take),
      renew: script(scripts.renew),
      release: script(scripts.release),
      append: script(scripts.append),
      since: script(scripts.since),
      count: script(scripts.count),
    },
  })
}

/** Says goodbye, but not for long. */
export async function quit(client: Client | undefined): Promise<void> {
  if (!client) return
  if (client.isReady) await inTime(client.close()).catch(() => {})
  giveUp(client)
}

/** Ends a connection for good. One that is just being made is not ended by `destroy()` until it is there. */
export function giveUp(client: Client): void {
  client.on('connect', () => client.destroy())
  client.destroy()
}

// A store for many machines, in Redis or Valkey (6.2 or later). The package `redis` is loaded only when this is used.
import { answerTime, inTime, inTimeOrUndone, lifetime, pageSize } from './patience.ts'
import { type Client, createClient, giveUp, type Library, load, quit } from './redis-client.ts'
import { familyOf, type Lease, type OpenStore } from './store.ts'
import { createWaiting } from './waiting.ts'

/** A connection that has answered nothing for this long is given up for a new one. Milliseconds. */
const longestSilence = 5_000
/** After this somebody who waits looks again in any case: what Redis publishes may be lost. Milliseconds. */
const longestWait = 1_000
/** A server that takes no writes is left for a new connection this often at most. Milliseconds. */
const readOnlyPause = 1_000
/** How long a subscription is kept for the next who waits for the same. Milliseconds. */
const subscriptionTime = 5_000

/** Whether Redis can be used: `unreachable`, or `refused` for credentials that it does not take. */
export type RedisState = 'ready' | 'unreachable' | 'refused'

export interface RedisOptions {
  /** What all our names begin with. Default: `coatcheck`. */
  prefix?: string
  /** Told when the state changes. */
  tell?: (state: RedisState) => void
}

export interface RedisStore extends OpenStore {
  /** Resolves when calls can be made, be Redis there or not. Rejects when they never can: the package is missing. */
  readonly loaded: Promise<void>
}

/**
 * A store in the Redis at `url` (`redis:` or `rediss:`). It connects at once and again whenever the connection is lost;
 * while there is none, calls reject at once.
 */
export function redisStore(url: string, { prefix = 'coatcheck', tell = () => {} }: RedisOptions = {}): RedisStore {
  const name = namesWith(prefix)
  const waiting = createWaiting()
  /** Channels that are listened to, with the time of their last use. By `performance.now()`. */
  const channels = new Map<string, number>()
  let library: Library | undefined
  let client: Client | undefined
  let subscriber: Client | undefined
  let state: RedisState | undefined
  let connectedOnce: Promise<void> | undefined
  let isClosed = false
  /** Calls without an answer yet, and since when nothing was answered although something was asked. */
  let pending = 0
  let silentSince: number | undefined
  /** When a connection was last given up because its server takes no writes; until one is taken that is all we know. */
  let readOnlySince: number | undefined

  const loaded = load().then((found) => {
    library = found
    if (!isClosed) client = connect(found)
  })
  loaded.catch(() => {})
  const sweeping = setInterval(unsubscribeIdle, subscriptionTime)
  sweeping.unref()

  function connect(from: Library): Client {
    const made = createClient(from, url)
    // Every failed attempt is an 'error'; the client goes on by itself.
    connectedOnce = new Promise((resolve) => {
      made.on('ready', () => {
        if (made === client) {
          silentSince = undefined
          if (readOnlySince === undefined) become('ready')
        }
        resolve()
      })
      made.on('error', ({ message }: Error) => {
        if (made === client) become(/^(WRONGPASS|NOAUTH|NOPERM|ERR AUTH)/.test(message) ? 'refused' : 'unreachable')
        resolve()
      })
    })
    made.connect().catch(() => {})
    return made
  }

  function become(next: RedisState): void {
    if (state === next || isClosed) return
    state = next
    tell(next)
  }

  /** @param leave what becomes of the connections that were */
  function reconnect(leave: (old: Client) => void): void {
    if (!library || isClosed) return
    const old = [client, subscriber]
    silentSince = undefined
    channels.clear()
    subscriber = undefined
    become('unreachable')
    client = connect(library)
    for (const one of old) if (one) leave(one)
  }

  const ask = <T>(command: (to: Client) => Promise<T>) => inTime(attempt(command))

  async function attempt<T>(command: (to: Client) => Promise<T>): Promise<T> {
    if (isClosed) throw new Error('The store is closed')
    if (!client) await loaded
    const silence = silentSince === undefined ? 0 : performance.now() - silentSince
    if (silence > longestSilence) reconnect(giveUp)
    else if (silence > answerTime && pending > 0) throw new Error('Redis does not answer')
    silentSince ??= performance.now()
    // Right after the start there is a connection under way that is worth waiting for, and so while one replaces another.
    if ((state === undefined || readOnlySince !== undefined) && connectedOnce) await inTime(connectedOnce)
    if (!client) throw new Error('The store is closed')
    pending++
    const to = client
    const answer = command(to)
    void answer.then(
      () => heard(to),
      (error) => heard(to, error),
    )
    return await answer
  }

  function heard(from: Client, error?: unknown): void {
    pending--
    // An error that Redis answered is an answer too.
    const isAnswer = error === undefined || (library && error instanceof library.ErrorReply)
    if (!isAnswer || from !== client) return
    silentSince = undefined
    if (String((error as Error | undefined)?.message).startsWith('READONLY')) leaveReplica()
  }

  /** The server has become a replica; a new connection may lead to the one that took its place. */
  function leaveReplica(): void {
    const time = performance.now()
    if (readOnlySince !== undefined && time - readOnlySince < readOnlyPause) return
    readOnlySince = time
    // Reads that are under way are answered.
    reconnect((old) => void quit(old))
  }

  /** A call that writes in any case, and so proves that the server takes writes. */
  async function write(command: (to: Client) => Promise<unknown>): Promise<unknown> {
    const answer = await ask(command)
    if (readOnlySince !== undefined) {
      readOnlySince = undefined
      become('ready')
    }
    return answer
  }

  const wake = (_: string, channel: string) => waiting.wake(channel)

  function listenTo(channel: string): void {
    if (!library) return void loaded.then(() => listenTo(channel)).catch(() => {})
    const isKnown = channels.has(channel)
    channels.set(channel, performance.now())
    if (isKnown || isClosed) return
    if (!subscriber) {
      subscriber = createClient(library, url)
      subscriber.on('error', () => {})
      subscriber.connect().catch(() => {})
    }
    // Something may have changed before this was heard: whoever waits looks again.
    subscriber.subscribe(channel, wake).then(
      () => waiting.wake(channel),
      () => channels.delete(channel),
    )
  }

  function unsubscribeIdle(): void {
    for (const [channel, usedAt] of channels) {
      if (waiting.has(channel) || performance.now() - usedAt < subscriptionTime) continue
      channels.delete(channel)
      subscriber?.unsubscribe(channel, wake).catch(() => {})
    }
  }

  return {
    loaded,

    get: async (key) => (await ask((to) => to.get(name.value(key)))) ?? undefined,

    async set(key, value, ttl) {
      await write((to) => to.put(name.value(key), value, String(lifetime(ttl)), name.channel(key), ''))
    },

    add: async (key, value, ttl) =>
      (await write((to) => to.put(name.value(key), value, String(lifetime(ttl)), name.channel(key), 'NX'))) === 1,

    async delete(key) {
      await write((to) => to.remove(name.value(key), name.channel(key)))
    },

    async lease(key, ttl): Promise<Lease | undefined> {
      const under = name.lease(key)
      const release = (held: number) => ask((to) => to.release(under, String(held), name.channel(key)))
      const taken = attempt((to) => to.take(under, String(lifetime(ttl)))).then(Number)
      const fence = await inTimeOrUndone(taken, async (late) => late !== 0 && release(late))
      if (fence === 0) return undefined
      return {
        fence,
        renew: async (more) => (await ask((to) => to.renew(under, String(fence), String(lifetime(more))))) === 1,
        async release() {
          await release(fence)
        },
      }
    },

    async changed(key, timeout) {
      if (isClosed) return
      const channel = name.channel(key)
      listenTo(channel)
      await waiting.wait(channel, Math.min(timeout, longestWait))
    },

    async append(log, entry, ttl) {
      await write((to) => to.append(name.log(log), entry, String(lifetime(ttl))))
    },

    async since(log, cursor) {
      const answer = await ask((to) => to.since(name.log(log), cursor, String(pageSize)))
      const [last, entries] = answer as [string, string[]]
      return { entries, cursor: last }
    },

    async count(key, points, ttl) {
      const answer = await write((to) => to.count(name.counter(key), String(points), String(lifetime(ttl))))
      const [total, milliseconds] = answer as [number, number]
      return { total, milliseconds }
    },

    // A replica, or a Redis that is full, still answers reads: only a write proves anything.
    healthy: () =>
      write((to) => to.put(`${prefix}:healthy`, '', '1000', `${prefix}:healthy`, '')).then(
        () => true,
        () => false,
      ),

    async close() {
      if (isClosed) return
      isClosed = true
      clearInterval(sweeping)
      waiting.wakeAll()
      await Promise.all([client, subscriber].map(quit))
    },
  }
}

/** Names in Redis. What is in braces, the family, decides about the slot of a cluster. */
function namesWith(prefix: string) {
  const tagged = (key: string) => {
    const family = familyOf(key)
    // An empty tag would be none, and a brace inside would end it.
    const tag = family === '' ? '%' : family.replace(/[%{}]/g, encodeURIComponent)
    return `{${tag}}${key.slice(family.length).replace('/', ':')}`
  }
  return {
    value: (key: string) => `${prefix}:${tagged(key)}`,
    counter: (key: string) => `${prefix}:count:${tagged(key)}`,
    lease: (key: string) => `${prefix}:lease:${tagged(key)}`,
    channel: (key: string) => `${prefix}:changed:${tagged(key)}`,
    log: (log: string) => `${prefix}:log:${tagged(log)}`,
  }
}

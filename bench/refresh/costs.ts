// `node bench/refresh/costs.ts`: what sessions cost in calls of the store and in bytes, for docs/sessions.md. Instances are
// in this process, over stores that count.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createClient } from 'redis'
import { type Coatcheck, createCoatcheck } from '../../src/app.ts'
import type { ConfigInput } from '../../src/config.ts'
import type { LogEvent } from '../../src/observability.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import type { Store } from '../../src/stores/store.ts'
import { webPlatform } from '../../src/web-platform.ts'
import { pageHeaders } from '../support/browser.ts'
import { stopServers } from '../support/processes.ts'
import { drawn } from '../support/report.ts'
import { countingStore } from './counting-store.ts'
import type { Behaviour } from './servers/authorization-server.ts'
import { providerAt, type Storage, startProgram, startRedis } from './world.ts'

const publicUrl = 'http://127.0.0.1:3000'
const started: { stop(): Promise<void> }[] = []
const issuer = await startProgram('authorization-server', started)
const upstream = await startProgram('upstream', started)
const key = `1:${randomBytes(32).toString('base64url')}`

const page = Object.fromEntries(Object.entries(pageHeaders).map(([name, value]) => [name.toLowerCase(), value]))

/** An instance in this process, on a clock that can be moved. */
interface Instance {
  readonly app: Coatcheck
  readonly events: LogEvent[]
  /** Until everything that runs behind the answers is done. */
  settled(): Promise<void>
}

const clock = { ahead: 0 }
const now = () => Date.now() + clock.ahead

function instance(store: Store, storage: Storage): Instance {
  const events: LogEvent[] = []
  const background = new Set<Promise<unknown>>()
  const config: ConfigInput = {
    publicUrl,
    session: { keys: [key], storage },
    // What is handed over below; its name alone decides that tokens may be kept in it.
    store: { type: 'sqlite', path: 'none' },
    providers: [providerAt(issuer)],
    routes: [
      { path: '/api', upstream, token: 'user' },
      { path: '/api/rare', upstream, token: 'user', rateLimit: { per: 'user', requests: 2, window: '1h' } },
    ],
  }
  const app = createCoatcheck(config, {
    platform: (read) => ({
      ...webPlatform({ ...read, store: { type: 'memory' } }),
      now,
      store,
      log: (event) => void events.push(event),
      waitUntil(work) {
        const tracked: Promise<unknown> = work.catch(() => {}).finally(() => background.delete(tracked))
        background.add(tracked)
      },
    }),
  })
  const settled = async () => {
    while (background.size > 0) await Promise.allSettled(background)
  }
  return { app, events, settled }
}

type Jar = Map<string, string>

async function send({ app, settled }: Instance, jar: Jar, path: string, init: RequestInit = {}): Promise<Response> {
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const headers = { ...page, cookie, ...(init.headers as Record<string, string>) }
  const answer = await app.fetch(new Request(publicUrl + path, { ...init, headers }))
  for (const line of answer.headers.getSetCookie()) {
    const [pair = '', ...attributes] = line.split('; ')
    const at = pair.indexOf('=')
    if (attributes.includes('Max-Age=0')) jar.delete(pair.slice(0, at))
    else jar.set(pair.slice(0, at), pair.slice(at + 1))
  }
  const text = await answer.text()
  await settled()
  if (answer.status >= 400) throw new Error(`${path} was answered ${answer.status}: ${text}`)
  return answer
}

async function signIn(at: Instance, user: string): Promise<Jar> {
  const jar: Jar = new Map()
  const navigation = { headers: { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: 'text/html' } }
  const login = await send(at, jar, `/auth/login?login_hint=${user}`, navigation)
  const authorize = await fetch(login.headers.get('location') ?? '', { redirect: 'manual' })
  const callback = new URL(authorize.headers.get('location') ?? '')
  const done = await send(at, jar, callback.pathname + callback.search, navigation)
  if (done.status !== 303) throw new Error(`The sign-in was answered ${done.status}: ${JSON.stringify(at.events)}`)
  return jar
}

async function behave(changes: Partial<Behaviour>): Promise<void> {
  await fetch(`${issuer}/behaviour`, { method: 'PUT', body: JSON.stringify(changes) })
}

/** Everything a session does in its life, with the calls that each step makes. */
async function roundTrips(storage: Storage): Promise<string[][]> {
  const counted = countingStore(memoryStore(now))
  const [one, two, three] = [instance(counted, storage), instance(counted, storage), instance(counted, storage)]
  const lines: string[][] = []
  async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
    counted.reset()
    const result = await work()
    lines.push([name, storage, counted.told()])
    return result
  }
  const call = (at: Instance, jar: Jar) => send(at, new Map(jar), '/api/orders/a')
  const burst = (at: Instance, jar: Jar, times: number) =>
    Promise.all(Array.from({ length: times }, () => call(at, jar)))

  await behave({ firstLifetime: 300, lifetime: 300, latency: 0, jitter: 0 })
  for (const each of [one, two, three]) await each.app.notReady()
  const jar = await step('sign-in', () => signIn(one, 'a'))
  await step('first call at an instance that just started', () => call(two, jar))
  const other = await signIn(one, 'b')
  await call(two, jar)
  await step('first call of another session there', () => send(two, other, '/api/orders/b'))
  await call(two, jar)
  await step('50 calls within the next half second', () => burst(two, jar, 50))
  await step('a call of a route with a limit', () => send(two, jar, '/api/rare'))
  await send(two, jar, '/api/rare')
  await step('50 calls of it that are over the limit', () =>
    Promise.allSettled(Array.from({ length: 50 }, () => send(two, new Map(jar), '/api/rare'))),
  )
  await step('calls for ten seconds, twenty each second', async () => {
    for (let time = 0; time < 10_000; time += 50) {
      clock.ahead += 50
      await call(two, jar)
    }
  })
  clock.ahead += 61_000
  await send(three, other, '/api/orders/b')
  await step('a call a minute after the last', () => send(two, jar, '/api/orders/a'))
  clock.ahead += 180_000
  await send(two, jar, '/auth/session', { method: 'POST' })
  await send(two, other, '/api/orders/b')
  await step('a call that finds the access token nearly over', () => send(two, jar, '/api/orders/a'))
  await send(two, jar, '/api/orders/a')
  const before: Jar = new Map(jar)
  clock.ahead += 310_000
  await send(two, jar, '/auth/session', { method: 'POST' })
  await send(two, other, '/api/orders/b')
  await step('a call that finds the access token over', () => send(two, jar, '/api/orders/a'))
  await send(three, other, '/api/orders/b')
  await step('a late call elsewhere, with the cookie from before', () => call(three, before))
  clock.ahead += 310_000
  await send(two, jar, '/auth/session', { method: 'POST' })
  await send(one, other, '/api/orders/b')
  await send(two, other, '/api/orders/b')
  const old: Jar = new Map(jar)
  await step('50 calls that find it over, at one instance', () => burst(two, old, 50))
  await send(two, jar, '/api/orders/a')
  await send(two, other, '/api/orders/b')
  await step('GET /auth/session', () => send(two, jar, '/auth/session'))
  await step('GET /auth/sessions, one session', () => send(two, jar, '/auth/sessions'))
  await step('sign-out', () => send(two, jar, '/auth/logout', { method: 'POST', headers: { origin: publicUrl } }))
  const { logout_token: token } = (await (await fetch(`${issuer}/logout-token?sub=b`)).json()) as {
    logout_token: string
  }
  const body = new URLSearchParams({ logout_token: token }).toString()
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  // The token is of the real time.
  clock.ahead = 0
  const fresh = instance(counted, storage)
  await fresh.app.notReady()
  await step('back-channel logout', () =>
    send(fresh, new Map(), '/auth/backchannel-logout', { method: 'POST', body, headers }),
  )
  return lines
}

/** What one session takes, in the browser and in the store. */
async function sizes(storage: Storage, opaque: boolean): Promise<string[]> {
  const counted = countingStore(memoryStore(now))
  const one = instance(counted, storage)
  await behave({ firstLifetime: 1, lifetime: 3_600, opaque })
  counted.reset()
  const jar = await signIn(one, 'a')
  const objects = counted.families()
  const atSignIn = [/\/holding$/, /^u-/, /^login-/].map((kind) => counted.bytes(kind))
  clock.ahead += 2_000
  await send(one, jar, '/api/orders/a')
  const successor = counted.bytes(/\/next-/)
  await send(one, jar, '/auth/logout', { method: 'POST', headers: { origin: publicUrl } })
  const ending = counted.bytes(/^log /)
  const beforeLogout = one.events.find(({ event }) => event === 'login.completed')
  const all = beforeLogout?.event === 'login.completed' ? beforeLogout.cookieBytes : 0
  return [`${opaque ? 'opaque' : 'JWT'}, ${storage}`, ...[all, ...atSignIn, successor, ending, objects].map(String)]
}

/** What some sessions take in a real store, each of another user. Bytes for each session. */
async function footprint(
  name: string,
  storage: Storage,
  store: Store,
  used: () => Promise<number>,
  sessions = 1_000,
): Promise<string[]> {
  const one = instance(store, storage)
  await behave({ firstLifetime: 3_600, opaque: false })
  await signIn(one, 'first')
  const before = await used()
  for (let done = 0; done < sessions; done += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, index) => signIn(one, `user-${done + index}`)))
  }
  return [`${name}, ${storage}`, String(sessions), (((await used()) - before) / sessions).toFixed(0)]
}

async function footprints(dir: string): Promise<string[][]> {
  const lines: string[][] = []
  for (const storage of ['cookie', 'store'] as const) {
    const path = join(dir, `${storage}.db`)
    const sqlite = sqliteStore(path, now)
    const sizeOfFile = async () => {
      const other = new DatabaseSync(path)
      other.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      other.close()
      return (await stat(path)).size
    }
    lines.push(await footprint('sqlite (file)', storage, sqlite, sizeOfFile))
    await sqlite.close()

    const { url } = await startRedis(await mkdtemp(join(dir, 'redis-')), started)
    const redis = redisStore(url)
    await redis.loaded
    const admin = await createClient({ url }).connect()
    const usedMemory = async () => Number(/used_memory_dataset:(\d+)/.exec(await admin.info('memory'))?.[1])
    lines.push(await footprint('redis (used_memory_dataset)', storage, redis, usedMemory))
    await redis.close()
    admin.destroy()
  }
  return lines
}

const dir = await mkdtemp(join(tmpdir(), 'coatcheck-costs-'))
try {
  const trips = [...(await roundTrips('cookie')), ...(await roundTrips('store'))]
  process.stdout.write(`${drawn([['step', 'storage', 'calls of the store'], ...trips])}\n\n`)
  const head = ['one session, bytes', 'Cookie header', 'holding', 'list', 'login', 'successor', 'ending', 'families']
  const combinations = [false, true].flatMap((opaque) =>
    (['cookie', 'store'] as const).map((one) => [one, opaque] as const),
  )
  const measured: string[][] = []
  for (const [storage, opaque] of combinations) measured.push(await sizes(storage, opaque))
  process.stdout.write(`${drawn([head, ...measured])}\n\n`)
  process.stdout.write(`${drawn([['store', 'sessions', 'bytes each'], ...(await footprints(dir))])}\n`)
} finally {
  await stopServers()
  await rm(dir, { recursive: true })
}

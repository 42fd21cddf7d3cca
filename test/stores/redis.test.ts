import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type RedisState, type RedisStore, redisStore } from '../../src/stores/redis.ts'
import { describeStore } from '../contract/store.ts'
import { selfSigned } from '../support/certificate.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { passed } from '../support/time.ts'

let shared: RedisServer | undefined
let sharedUrl = process.env.REDIS_URL ?? ''

beforeAll(async () => {
  if (sharedUrl !== '') return
  shared = await startRedis()
  sharedUrl = shared.url
})
afterAll(() => shared?.close())

const newPrefix = () => `test-${randomUUID()}`
const open = (prefix = newPrefix(), url = sharedUrl) => closeAfterTest(redisStore(url, { prefix }))

/** A plain connection, to see and to spoil what is in Redis. */
async function plainClient(url = sharedUrl) {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  onTestFinished(() => client.destroy())
  return client
}

/** How long `work` took to settle. Milliseconds. */
async function timeOf(work: Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work.catch(() => {})
  return performance.now() - start
}

describeStore('redisStore()', async () => open())

describe('two machines with one Redis', () => {
  const two = () => {
    const prefix = newPrefix()
    return [open(prefix), open(prefix)] as const
  }

  test('hold a lease one at a time, and add a value once', async () => {
    const [here, there] = two()
    for (let round = 0; round < 20; round++) {
      const leases = await Promise.all([here.lease(`${round}`, 60_000), there.lease(`${round}`, 60_000)])
      expect(leases.filter(Boolean)).toHaveLength(1)
      const added = await Promise.all([here.add(`${round}`, 'x', 60_000), there.add(`${round}`, 'y', 60_000)])
      expect(added.filter(Boolean)).toHaveLength(1)
    }
  })

  test('count together, and lose nothing', async () => {
    const [here, there] = two()
    const counts = await Promise.all(
      Array.from({ length: 200 }, (_, at) => (at % 2 ? here : there).count('a', 1, 60_000)),
    )
    expect(new Set(counts.map(({ total }) => total))).toEqual(new Set(Array.from({ length: 200 }, (_, at) => at + 1)))
  })

  test('wake who waits in the other at once, from the second time on without a new subscription', async () => {
    const [here, there] = two()
    await there.set('a', '0', 60_000)
    await here.changed('a', 10_000)
    for (let round = 0; round < 5; round++) {
      const start = performance.now()
      const woken = here.changed('a', 10_000)
      await passed(30)
      await there.set('a', String(round), 60_000)
      await woken
      expect(performance.now() - start).toBeLessThan(500)
    }
  })

  test('miss a change between look and wait for a second at most', async () => {
    const [here, there] = two()
    await there.set('a', '1', 60_000)
    for (let round = 0; round < 3; round++) expect(await timeOf(here.changed('a', 60_000))).toBeLessThan(1_500)
  })

  test('have fences that grow, whoever takes the lease, also when the last one is long forgotten', async () => {
    const prefix = newPrefix()
    const [here, there, redis] = [open(prefix), open(prefix), await plainClient()]
    let last = 0
    for (const store of [here, there, here]) {
      const lease = await store.lease('a', 60_000)
      expect(lease?.fence).toBeGreaterThan(last)
      last = lease?.fence ?? 0
      await lease?.release()
    }
    await redis.del(`${prefix}:lease:{a}`)
    expect((await there.lease('a', 60_000))?.fence).toBeGreaterThan(last)
  })

  test('have fences that grow although the clock of the server was set back', async () => {
    const prefix = newPrefix()
    const [store, redis] = [open(prefix), await plainClient()]
    const future = (Date.now() + 3_600_000) * 1_000
    await redis.hSet(`${prefix}:lease:{a}`, { fence: String(future), until: '0' })
    expect((await store.lease('a', 60_000))?.fence).toBe(future + 1)
  })
})

describe('what a Redis store keeps', () => {
  test('is under names that keep a family in one slot of a cluster', async () => {
    const prefix = newPrefix()
    const [store, redis] = [open(prefix), await plainClient()]
    await store.set('session:1/holding', '1', 60_000)
    await store.lease('session:1/holding', 60_000)
    await store.set('alone', '1', 60_000)
    await store.set('}{/x', '1', 60_000)
    await store.set('/x', '1', 60_000)
    await store.append('ended', 'x', 60_000)
    await store.count('session:1/limit', 1, 60_000)
    const names = (await redis.keys(`${prefix}:*`)).map((name) => name.slice(prefix.length)).sort()
    expect(names).toEqual([
      ':count:{session:1}:limit',
      ':lease:{session:1}:holding',
      ':log:{ended}',
      ':{%7D%7B}:x',
      ':{%}:x',
      ':{alone}',
      ':{session:1}:holding',
    ])
  })

  test('ends by itself: every name has a time limit', async () => {
    const prefix = newPrefix()
    const [store, redis] = [open(prefix), await plainClient()]
    await store.set('a', '1', 60_000)
    await store.add('b', '1', 60_000)
    const lease = await store.lease('c', 60_000)
    await lease?.renew(60_000)
    await lease?.release()
    await store.append('log', '1', 60_000)
    for (let at = 0; at < 3; at++) await store.count('a', 1, 60_000)
    await store.healthy()
    for (const name of await redis.keys(`${prefix}:*`)) expect(await redis.pTTL(name)).toBeGreaterThan(0)
  })

  test('counts on with a time limit where a counter has lost its own', async () => {
    const prefix = newPrefix()
    const [store, redis] = [open(prefix), await plainClient()]
    await redis.set(`${prefix}:count:{a}`, '41')
    expect(await store.count('a', 1, 60_000)).toEqual({ total: 42, milliseconds: 60_000 })
    expect(await redis.pTTL(`${prefix}:count:{a}`)).toBeGreaterThan(50_000)
  })

  test('forgets entries of a log one by one, and never those that live longer', async () => {
    const prefix = newPrefix()
    const [store, redis] = [open(prefix), await plainClient()]
    for (let at = 0; at < 10; at++) await store.append('log', `short ${at}`, 20)
    await store.append('log', 'long', 60_000)
    await passed(40)
    await store.append('log', 'short again', 20)
    expect(await redis.xLen(`${prefix}:log:{log}`)).toBe(2)
    await passed(40)
    expect((await store.since('log', '')).entries).toEqual(['long'])
  })

  test('is found behind more forgotten entries than a page has', async () => {
    const store = open()
    await Promise.all(Array.from({ length: 1_500 }, (_, at) => store.append('log', String(at), 3_000)))
    const { cursor } = await store.since('log', '')
    await passed(3_000)
    await store.append('log', 'new', 60_000)
    expect((await store.since('log', '')).entries).toEqual(['new'])
    expect((await store.since('log', cursor)).entries).toEqual(['new'])
  })

  test('is read anew after a fail-over to a server that lost the end of a log and whose clock is behind', async () => {
    const prefix = newPrefix()
    const [store, redis] = [open(prefix), await plainClient()]
    for (const entry of ['kept', 'lost']) await store.append('log', entry, 60_000)
    const { cursor } = await store.since('log', '')
    const until = String((Date.now() + 60_000) * 1_000)
    await redis.del(`${prefix}:log:{log}`)
    const time = Date.now() - 60_000
    for (const [at, entry] of ['kept', 'new'].entries()) {
      await redis.xAdd(`${prefix}:log:{log}`, `${time}-${at + 1}`, { entry, until })
    }
    const page = await store.since('log', cursor)
    expect(page.entries).toEqual(['kept', 'new'])
    await redis.xAdd(`${prefix}:log:{log}`, `${time}-3`, { entry: 'newer', until })
    expect((await store.since('log', page.cursor)).entries).toEqual(['newer'])
  })

  test('also works after the scripts were flushed', async () => {
    const [store, redis] = [open(), await plainClient()]
    await store.set('a', '1', 60_000)
    await redis.scriptFlush()
    expect(await store.add('a', '2', 60_000)).toBe(false)
  })

  test('rejects, and crashes nothing, where something else is under our names', async () => {
    const prefix = newPrefix()
    const [store, redis] = [open(prefix), await plainClient()]
    await redis.lPush(`${prefix}:{a}`, 'x')
    await redis.set(`${prefix}:lease:{a}`, 'x')
    await redis.set(`${prefix}:log:{a}`, 'x')
    await redis.set(`${prefix}:count:{a}`, 'x')
    await expect(store.get('a')).rejects.toThrow('WRONGTYPE')
    await expect(store.lease('a', 60_000)).rejects.toThrow('WRONGTYPE')
    await expect(store.append('a', 'x', 60_000)).rejects.toThrow('WRONGTYPE')
    await expect(store.since('a', '')).rejects.toThrow('WRONGTYPE')
    await expect(store.count('a', 1, 60_000)).rejects.toThrow('not an integer')
    await expect(store.since('b', 'no cursor')).rejects.toThrow()
    expect(await store.healthy()).toBe(true)
    await redis.hSet(`${prefix}:lease:{b}`, { fence: 'x', until: 'y' })
    expect(await store.lease('b', 60_000)).toBeDefined()
    await redis.xAdd(`${prefix}:log:{b}`, '*', { something: 'else' })
    expect((await store.since('b', '')).entries).toEqual([])
  })
})

describe('a Redis that is away', () => {
  /** A Redis of its own, and a store that tells its states. */
  async function world(...options: string[]): Promise<{ redis: RedisServer; store: RedisStore; states: RedisState[] }> {
    const redis = closeAfterTest(await startRedis(options))
    const states: RedisState[] = []
    const store = closeAfterTest(redisStore(redis.url, { tell: (state) => states.push(state) }))
    return { redis, store, states }
  }

  const allCalls = (store: RedisStore) => [
    store.get('a'),
    store.set('a', '1', 60_000),
    store.add('a', '1', 60_000),
    store.delete('a'),
    store.lease('a', 60_000),
    store.append('log', 'x', 60_000),
    store.since('log', ''),
    store.count('a', 1, 60_000),
  ]

  test('makes calls reject at once, and is found again when it is back', async () => {
    const { redis, store, states } = await world()
    await store.set('a', '1', 60_000)
    await redis.kill()
    await expect.poll(() => store.healthy()).toBe(false)
    const calls = allCalls(store)
    expect(await timeOf(Promise.allSettled(calls))).toBeLessThan(500)
    for (const call of calls) await expect(call).rejects.toThrow()
    await redis.start()
    await expect.poll(() => store.healthy()).toBe(true)
    await store.set('a', '2', 60_000)
    expect(await store.get('a')).toBe('2')
    expect(states).toEqual(['ready', 'unreachable', 'ready'])
  })

  test('does not keep a process from starting, and is used as soon as it is there', async () => {
    const port = await freePort()
    const store = closeAfterTest(redisStore(`redis://127.0.0.1:${port}`))
    await store.loaded
    expect(await timeOf(store.get('a'))).toBeLessThan(2_500)
    expect(await store.healthy()).toBe(false)
    const redis = closeAfterTest(await startRedis([], port))
    expect(redis.port).toBe(port)
    await expect.poll(() => store.healthy()).toBe(true)
  })

  test('wakes who waits again after it was away', async () => {
    const { redis, store } = await world()
    await store.changed('a', 10_000)
    await redis.kill()
    expect(await timeOf(store.changed('a', 60_000))).toBeLessThan(1_500)
    await redis.start()
    await expect.poll(() => store.healthy()).toBe(true)
    const woken = timeOf(store.changed('a', 60_000))
    await store.set('a', '1', 60_000)
    expect(await woken).toBeLessThan(1_500)
  })

  test('or frozen makes calls reject within about two seconds, then at once, and later works', async () => {
    const { redis, store } = await world()
    await store.set('a', '1', 60_000)
    redis.freeze(true)
    onTestFinished(() => redis.freeze(false))
    const first = allCalls(store)
    expect(await timeOf(Promise.allSettled(first))).toBeLessThan(2_500)
    for (const call of first) await expect(call).rejects.toThrow()
    expect(await timeOf(store.get('a'))).toBeLessThan(100)
    redis.freeze(false)
    await expect.poll(() => store.healthy()).toBe(true)
    await store.set('a', '2', 60_000)
    expect(await store.get('a')).toBe('2')
  })

  test('or frozen for long is given up for a new connection', async () => {
    const { redis, store, states } = await world()
    await store.set('a', '1', 60_000)
    redis.freeze(true)
    onTestFinished(() => redis.freeze(false))
    await expect.poll(() => store.healthy().then(() => states)).toEqual(['ready', 'unreachable'])
    redis.freeze(false)
    await expect.poll(() => store.healthy()).toBe(true)
    expect(states).toEqual(['ready', 'unreachable', 'ready'])
  }, 30_000)

  test('or slow makes calls reject, and late answers harm nothing', async () => {
    const { redis, store } = await world()
    await store.set('a', '1', 60_000)
    await (await plainClient(redis.url)).sendCommand(['CLIENT', 'PAUSE', '2500', 'ALL'])
    const late = store.set('a', 'late', 60_000)
    await expect(late).rejects.toThrow('did not answer in time')
    await expect.poll(() => store.healthy()).toBe(true)
    await store.set('a', '2', 60_000)
    expect(await store.get('a')).toBe('2')
  })

  test('or slow leaves no lease behind that nobody holds', async () => {
    const { redis, store } = await world()
    await store.set('a', '1', 60_000)
    await (await plainClient(redis.url)).sendCommand(['CLIENT', 'PAUSE', '2500', 'ALL'])
    await expect(store.lease('a', 60_000)).rejects.toThrow('did not answer in time')
    await expect.poll(() => store.lease('a', 60_000).catch(() => undefined), { timeout: 5_000 }).toBeDefined()
  })

  test('or full makes writes reject, and is not healthy, while reads go on', async () => {
    const { redis, store } = await world()
    await store.set('a', '1', 60_000)
    await (await plainClient(redis.url)).configSet('maxmemory', '1')
    await expect(store.set('b', '1', 60_000)).rejects.toThrow('OOM')
    expect(await store.healthy()).toBe(false)
    expect(await store.get('a')).toBe('1')
  })

  test('or has become a replica is not healthy, and works again when it is none', async () => {
    const { redis, store } = await world()
    await store.set('a', '1', 60_000)
    const admin = await plainClient(redis.url)
    await admin.replicaOf('127.0.0.1', 1)
    await expect(store.set('a', '2', 60_000)).rejects.toThrow('READONLY')
    expect(await store.healthy()).toBe(false)
    await admin.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    await expect.poll(() => store.healthy()).toBe(true)
  })

  test('or has become a replica is asked for a new connection once a second, and reads go on meanwhile', async () => {
    const { redis, store, states } = await world()
    await store.set('a', '1', 60_000)
    const admin = await plainClient(redis.url)
    const connections = async () => Number(/total_connections_received:(\d+)/.exec(await admin.info('stats'))?.[1])
    await admin.replicaOf('127.0.0.1', 1)
    const before = await connections()
    const end = performance.now() + 2_500
    while (performance.now() < end) {
      const writes = Array.from({ length: 20 }, () => store.set('a', '2', 60_000))
      const reads = Array.from({ length: 5 }, () => store.get('a'))
      for (const { status } of await Promise.allSettled(writes)) expect(status).toBe('rejected')
      expect(await Promise.all(reads)).toEqual(Array(5).fill('1'))
    }
    expect((await connections()) - before).toBeLessThanOrEqual(4)
    expect(states).toEqual(['ready', 'unreachable'])
    await admin.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    await expect.poll(() => store.healthy()).toBe(true)
    await store.set('a', '3', 60_000)
    expect(await store.get('a')).toBe('3')
    expect(states).toEqual(['ready', 'unreachable', 'ready'])
  })

  test('or refuses the credentials is told so, without them', async () => {
    const { redis, store } = await world('--requirepass', 'right-password')
    expect(await store.healthy()).toBe(false)
    const states: RedisState[] = []
    const url = redis.url.replace('//', '//:wrong-password@')
    const wrong = closeAfterTest(redisStore(url, { tell: (state) => states.push(state) }))
    const error = await wrong.get('a').catch((thrown) => thrown)
    expect(states).toEqual(['refused'])
    expect(`${error.stack} ${JSON.stringify(error)} ${error.cause}`).not.toContain('wrong-password')
    const right = closeAfterTest(redisStore(redis.url.replace('//', '//:right-password@')))
    expect(await right.healthy()).toBe(true)
  })
})

test('redisStore() does not talk to a Redis whose certificate it cannot trust', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-redis-tls-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const { key, cert } = selfSigned('localhost')
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  await writeFile(keyFile, key)
  await writeFile(certFile, cert)
  const port = await freePort()
  const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', certFile]
  closeAfterTest(await startRedis(['--tls-port', String(port), '--tls-auth-clients', 'no', ...files]))
  const store = closeAfterTest(redisStore(`rediss://localhost:${port}`))
  const error = await store.get('a').catch((thrown) => thrown)
  expect(error).toBeInstanceOf(Error)
  expect(await store.healthy()).toBe(false)
})

describe('redisStore().close()', () => {
  test('wakes who waits, lets calls finish, and rejects later ones', async () => {
    const store = redisStore(sharedUrl, { prefix: newPrefix() })
    await store.set('a', '1', 60_000)
    const waiting = store.changed('b', 60_000)
    const under = store.get('a')
    await store.close()
    await waiting
    expect(await under).toBe('1')
    await expect(store.get('a')).rejects.toThrow('The store is closed')
    expect(await store.healthy()).toBe(false)
    await store.close()
  })

  test('does not wait long for a Redis that is frozen', async () => {
    const redis = closeAfterTest(await startRedis())
    const store = redisStore(redis.url)
    await store.set('a', '1', 60_000)
    redis.freeze(true)
    const call = store.get('a').catch(() => {})
    expect(await timeOf(store.close())).toBeLessThan(2_500)
    await call
    redis.freeze(false)
  })
})

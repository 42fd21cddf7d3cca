import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Store } from '../../src/stores/store.ts'
import { describeStore } from '../contract/store.ts'
import { freePort } from '../support/http-server.ts'
import { passed } from '../support/time.ts'
import { bundleWorker, type WorkerBundle } from '../support/worker-bundle.ts'
import { startWorkerd, type Workerd } from '../support/workerd-process.ts'

let bundle: WorkerBundle
let workerd: Workerd
const agent = new Agent({ keepAlive: true, maxSockets: 100 })

const start = async (disk?: string) =>
  startWorkerd({
    bundle: bundle.folder,
    module: 'store-worker.js',
    port: await freePort(),
    ...(disk === undefined ? {} : { disk }),
  })

beforeAll(async () => {
  bundle = await bundleWorker('test/support/store-worker.ts')
  workerd = await start()
})

afterAll(async () => {
  agent.destroy()
  await workerd.close()
  await bundle.remove()
})

/** Asks the Worker; see store-worker.ts. */
function ask(url: string, body: object): Promise<any> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', agent }, async (response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      const { value, error } = JSON.parse(text)
      if (error === undefined) resolve(value)
      else reject(new Error(error))
    })
    call.on('error', reject).end(JSON.stringify(body))
  })
}

/** The store in the Worker, with objects of its own. */
function open(world: string = randomUUID(), at = workerd) {
  const call = (method: string, ...args: unknown[]) => ask(at.url, { world, method, args })
  const names = ['get', 'set', 'add', 'delete', 'changed', 'append', 'since', 'count', 'healthy'] as const
  const calls = Object.fromEntries(names.map((name) => [name, (...args: unknown[]) => call(name, ...args)]))
  const store = {
    ...calls,
    async lease(key: string, ttl: number) {
      const fence = await call('lease', key, ttl)
      if (fence === undefined) return undefined
      return {
        fence,
        renew: (more: number) => call('renew', key, fence, more),
        release: () => call('release', key, fence),
      }
    },
  } as unknown as Store
  /** What is in the storage of an object. */
  const inspect = (object: string): Promise<{ names: string[]; alarmAt: number | null }> => call('inspect', object)
  return { ...store, inspect }
}

describeStore('durableObjectStore()', async () => open())

describe('a Durable Object of the store', () => {
  test('is one for each family, and another for each log', async () => {
    const store = open()
    await store.set('session:1/a', '1', 60_000)
    await store.set('session:1/b', '1', 60_000)
    await store.lease('session:1/a', 60_000)
    await store.set('session:2/a', '1', 60_000)
    await store.count('session:2/a', 1, 60_000)
    await store.append('session:1', 'x', 60_000)
    expect((await store.inspect('family session:1')).names).toEqual(['lsession:1/a', 'vsession:1/a', 'vsession:1/b'])
    expect((await store.inspect('family session:2')).names).toEqual(['csession:2/a', 'vsession:2/a'])
    expect((await store.inspect('log session:1')).names).toHaveLength(1)
  })

  test('keeps nothing, not even an alarm, when all is over', async () => {
    const store = open()
    await store.set('a', '1', 1_000)
    await store.lease('a', 900)
    await (await store.lease('a/b', 800))?.release()
    await store.append('log', 'x', 1_000)
    await store.count('b', 1, 1_000)
    const objects = ['family a', 'family b', 'log log']
    for (const { alarmAt } of await Promise.all(objects.map(store.inspect))) {
      expect(alarmAt).toBeGreaterThan(Date.now() - 1_000)
    }
    for (const object of objects) {
      await expect.poll(() => store.inspect(object)).toEqual({ names: [], alarmAt: null })
    }
  })

  test('keeps nothing because somebody only looked', async () => {
    const store = open()
    await store.get('a')
    await store.changed('a', 10)
    await store.delete('a')
    await store.since('log', '')
    for (const object of ['family a', 'log log']) {
      expect(await store.inspect(object)).toEqual({ names: [], alarmAt: null })
    }
  })

  test('sets its alarm again while something is left', async () => {
    const store = open()
    await store.set('a/1', '1', 100)
    await store.set('a/2', '2', 60_000)
    await expect.poll(async () => (await store.inspect('family a')).names).toEqual(['va/2'])
    expect((await store.inspect('family a')).alarmAt).toBeGreaterThan(Date.now() + 30_000)
  })

  test('gives larger fences and cursors also when it has forgotten everything', async () => {
    const store = open()
    const first = await store.lease('a', 50)
    await store.append('log', 'one', 50)
    const { cursor } = await store.since('log', '')
    await expect.poll(() => store.inspect('family a')).toEqual({ names: [], alarmAt: null })
    await expect.poll(() => store.inspect('log log')).toEqual({ names: [], alarmAt: null })
    expect((await store.lease('a', 60_000))?.fence).toBeGreaterThan(first?.fence ?? 0)
    await store.append('log', 'two', 60_000)
    expect((await store.since('log', cursor)).entries).toEqual(['two'])
  })

  test('clears away old entries of a log with new ones', async () => {
    const store = open()
    await store.append('log', 'long', 60_000)
    await store.append('other', 'short', 20)
    await passed(60)
    await store.append('other', 'new', 60_000)
    expect((await store.inspect('log other')).names).toHaveLength(1)
  })

  test('wakes who waits at once, and who was on the way when it changed', async () => {
    const store = open()
    const start = performance.now()
    const waiting = store.changed('a', 10_000)
    await passed(100)
    await store.set('a', '1', 60_000)
    await store.changed('a', 10_000)
    await waiting
    expect(performance.now() - start).toBeLessThan(1_000)
  })

  test('keeps values, leases, counters and logs over a restart', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'coatcheck-objects-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const world = randomUUID()
    const before = await start(folder)
    const store = open(world, before)
    await store.set('a', '1', 60_000)
    await store.append('log', 'one', 60_000)
    const lease = await store.lease('a', 60_000)
    await store.count('a', 2, 60_000)
    await before.close()

    const after = await start(folder)
    onTestFinished(() => after.close())
    const again = open(world, after)
    expect(await again.get('a')).toBe('1')
    expect(await again.lease('a', 60_000)).toBeUndefined()
    expect((await again.count('a', 1, 60_000)).total).toBe(3)
    expect(lease?.fence).toBeGreaterThan(0)
    expect((await again.since('log', '')).entries).toEqual(['one'])
  })

  test.each(['silent', 'broken'])('that is %s makes calls reject within about two seconds', async (kind) => {
    const store = open(kind)
    const start = performance.now()
    const calls = [
      store.get('a'),
      store.set('a', '1', 60_000),
      store.lease('a', 60_000),
      store.append('log', 'x', 60_000),
      store.count('a', 1, 60_000),
    ]
    for (const call of await Promise.allSettled(calls)) expect(call.status).toBe('rejected')
    expect(await store.healthy()).toBe(false)
    await store.changed('a', 100)
    expect(performance.now() - start).toBeLessThan(5_000)
  })
  test('gives a lease back that it told of too late', async () => {
    const store = open(`late ${randomUUID()}`)
    await expect(store.lease('a', 60_000)).rejects.toThrow()
    await expect.poll(() => store.lease('a', 60_000), { timeout: 5_000 }).toBeDefined()
  })
})

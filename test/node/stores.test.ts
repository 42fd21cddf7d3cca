// The store of a configuration, as an operator meets it: at the start, while it is away, at the end.
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { exchange } from '../support/browser.ts'
import { sessionKey, startCoatcheck, startWorld } from '../support/coatcheck.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { startWithStore } from '../support/faulty-store.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { startRedis } from '../support/redis-server.ts'
import { passed } from '../support/time.ts'

const config = (port: number, store: object) =>
  JSON.stringify({
    publicUrl: `http://localhost:${port}`,
    listen: { port },
    session: { keys: [sessionKey()] },
    store,
    providers: [
      {
        id: 'main',
        issuer: 'http://127.0.0.1:9',
        allowInsecureRequests: true,
        clientId: 'app',
        clientAuth: { method: 'client_secret_basic', secret: 'x' },
      },
    ],
  })

const firstLine = (text: string) => JSON.parse(text.slice(0, text.indexOf('\n')))

/** What `/readyz` misses, the authorization server aside. */
async function missing(port: number): Promise<string[]> {
  const answer = await exchange(new URL(`http://127.0.0.1:${port}/readyz`), 'GET', {})
  return answer.json().missing.filter((name: string) => name !== 'provider main')
}

describe('coatcheck serve with a store of type sqlite', () => {
  test('keeps its file beside the configuration and lets go of it at the end', async () => {
    const port = await freePort()
    const file = await fileWith(config(port, { type: 'sqlite', path: 'state/store.db' }))
    await mkdir(join(dirname(file), 'state'))
    const run = coatcheck(['serve', '--config', file])
    await expect.poll(run.stdout).toContain('server.listening')
    expect(await missing(port)).toEqual([])
    const store = join(dirname(file), 'state/store.db')
    expect(existsSync(`${store}-wal`)).toBe(true)
    run.kill('SIGTERM')
    expect(await run.exit).toBe(0)
    expect(existsSync(store)).toBe(true)
    expect(existsSync(`${store}-wal`)).toBe(false)
  })

  test('says what is wrong with the file, and does not start', async () => {
    const file = await fileWith(config(await freePort(), { type: 'sqlite', path: 'coatcheck.json' }))
    const run = coatcheck(['serve', '--config', file])
    expect(await run.exit).toBe(1)
    expect(run.stderr()).toBe(`coatcheck cannot start: Cannot open the store ${file}: it is not a database\n`)
  })

  test.each([
    ['nowhere/store.db', 'its folder does not exist'],
    ['.', 'must be a file, and is none'],
  ])('needs a place for the file, which %s is not, as `check` says too', async (path, mistake) => {
    const file = await fileWith(config(0, { type: 'sqlite', path }))
    for (const command of ['serve', 'check']) {
      const run = coatcheck([command, '--config', file])
      expect(await run.exit).toBe(2)
      expect(run.stderr()).toContain(`store.path: ${mistake}`)
    }
  })
})

describe('coatcheck serve with a store of type redis', () => {
  test('starts while Redis is away, says so, and uses it as soon as it is there', async () => {
    const [port, redisPort] = [await freePort(), await freePort()]
    const url = `redis://:S3CR3T@127.0.0.1:${redisPort}`
    const run = coatcheck(['serve', '--config', await fileWith(config(port, { type: 'redis', url }))])
    await expect.poll(run.stdout).toContain('store.unavailable')
    expect(firstLine(run.stdout()).event).toBe('server.listening')
    expect(await missing(port)).toEqual(['store'])
    const redis = closeAfterTest(await startRedis(['--requirepass', 'S3CR3T'], redisPort))
    await expect.poll(() => missing(port)).toEqual([])
    await expect.poll(run.stdout).toContain('store.ready')
    await redis.kill()
    await expect.poll(() => missing(port)).toEqual(['store'])
    await redis.start()
    await expect.poll(() => missing(port)).toEqual([])
    run.kill('SIGTERM')
    expect(await run.exit).toBe(0)
    expect(run.stdout() + run.stderr()).not.toContain('S3CR3T')
  })

  test('ends when it is told to although Redis is away', async () => {
    const port = await freePort()
    const url = `redis://127.0.0.1:${await freePort()}`
    const run = coatcheck(['serve', '--config', await fileWith(config(port, { type: 'redis', url }))])
    await expect.poll(run.stdout).toContain('store.unavailable')
    run.kill('SIGTERM')
    expect(await run.exit).toBe(0)
  })

  test('ends when its address is taken', async () => {
    const redis = closeAfterTest(await startRedis())
    const run = coatcheck(['serve', '--config', await fileWith(config(redis.port, { type: 'redis', url: redis.url }))])
    expect(await run.exit).toBe(1)
    expect(run.stderr()).toContain('EADDRINUSE')
  })
})

test('coatcheck on Node refuses a store in Durable Objects', async () => {
  const file = await fileWith(config(0, { type: 'durable-object', binding: 'SESSIONS' }))
  for (const command of ['serve', 'check']) {
    const run = coatcheck([command, '--config', file])
    expect(await run.exit).toBe(2)
    expect(run.stderr()).toContain('store.type: Node has no durable-object, only memory, sqlite, redis')
  }
})

describe('two instances of coatcheck with one store', () => {
  const stores = {
    sqlite: async () => ({ type: 'sqlite' as const, path: join(dirname(await fileWith('')), 'store.db') }),
    redis: async () => ({ type: 'redis' as const, url: closeAfterTest(await startRedis()).url }),
  }

  test.each(Object.entries(stores))('of type %s refresh a session once', async (_, make) => {
    const store = await make()
    const first = await startWorld({ store })
    const { session } = first.config
    const second = await startCoatcheck(first.as, first.api, { store, session, publicUrl: first.publicUrl })
    const browser = first.browser()
    first.as.behaviour.expiresIn = 0.05
    await browser.signIn()
    first.as.behaviour.expiresIn = 300
    await passed(60)
    const cookie = browser.cookieHeader()
    const answers = await Promise.all(
      [first, second, first, second, first, second].map((world) =>
        world.browser().fetch('/api/orders', { headers: { cookie } }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200))
    expect(new Set(answers.map(({ setCookie }) => setCookie.join()))).toHaveLength(1)
    expect(first.as.reuses).toEqual([])
  })
})

test('a store of somebody else’s that throws instead of rejecting is one that cannot answer', async () => {
  let isBroken = false
  const world = await startWithStore({
    faults: (inner) => ({
      since(log, cursor) {
        if (isBroken) throw new Error('thrown at once')
        return inner.since(log, cursor)
      },
    }),
  })
  isBroken = true
  const answer = await world.browser().send('/readyz')
  expect([answer.status, answer.json().missing]).toEqual([503, ['store']])
  const browser = world.browser()
  expect((await browser.signIn()).headers.get('coatcheck-error')).toBe('store_unavailable')
  isBroken = false
  expect((await browser.signIn()).status).toBe(303)
})

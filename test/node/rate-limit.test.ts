// Limits of routes over several instances: counted together as long as there is a store between them, and each for itself
// while it is away.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createClient } from 'redis'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { createBrowser } from '../support/browser.ts'
import { statusesOf, tally } from '../support/callers.ts'
import { providerFor, sessionKey, startCoatcheck, type World } from '../support/coatcheck.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { newFolder } from '../support/shared-store.ts'
import { startUpstream } from '../support/upstream.ts'

type Limit = NonNullable<NonNullable<ConfigInput['routes']>[number]['rateLimit']>

/** Two instances with one store and two routes: `/open` for everybody, per address, and `/api` for users. */
async function startPair(store: ConfigInput['store'], open: Limit, user: Limit = open): Promise<[World, World]> {
  const [as, api] = [closeAfterTest(await startAuthorizationServer()), closeAfterTest(await startUpstream())]
  const one = await startCoatcheck(as, api, {
    store,
    routes: [
      { path: '/open', upstream: `${api.url}/open`, token: 'none', rateLimit: open },
      { path: '/api', upstream: `${api.url}/api`, token: 'user', rateLimit: user },
    ],
  })
  const two = await startCoatcheck(as, api, ({ config: { listen = {} } }) => ({ ...one.config, listen }))
  return [one, two]
}

const stores: [string, () => Promise<NonNullable<ConfigInput['store']>>][] = [
  ['sqlite', async () => ({ type: 'sqlite', path: join(await newFolder(), 'store.db') })],
  ['redis', async () => ({ type: 'redis', url: closeAfterTest(await startRedis()).url })],
]

describe.each(stores)('two instances with %s', (_, open) => {
  test('let together as many calls through as the limit says, also at once', async () => {
    const [one, two] = await startPair(await open(), { per: 'address', requests: 9, window: '1h' })
    const browsers = [one.browser(), two.browser()]
    const answers = await Promise.all(Array.from({ length: 40 }, (_, at) => browsers[at % 2]?.fetch('/open')))
    expect(tally(answers.map((answer) => answer?.status ?? 0))).toEqual({ 200: 9, 429: 31 })
    expect(one.api.requests).toHaveLength(9)
    // Both know when it begins anew.
    for (const browser of browsers) {
      const { status, headers } = await browser.fetch('/open')
      expect(status).toBe(429)
      expect(headers.get('retry-after')).toMatch(/^3(5\d\d|600)$/)
    }
  })

  test('count a user together, whichever session the calls are of', async () => {
    const [one, two] = await startPair(
      await open(),
      { per: 'address', requests: 4, window: '1h' },
      { per: 'user', requests: 4, window: '1h' },
    )
    const browsers = [one.browser(), two.browser()]
    for (const browser of browsers) await browser.signIn()
    expect(await statusesOf(6, (at) => browsers[at % 2]?.fetch('/api') as never)).toEqual([
      200, 200, 200, 200, 429, 429,
    ])
  })
})

test('two processes of one machine count together', async () => {
  const [as, api] = [closeAfterTest(await startAuthorizationServer()), closeAfterTest(await startUpstream())]
  const [keys, path] = [[sessionKey()], join(await newFolder(), 'store.db')]
  const start = async () => {
    const port = await freePort()
    const publicUrl = 'http://app.localhost'
    const config: ConfigInput = {
      ...{
        publicUrl,
        listen: { port },
        session: { keys },
        store: { type: 'sqlite', path },
        providers: [providerFor(as)],
      },
      routes: [
        { path: '/open', upstream: api.url, token: 'none', rateLimit: { per: 'address', requests: 25, window: '1h' } },
      ],
    }
    const run = coatcheck(['serve', '--config', await fileWith(JSON.stringify(config))])
    await expect.poll(run.stdout).toContain('server.listening')
    return createBrowser(`http://127.0.0.1:${port}`, publicUrl)
  }
  const browsers = [await start(), await start()]
  const answers = await Promise.all(Array.from({ length: 60 }, (_, at) => browsers[at % 2]?.fetch('/open')))
  expect(tally(answers.map((answer) => answer?.status ?? 0))).toEqual({ 200: 25, 429: 35 })
})

/** A plain connection, to see what is in Redis. */
async function lookInto({ url }: RedisServer) {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  onTestFinished(() => client.destroy())
  return client
}

describe('what is counted in Redis', () => {
  test('is under keyed hashes: no user, no address, no path', async () => {
    const redis = closeAfterTest(await startRedis())
    const limits = ['user', 'session'] as const
    for (const per of limits) {
      const [one] = await startPair(
        { type: 'redis', url: redis.url },
        { per: 'address', requests: 5, window: '1h' },
        { per, requests: 5, window: '1h' },
      )
      const browser = one.browser()
      await browser.signIn()
      await browser.fetch('/api')
      await browser.fetch('/open')
    }
    const names = await (await lookInto(redis)).keys('coatcheck:count:*')
    expect(names.map((name) => name.replaceAll(/-[\w-]{22}(?=\}|$)/g, '-#')).sort()).toEqual([
      'coatcheck:count:{a-#}:l-#',
      'coatcheck:count:{a-#}:l-#',
      'coatcheck:count:{s-#}:l-#',
      'coatcheck:count:{u-#}:l-#',
    ])
    // With other session keys the same address and the same route have other names.
    expect(new Set(names.filter((name) => name.includes('{a-')))).toHaveLength(2)
  })

  test('are the calls that were let through, and one more for each other instance that learns of the limit', async () => {
    const redis = closeAfterTest(await startRedis())
    const limit = { per: 'address', requests: 5, window: '1h' } as const
    const [one, two] = await startPair({ type: 'redis', url: redis.url }, limit)
    const statuses = await statusesOf(50, () => one.browser().fetch('/open'))
    expect(tally(statuses)).toEqual({ 200: 5, 429: 45 })
    const client = await lookInto(redis)
    const [name = ''] = await client.keys('coatcheck:count:*')
    expect(await client.get(name)).toBe('5')
    expect(tally(await statusesOf(50, () => two.browser().fetch('/open')))).toEqual({ 429: 50 })
    expect(await client.get(name)).toBe('6')
  })
})

describe('while the store answers nothing', () => {
  test.each([
    ['killed', (redis: RedisServer) => redis.kill()],
    ['frozen', async (redis: RedisServer) => redis.freeze(true)],
  ])(
    '(%s) each instance counts for itself, soon without waiting, and nobody is turned away for it',
    async (_, stop) => {
      const redis = closeAfterTest(await startRedis())
      onTestFinished(() => redis.freeze(false))
      const [one, two] = await startPair(
        { type: 'redis', url: redis.url },
        { per: 'address', requests: 10, window: '1h' },
      )
      expect((await one.browser().fetch('/open')).status).toBe(200)
      await stop(redis)
      for (const { browser } of [one, two]) {
        const start = performance.now()
        expect((await browser().fetch('/open')).status).toBe(200)
        expect(performance.now() - start).toBeLessThan(4_000)
        const next = performance.now()
        expect(tally(await statusesOf(19, () => browser().fetch('/open')))).toEqual({ 200: 9, 429: 10 })
        expect(performance.now() - next).toBeLessThan(5_000)
      }
      expect(one.logged('store.failed')).not.toEqual([])
    },
  )

  test('(a locked SQLite file, which takes two seconds to say so) only a call now and then waits for it', async () => {
    const path = join(await newFolder(), 'store.db')
    const [one] = await startPair({ type: 'sqlite', path }, { per: 'address', requests: 20, window: '1h' })
    const other = new DatabaseSync(path)
    onTestFinished(() => other.close())
    other.exec('BEGIN IMMEDIATE')
    const start = performance.now()
    expect(tally(await statusesOf(30, () => one.browser().fetch('/open')))).toEqual({ 200: 20, 429: 10 })
    expect(performance.now() - start).toBeLessThan(10_000)
  })

  test('who is known to be over the limit stays out', async () => {
    const redis = closeAfterTest(await startRedis())
    const [one] = await startPair({ type: 'redis', url: redis.url }, { per: 'address', requests: 2, window: '1h' })
    expect(await statusesOf(3, () => one.browser().fetch('/open'))).toEqual([200, 200, 429])
    await redis.kill()
    expect((await one.browser().fetch('/open')).status).toBe(429)
  })

  test('and then answers again, instances count together again', async () => {
    const redis = closeAfterTest(await startRedis())
    const limit = { per: 'address', requests: 1_000, window: '1h' } as const
    const [one, two] = await startPair({ type: 'redis', url: redis.url }, limit)
    await redis.kill()
    for (const { browser } of [one, two]) expect((await browser().fetch('/open')).status).toBe(200)
    await redis.start()
    const client = await lookInto(redis)
    const counted = async () => {
      for (const { browser } of [one, two]) await browser().fetch('/open')
      const [name = 'none'] = await client.keys('coatcheck:count:*')
      return Number(await client.get(name))
    }
    const countedInARound = async () => {
      const before = await counted()
      return (await counted()) - before
    }
    await expect.poll(countedInARound).toBe(2)
  })
})

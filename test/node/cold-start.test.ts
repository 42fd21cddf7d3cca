// What an instance learns of what ended elsewhere: once, for all who wait, and nothing is told twice.
import { expect, test } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { startWithStore } from '../support/faulty-store.ts'

const hour = 3_600_000

/** A log of other people's endings, longer than three pages. */
async function longLog() {
  const store = memoryStore()
  for (let at = 0; at < 3_500; at++) await store.append('endings', `${Date.now()} ${Date.now() + hour} s-${at}`, hour)
  return store
}

test('a hundred requests at an instance that just started read the log once', async () => {
  const first = await startWithStore({ store: await longLog() })
  const browser = first.browser()
  await browser.signIn()
  let reads = 0
  const { as, api, store } = first
  const faults = () => ({
    async since(log: string, cursor: string) {
      reads++
      await new Promise((resolve) => setTimeout(resolve, 20))
      return store.since(log, cursor)
    },
  })
  const second = await startWithStore({ as, api, store, faults }, first.config)
  const cookie = browser.cookieHeader()
  const calls = Array.from({ length: 100 }, () => second.browser().fetch('/api/orders', { headers: { cookie } }))
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(100).fill(200))
  expect(reads).toBeLessThanOrEqual(10)
})

test('no request waits for the log where it was read before the first', async () => {
  const first = await startWithStore({ store: await longLog() })
  const browser = first.browser()
  await browser.signIn()
  let reads = 0
  const { as, api, store } = first
  const faults = () => ({
    since(log: string, cursor: string) {
      reads++
      return store.since(log, cursor)
    },
  })
  const second = await startWithStore({ as, api, store, faults }, first.config)
  await second.coatcheck.warmUp()
  const before = reads
  expect(before).toBeGreaterThan(3)
  const cookie = browser.cookieHeader()
  expect((await second.browser().fetch('/api/orders', { headers: { cookie } })).status).toBe(200)
  expect(reads).toBe(before)
})

test('an instance that cannot read the log is not ready, and warming up does not fail', async () => {
  let isAway = true
  const world = await startWithStore({
    faults: (inner) => ({
      async since(log, cursor) {
        if (isAway) throw new Error('The store is away')
        return inner.since(log, cursor)
      },
    }),
  })
  await world.coatcheck.warmUp()
  const answer = await world.browser().send('/readyz')
  expect([answer.status, answer.json().missing]).toEqual([503, ['store']])
  isAway = false
  expect((await world.browser().send('/readyz')).status).toBe(200)
})

test('what could not be told is told once, however many requests notice that the store is back', async () => {
  let isAway = false
  const told: string[] = []
  const world = await startWithStore({
    faults: (inner) => ({
      async append(log, entry, ttl) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        if (isAway) throw new Error('The store is away')
        told.push(entry)
        return inner.append(log, entry, ttl)
      },
      async since(log, cursor) {
        if (isAway) throw new Error('The store is away')
        return inner.since(log, cursor)
      },
    }),
  })
  const [gone, ...others] = [world.browser(), world.browser(), world.browser()]
  for (const browser of [gone, ...others]) await browser.signIn()
  isAway = true
  expect((await gone.fetch('/auth/logout', { method: 'POST' })).status).toBe(303)
  isAway = false
  await new Promise((resolve) => setTimeout(resolve, 1_050))
  const calls = others.flatMap((browser) => Array.from({ length: 10 }, () => browser.fetch('/api/orders')))
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(20).fill(200))
  await expect.poll(() => told.length).toBeGreaterThan(0)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(told).toHaveLength(1)
})

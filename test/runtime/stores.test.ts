// The shared store of this runtime, behind everything that uses it.
import { expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { runtime, startWorld } from '../support/coatcheck.ts'
import { sharedStore } from '../support/shared-store.ts'
import { passed } from '../support/time.ts'

test('a session begins, is refreshed once for twenty requests at a time, and ends, with a shared store', async () => {
  const world = await startWorld({ store: await sharedStore() })
  const browser = world.browser()
  world.as.behaviour.expiresIn = 0.05
  await browser.signIn()
  world.as.behaviour.expiresIn = 300
  await passed(60)
  const cookie = browser.cookieHeader()
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => browser.fetch('/api/orders', { headers: { cookie } })),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
  expect(world.as.to('/token').filter(({ body }) => body.get('grant_type') === 'refresh_token')).toHaveLength(1)
  await browser.fetch('/auth/logout', { method: 'POST' })
  expect((await browser.fetch('/api/orders')).status).toBe(401)
})

test('a callback works once, with a shared store', async () => {
  const world = await startWorld({ store: await sharedStore() })
  const browser = world.browser()
  const callback = await browser.untilCallback()
  await browser.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
  await browser.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
  expect(world.as.to('/token')).toHaveLength(1)
})

test('/readyz knows the shared store', async () => {
  const world = await startWorld({ store: await sharedStore() })
  expect((await world.browser().send('/readyz')).json()).toEqual({ status: 'ready', missing: [] })
})

/** Stores that this runtime cannot have, and what is said about each. */
const impossible: [ConfigInput['store'], string][] =
  runtime === 'workerd'
    ? [
        [
          { type: 'sqlite', path: 'store.db' },
          'store.type: Cloudflare Workers has no sqlite, only memory, durable-object',
        ],
        [
          { type: 'redis', url: 'redis://127.0.0.1:9' },
          'store.type: Cloudflare Workers has no redis, only memory, durable-object',
        ],
        [
          { type: 'durable-object', binding: 'NOWHERE' },
          'store.binding: the Worker has no Durable Objects bound by this name',
        ],
      ]
    : [
        [
          { type: 'durable-object', binding: 'SESSIONS' },
          'store.type: Node has no durable-object, only memory, sqlite, redis',
        ],
        [
          { type: 'sqlite', path: '/nowhere/store.db' },
          'Cannot open the store /nowhere/store.db: its folder does not exist',
        ],
      ]

test.each(impossible)('the store %j is refused at the start', async (store, message) => {
  await expect(startWorld({ store })).rejects.toThrow(message)
})

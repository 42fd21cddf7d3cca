// A process that was stopped for longer than its lease, and goes on while another does the work.
import { expect, test } from 'vitest'
import type { Store } from '../../src/stores/store.ts'
import { type FaultyWorld, startWithStore } from '../support/faulty-store.ts'
import { passed } from '../support/time.ts'

const refreshes = ({ as }: FaultyWorld) =>
  as.to('/token').filter(({ body }) => body.get('grant_type') === 'refresh_token')

/** Its leases are over soon, and nobody renews them meanwhile: as if it were stopped. */
const stopped = (inner: Store): Partial<Store> => ({
  async lease(key) {
    const lease = await inner.lease(key, 50)
    return lease && { ...lease, renew: () => lease.renew(50) }
  },
})

/** Two instances with one store, of which the first is stopped in some way; and a browser at each whose token is over. */
async function startPair(faults: (inner: Store) => Partial<Store>) {
  const there = await startWithStore()
  const { as, api, store } = there
  const here = await startWithStore(
    { as, api, store, faults: (inner) => ({ ...stopped(inner), ...faults(inner) }) },
    there.config,
  )
  as.behaviour.expiresIn = 0.05
  const browser = there.browser()
  await browser.signIn()
  as.behaviour.expiresIn = 300
  await passed(60)
  const cookie = browser.cookieHeader()
  const callAt = (world: FaultyWorld) => world.browser().fetch('/api/orders', { headers: { cookie } })
  return { here, there, callAt }
}

test('R609 it spends no refresh token with a lease that it lost before', async () => {
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>()
  const { promise: opened, resolve: open } = Promise.withResolvers<void>()
  let looks = 0
  const { here, there, callAt } = await startPair((inner) => ({
    async get(key) {
      const value = await inner.get(key)
      // The second look, with the lease in hand.
      if (key.includes('/next-') && ++looks === 2) {
        reach()
        await opened
      }
      return value
    },
  }))
  const slow = callAt(here)
  await reached
  await passed(60)
  expect((await callAt(there)).status).toBe(200)
  open()
  expect((await slow).status).toBe(200)
  expect(refreshes(there)).toHaveLength(1)
  expect(there.as.reuses).toEqual([])
})

test('R609 it does not declare a refresh token dead that another is spending', async () => {
  const { here, there, callAt } = await startPair(() => ({}))
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>()
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const { promise: opened, resolve: open } = Promise.withResolvers<void>()
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
  let requests = 0
  there.as.behaviour.faults['/token'] = async () => {
    if (++requests === 1) {
      reach()
      await opened
      return { status: 400, body: { error: 'invalid_grant' } }
    }
    ask()
    await answered
    return undefined
  }
  const slow = callAt(here)
  await reached
  await passed(60)
  const rightful = callAt(there)
  await asked
  open()
  await passed(100)
  answer()
  expect([(await slow).status, (await rightful).status]).toEqual([200, 200])
  expect([...here.logged('session.ended'), ...there.logged('session.ended')]).toEqual([])
})

// A shared world for many faults: before each test everybody is as in the beginning and nothing is on record.
import { beforeEach, expect } from 'vitest'
import type { Behaviour } from './authorization-server.ts'
import type { Overrides, World } from './coatcheck.ts'
import { type Server, sharedWorld } from './shared-world.ts'

/**
 * The shared world of the tests around the call. Before each of them the authorization server behaves again as it did
 * when `overrides` was done with it; `events()` tells what was logged since. What coatcheck has learned (metadata, keys,
 * ended sessions) it keeps.
 */
export function faultWorld(overrides: Overrides = {}, server?: Server): World {
  let first: Behaviour | undefined
  const shared = sharedWorld((parts) => {
    const changes = typeof overrides === 'function' ? overrides(parts) : overrides
    first = { ...parts.as.behaviour }
    return changes
  }, server)
  let told = 0

  /** Waits until everything that was logged has arrived: workerd's log comes through a pipe, in order. */
  async function settleLog(): Promise<void> {
    const { events, browser } = shared()
    const marks = () => events().filter(({ event }) => event === 'logout.returned').length
    const before = marks()
    await browser().send('/auth/logout/callback')
    await expect.poll(marks, { interval: 5 }).toBeGreaterThan(before)
  }

  beforeEach(async () => {
    await settleLog()
    const { as, api, events } = shared()
    Object.assign(as.behaviour, { ...first, faults: { ...first?.faults } })
    as.requests.length = 0
    api.requests.length = 0
    told = events().length
  })

  const events = () => shared().events().slice(told)
  return {
    get as() {
      return shared().as
    },
    get api() {
      return shared().api
    },
    get url() {
      return shared().url
    },
    get publicUrl() {
      return shared().publicUrl
    },
    get config() {
      return shared().config
    },
    browser: () => shared().browser(),
    events,
    logged: (name) => events().filter((event): event is never => event.event === name),
  }
}

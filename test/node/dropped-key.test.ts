// A session key that is dropped at once, because somebody else may have it: nothing that it sealed is remembered.
import { expect, test } from 'vitest'
import { readConfig } from '../../src/config-reader.ts'
import type { Browser } from '../support/browser.ts'
import { sessionKey } from '../support/coatcheck.ts'
import { type FaultyParts, type FaultyWorld, startWithStore } from '../support/faulty-store.ts'

const [old, next] = [sessionKey(1), sessionKey(2)]

const start = (keys: string[], storage: 'cookie' | 'store', parts?: FaultyParts) =>
  startWithStore(parts, { session: { keys, storage } })

function reload({ coatcheck, config }: FaultyWorld, keys: string[]): void {
  coatcheck.reloadKeys(readConfig({ ...config, session: { ...config.session, keys } }).session.keys)
}

const codeAt = async (browser: Browser) => (await browser.fetch('/api/orders')).headers.get('coatcheck-error')

test.each(['cookie', 'store'] as const)(
  'R603 opens no tokens any more that it sealed in the %s, although their ticket is sealed with a newer one',
  async (storage) => {
    const world = await start([old], storage)
    const browser = world.browser()
    await browser.signIn()
    expect(await codeAt(browser)).toBeNull()
    reload(world, [next, old])
    expect((await browser.fetch('/auth/session', { method: 'POST' })).status).toBe(200)
    expect(browser.cookies.get('coatcheck')).toContain('Fe26.2*2*')
    reload(world, [next])
    expect(await codeAt(browser)).toBe('session_required')
  },
)

test.each(['cookie', 'store'] as const)(
  'R603 is forgotten also by a request that was opening what it sealed in the %s',
  async (storage) => {
    const first = await start([old], storage)
    const browser = first.browser()
    await browser.signIn()
    const { as, api, store, publicUrl } = first
    const world = await startWithStore({ as, api, store }, first.config)
    const call = () =>
      world.coatcheck.fetch(
        new Request(`${publicUrl}/api/orders`, {
          headers: { cookie: browser.cookieHeader(), 'sec-fetch-site': 'same-origin' },
        }),
      )
    // At every step of the first call once.
    for (let steps = 0; steps < 40; steps++) {
      reload(world, [old])
      const under = call()
      for (let step = 0; step < steps; step++) await new Promise((resolve) => setImmediate(resolve))
      reload(world, [next])
      await under
      expect((await call()).headers.get('coatcheck-error')).toBe('session_required')
    }
  },
)

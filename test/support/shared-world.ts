// One world for all tests of a describe, where a corpus is too large for a world of its own for every entry.
import { afterAll, beforeAll } from 'vitest'
import { startAuthorizationServer } from './authorization-server.ts'
import { type Overrides, openCoatcheck, type World } from './coatcheck.ts'
import { startUpstream } from './upstream.ts'

/** Starts the three servers before the tests of the surrounding describe; they end after them. */
export function sharedWorld(overrides: Overrides = {}): () => World {
  let world: World | undefined
  const open: { close(): Promise<unknown> }[] = []

  beforeAll(async () => {
    const [as, api] = [await startAuthorizationServer(), await startUpstream()]
    open.push(as, api)
    const coatcheck = await openCoatcheck(as, api, overrides)
    open.unshift(coatcheck)
    world = coatcheck
  })

  afterAll(async () => {
    for (const { close } of open) await close()
  })

  return () => {
    if (!world) throw new Error('The shared world has not started: call this inside a test')
    return world
  }
}

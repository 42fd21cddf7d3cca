// One world for all tests of a describe, where a corpus is too large for a world of its own for every entry.
import { afterAll, beforeAll } from 'vitest'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import type { Certificate } from './certificate.ts'
import { type Overrides, openCoatcheck, type World } from './coatcheck.ts'
import { trust } from './http-server.ts'
import { startUpstream } from './upstream.ts'

/** An authorization server that is another from its start on. */
export interface Server {
  /** For `localhost`: the server is reached by https, and its certificate believed. */
  readonly tls: Certificate
  prepare(as: AuthorizationServer): Promise<void>
}

/** Starts the three servers before the tests of the surrounding describe; they end after them. */
export function sharedWorld(overrides: Overrides = {}, server?: Server): () => World {
  let world: World | undefined
  const open: { close(): Promise<unknown> }[] = []

  beforeAll(async () => {
    const [as, api] = [await startAuthorizationServer(server?.tls), await startUpstream()]
    open.push(as, api)
    await server?.prepare(as)
    if (server) open.push({ close: trust(server.tls.cert) })
    const coatcheck = await openCoatcheck(as, api, overrides, server ? { trusted: [server.tls.cert] } : {})
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

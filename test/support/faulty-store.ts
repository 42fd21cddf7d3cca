// coatcheck as a library around a store of the test's own: one that fails, is slow, or is looked into.
import { getRequestListener } from '@hono/node-server'
import { type Coatcheck, createCoatcheck } from '../../src/app.ts'
import { isLogged, type LogEvent } from '../../src/observability.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'
import { webPlatform } from '../../src/web-platform.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { createBrowser } from './browser.ts'
import { configFor, type Overrides, type World } from './coatcheck.ts'
import { closeAfterTest, freePort, listen } from './http-server.ts'
import { startUpstream, type Upstream } from './upstream.ts'

export interface FaultyWorld extends World {
  readonly coatcheck: Coatcheck
  /** The store as it is, without the faults. */
  readonly store: Store
}

export interface FaultyParts {
  as?: AuthorizationServer
  api?: Upstream
  /** Default: one in memory, of this instance alone. */
  store?: Store
  /** What the store does otherwise than it should. */
  faults?: (inner: Store) => Partial<Store>
}

/** Starts what is not there yet; all of it ends with the test. */
export async function startWithStore(parts: FaultyParts = {}, overrides: Overrides = {}): Promise<FaultyWorld> {
  const as = parts.as ?? closeAfterTest(await startAuthorizationServer())
  const api = parts.api ?? closeAfterTest(await startUpstream())
  const { store = memoryStore(), faults = () => ({}) } = parts
  const port = await freePort()
  const base = configFor(as, api, port)
  const config = { ...base, ...(typeof overrides === 'function' ? overrides({ as, api, config: base }) : overrides) }
  const events: LogEvent[] = []
  const coatcheck = createCoatcheck(config, {
    platform: (read) => ({
      ...webPlatform(read),
      sharesPromises: true,
      store: { ...store, ...faults(store) },
      log: (event) => void (isLogged(event, 'info') && events.push(event)),
    }),
  })
  const answer = getRequestListener((request) => coatcheck.fetch(request))
  const { url } = closeAfterTest(await listen((incoming, outgoing) => void answer(incoming, outgoing)))
  return {
    ...{ as, api, url, publicUrl: config.publicUrl, config, coatcheck, store },
    browser: () => createBrowser(url, config.publicUrl),
    events: () => events,
    logged: (name) => events.filter((event): event is never => event.event === name),
  }
}

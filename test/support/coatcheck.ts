// coatcheck itself, on Node or on workerd, with an authorization server and an API of the test's own.
import { randomBytes } from 'node:crypto'
import { describe, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { serve } from '../../src/node.ts'
import type { LogEvent } from '../../src/observability.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { type Browser, createBrowser } from './browser.ts'
import { closeAfterTest, freePort } from './http-server.ts'
import { startUpstream, type Upstream } from './upstream.ts'
import { type Served, serveOnWorkerd } from './workerd.ts'
import type { WorkerdExtras } from './workerd-process.ts'

/** The runtime this project of the test run is for; see vitest.config.ts. */
export const runtime = process.env.COATCHECK_TEST_RUNTIME === 'workerd' ? 'workerd' : 'node'

/**
 * `test` and `describe` where the matter is one runtime's alone. On the other there is no such test, rather than one that is
 * skipped: nothing that is counted is left out.
 */
export const testOn = (wanted: typeof runtime): typeof test => (runtime === wanted ? test : (notHere as typeof test))
export const describeOn = (wanted: typeof runtime): typeof describe =>
  runtime === wanted ? describe : (notHere as typeof describe)
const notHere: unknown = () => {}

/** Where sessions keep their tokens unless a test says otherwise; see vitest.config.ts. */
export const storage = process.env.COATCHECK_TEST_STORAGE === 'store' ? 'store' : 'cookie'
/** Names of the cookies that an answer sets when tokens were renewed: with tokens in the store there is nothing to set. */
export const renewedCookies = storage === 'cookie' ? ['coatcheck.1'] : []

export const sessionKey = (id = 1) => `${id}:${randomBytes(32).toString('base64url')}`

export interface World {
  readonly as: AuthorizationServer
  readonly api: Upstream
  /** Where the browser reaches coatcheck. */
  readonly url: string
  /** What coatcheck believes its address to be. */
  readonly publicUrl: string
  readonly config: ConfigInput
  /**
   * A new browser, with an empty cookie jar.
   * @param at the public address it goes to; the main one by whatever host coatcheck is reached otherwise.
   */
  browser(at?: string): Browser
  /** All events logged so far, and those of one kind. */
  events(): LogEvent[]
  logged<Name extends LogEvent['event']>(name: Name): Extract<LogEvent, { event: Name }>[]
}

interface Parts {
  as: AuthorizationServer
  api: Upstream
  config: ConfigInput
}

/**
 * Changes to the configuration that most tests begin with. As a function it runs before coatcheck starts: the place to
 * make the authorization server misbehave from the first request on.
 */
export type Overrides = Partial<ConfigInput> | ((parts: Parts) => Partial<ConfigInput>)

/** Starts the three servers; they end with the test. */
export async function startWorld(overrides: Overrides = {}): Promise<World> {
  const as = closeAfterTest(await startAuthorizationServer())
  const api = closeAfterTest(await startUpstream())
  return startCoatcheck(as, api, overrides)
}

/** Starts coatcheck beside servers that are there already, such as a second instance of it; it ends with the test. */
export async function startCoatcheck(
  as: AuthorizationServer,
  api: Upstream,
  overrides: Overrides = {},
): Promise<World> {
  return closeAfterTest(await openCoatcheck(as, api, overrides))
}

/** Starts coatcheck; whoever calls this ends it. */
export async function openCoatcheck(
  as: AuthorizationServer,
  api: Upstream,
  overrides: Overrides = {},
  onWorkerd: WorkerdExtras = {},
): Promise<World & Pick<Served, 'close'>> {
  const port = await freePort()
  const base = configFor(as, api, port)
  const config = { ...base, ...(typeof overrides === 'function' ? overrides({ as, api, config: base }) : overrides) }
  const { url, events, close } = await serveHere(config, onWorkerd)
  return {
    close,
    as,
    api,
    url,
    publicUrl: config.publicUrl,
    config,
    browser: (at) => createBrowser(url, at ?? config.publicUrl, at && new URL(at).host),
    events,
    logged: (name) => events().filter((event): event is never => event.event === name),
  }
}

/** Serves a configuration as it is, on the runtime of this run; whoever calls this ends it. */
export function serveHere(config: ConfigInput, onWorkerd: WorkerdExtras = {}): Promise<Served> {
  return runtime === 'workerd' ? serveOnWorkerd(config, onWorkerd) : serveOnNode(config)
}

async function serveOnNode(config: ConfigInput): Promise<Served> {
  const events: LogEvent[] = []
  const { url, close } = await serve(config, { env: {}, log: (event) => events.push(event) })
  return { url, events: () => events, close }
}

/** The settings of a test's authorization server. */
export function providerFor(as: AuthorizationServer, id = 'main'): ConfigInput['providers'][number] {
  return {
    id,
    issuer: as.issuer,
    clientId: as.clientId,
    clientAuth: { method: 'client_secret_basic', secret: as.clientSecret },
    allowInsecureRequests: true,
  }
}

/** One provider, and a route of each kind. */
export function configFor(as: AuthorizationServer, api: Upstream, port: number): ConfigInput {
  return {
    publicUrl: `http://app.localhost:${port}`,
    listen: { host: '127.0.0.1', port },
    session: { keys: [sessionKey()], storage },
    providers: [providerFor(as)],
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none' },
      { path: '/api/maybe', upstream: `${api.url}/maybe`, token: 'user-or-none' },
    ],
  }
}

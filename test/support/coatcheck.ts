// coatcheck itself, on a free port, with an authorization server and an API of the test's own.
import { randomBytes } from 'node:crypto'
import type { ConfigInput } from '../../src/config.ts'
import { type RunningServer, serve } from '../../src/node.ts'
import type { LogEvent } from '../../src/observability.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { type Browser, createBrowser } from './browser.ts'
import { closeAfterTest, freePort } from './http-server.ts'
import { startUpstream, type Upstream } from './upstream.ts'

export const sessionKey = (id = 1) => `${id}:${randomBytes(32).toString('base64url')}`

export interface World {
  readonly as: AuthorizationServer
  readonly api: Upstream
  readonly url: string
  readonly config: ConfigInput
  readonly events: LogEvent[]
  readonly server: RunningServer
  browser(): Browser
  /** Events of one kind. */
  logged<Name extends LogEvent['event']>(name: Name): Extract<LogEvent, { event: Name }>[]
}

type Overrides =
  | Partial<ConfigInput>
  | ((parts: { as: AuthorizationServer; api: Upstream; config: ConfigInput }) => Partial<ConfigInput>)

/** Starts the three servers; they end with the test. */
export async function startWorld(overrides: Overrides = {}): Promise<World> {
  const as = closeAfterTest(await startAuthorizationServer())
  const api = closeAfterTest(await startUpstream())
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const base = configFor({ as, api, url, port })
  const config = { ...base, ...(typeof overrides === 'function' ? overrides({ as, api, config: base }) : overrides) }
  const events: LogEvent[] = []
  const server = closeAfterTest(await serve(config, { env: {}, log: (event) => events.push(event) }))
  return {
    as,
    api,
    url,
    config,
    events,
    server,
    browser: () => createBrowser(url, config.publicUrl),
    logged: (name) => events.filter((event): event is never => event.event === name),
  }
}

/** The configuration most tests begin with: one provider, and a route of each kind. */
export function configFor({
  as,
  api,
  url,
  port,
}: {
  as: AuthorizationServer
  api: Upstream
  url: string
  port: number
}): ConfigInput {
  return {
    publicUrl: url,
    listen: { host: '127.0.0.1', port },
    session: { keys: [sessionKey()] },
    providers: [
      {
        id: 'main',
        issuer: as.issuer,
        clientId: as.clientId,
        clientAuth: { method: 'client_secret_basic', secret: as.clientSecret },
        allowInsecureRequests: true,
      },
    ],
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none' },
      { path: '/api/maybe', upstream: `${api.url}/maybe`, token: 'user-or-none' },
    ],
  }
}

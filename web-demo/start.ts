// All parts of the demo, wired to each other: authorization server, API, and coatcheck in front of the application.
import { randomBytes } from 'node:crypto'
import type { ConfigInput } from '../src/config.ts'
import { type RunningServer, serve } from '../src/node.ts'
import type { Log } from '../src/observability.ts'
import { startApi } from './api.ts'
import { type AuthorizationServer, type Secret, startAuthorizationServer } from './authorization-server.ts'
import { appDir, buildApp } from './build.ts'
import { freePort, type LoopbackServer } from './ports.ts'

export interface DemoOptions {
  /** 0 takes a free one; so does leaving it out. `listen`: where coatcheck is, if something else stands at `app`. */
  ports?: { app?: number; listen?: number; authorizationServer?: number; api?: number }
  /** Default: a random one. */
  clientSecret?: string
  /** Further places where coatcheck runs with this client, such as `http://localhost:8787`. */
  otherAppUrls?: readonly string[]
  /** Seconds. Default: 60. */
  accessTokenLifetime?: number
  /** Changes to `session` of the configuration of coatcheck. */
  session?: Partial<ConfigInput['session']> | undefined
  /** Further routes. */
  routes?: ConfigInput['routes']
  /** Another application than that of the demo. */
  spa?: ConfigInput['spa']
  onSecret?: (secret: Secret) => void
  /** Takes the events of coatcheck. Default: nobody does. */
  log?: Log
}

export interface Demo {
  /** Where the browser goes, such as `http://localhost:3000`. */
  readonly url: string
  readonly authorizationServer: AuthorizationServer
  readonly api: LoopbackServer
  readonly coatcheck: RunningServer
  /** Ends all parts. */
  close(): Promise<void>
}

/** The registered client. Its name is fixed, so that a Worker on the same machine can use it too. */
export const clientId = 'coatcheck-demo'

/**
 * Starts everything on loopback. Builds the application first if it is not up to date.
 *
 * @throws the system's error when a port cannot be had; nothing is left running then.
 */
export async function startDemo(options: DemoOptions = {}): Promise<Demo> {
  const { ports = {}, clientSecret = randomBytes(24).toString('base64url') } = options
  await buildApp()
  const port = ports.app || (await freePort())
  // Not the name of the authorization server: `localhost` and `127.0.0.1` are different sites to a browser.
  const url = `http://localhost:${port}`
  const appUrls = [url, ...(options.otherAppUrls ?? [])]
  let authorizationServer: AuthorizationServer | undefined
  let api: LoopbackServer | undefined
  let coatcheck: RunningServer | undefined

  async function close(): Promise<void> {
    // The API goes first: its streams would keep coatcheck waiting.
    await api?.close()
    await coatcheck?.close()
    await authorizationServer?.close()
  }

  try {
    authorizationServer = await startAuthorizationServer({
      port: ports.authorizationServer ?? 0,
      clientId,
      clientSecret,
      appUrl: url,
      redirectUris: appUrls.map((app) => `${app}/auth/callback`),
      postLogoutRedirectUris: appUrls.map((app) => `${app}/auth/logout/callback`),
      accessTokenLifetime: options.accessTokenLifetime,
      onSecret: options.onSecret,
    })
    const { issuer } = authorizationServer
    api = await startApi({ port: ports.api ?? 0, issuer })
    const config: ConfigInput = {
      publicUrl: url,
      listen: { host: '127.0.0.1', port: ports.listen ?? port },
      session: { keys: [`1:${randomBytes(32).toString('base64url')}`], ...options.session },
      providers: [
        {
          id: 'harbor',
          issuer,
          clientId,
          clientAuth: { method: 'client_secret_basic', secret: clientSecret },
          scope: 'openid profile email offline_access orders:read orders:write',
          optionalScope: 'orders:read orders:write',
          allowInsecureRequests: true,
        },
      ],
      routes: [{ path: '/api', upstream: api.url, token: 'user', websocket: true }, ...(options.routes ?? [])],
      spa: options.spa ?? { dir: appDir, immutable: ['/assets/'] },
    }
    coatcheck = await serve(config, { root: '/', log: options.log ?? (() => {}) })
    return { url, authorizationServer, api, coatcheck, close }
  } catch (error) {
    await close()
    throw error
  }
}

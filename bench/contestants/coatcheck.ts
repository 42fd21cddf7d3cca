// coatcheck as a user starts it: its command line, a cookie session, every setting at its default.

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ConfigInput } from '../../src/config.ts'
import { api } from '../support/authorization-server.ts'
import { startServer } from '../support/processes.ts'
import type { Contestant } from './contestant.ts'

/** What is switched on, besides the defaults. */
export interface Feature {
  readonly route?: Partial<NonNullable<ConfigInput['routes']>[number]>
  readonly provider?: Partial<ConfigInput['providers'][number]>
  readonly scheme?: 'DPoP'
}

/** What each feature adds to a call in the steady state: `npm run bench -- --features`. */
export const features: Readonly<Record<string, Feature>> = {
  'rate limit': { route: { rateLimit: { per: 'session', requests: 1_000_000_000, window: '1h' } } },
  'scope, claim and address': {
    route: { require: { scope: ['openid'], claims: { sub: 'alice' } }, allowIps: ['127.0.0.0/8'] },
  },
  'token per API': { route: { token: { kind: 'user', resource: api } } },
  exchange: { route: { token: { kind: 'exchange', audience: api } } },
  DPoP: { provider: { dpop: true }, scheme: 'DPoP' },
}

/**
 * @param tree the folder of a coatcheck working tree
 * @param feature what is switched on besides the defaults
 */
export function coatcheck(name: string, what: string, tree: string, feature: Feature = {}): Contestant {
  return {
    name,
    what,
    callbackPath: '/auth/callback',
    ...(feature.scheme && { scheme: feature.scheme }),
    async start({ url, port, dir, core, upstream, authorizationServer, client }) {
      const config: ConfigInput = {
        publicUrl: url,
        listen: { host: '127.0.0.1', port },
        session: { keys: [`1:${randomBytes(32).toString('base64url')}`] },
        providers: [
          {
            id: 'main',
            issuer: authorizationServer.issuer,
            clientId: client.id,
            clientAuth: { method: 'client_secret_basic', secret: client.secret },
            allowInsecureRequests: true,
            ...feature.provider,
          },
        ],
        routes: [{ path: '/api', upstream: upstream.url, token: 'user', ...feature.route }],
      }
      const file = join(dir, 'coatcheck.json')
      await writeFile(file, JSON.stringify(config), { mode: 0o600 })
      const command = [process.execPath, join(tree, 'src/cli.ts'), 'serve', '--config', file] as const
      const started = await startServer(command, { port, core })
      return { ...started, signInUrl: `${url}/auth/login` }
    },
  }
}

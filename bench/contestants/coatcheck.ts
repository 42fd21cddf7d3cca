// coatcheck as a user starts it: its command line, a cookie session, every setting at its default.

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ConfigInput } from '../../src/config.ts'
import { startServer } from '../support/processes.ts'
import type { Contestant } from './contestant.ts'

/** @param tree the folder of a coatcheck working tree */
export function coatcheck(name: string, what: string, tree: string): Contestant {
  return {
    name,
    what,
    callbackPath: '/auth/callback',
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
          },
        ],
        routes: [{ path: '/api', upstream: upstream.url, token: 'user' }],
      }
      const file = join(dir, 'coatcheck.json')
      await writeFile(file, JSON.stringify(config), { mode: 0o600 })
      const command = [process.execPath, join(tree, 'src/cli.ts'), 'serve', '--config', file] as const
      const started = await startServer(command, { port, core })
      return { ...started, signInUrl: `${url}/auth/login` }
    },
  }
}

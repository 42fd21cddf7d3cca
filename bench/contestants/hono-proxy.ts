// The proxy helper that comes with Hono, and a fixed token: what one would write first.
import { nodeServer } from '../support/node-server.ts'
import type { Contestant } from './contestant.ts'

export const honoProxy: Contestant = {
  name: 'hono-proxy',
  what: '`hono/proxy` on `@hono/node-server`, fixed token, no sessions',
  start: (setting) =>
    nodeServer('hono-proxy', setting, { upstream: setting.upstream.url, accessToken: setting.accessToken }),
}

// Node with nothing on top: what any proxy written in Node has to spend. The floor that ratios are taken to.
import { nodeServer } from '../support/node-server.ts'
import type { Contestant } from './contestant.ts'

export const bareNode: Contestant = {
  name: 'bare-node',
  what: '`node:http` and undici `dispatch`, fixed token, no sessions: the floor for Node',
  start: (setting) =>
    nodeServer('bare-node', setting, { upstream: setting.upstream.url, accessToken: setting.accessToken }),
}

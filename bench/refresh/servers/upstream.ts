// The API behind the storms: answers at once, and writes down whose calls came with which access tokens.
import { createServer } from 'node:http'
import { settings } from '../../support/node-server.ts'

/** What it saw since the last `DELETE /seen`. */
export interface Seen {
  readonly requests: number
  /** Different access tokens, and users who came with more than one. */
  readonly tokens: number
  readonly usersWithSeveral: number
  /** Calls with a token that was over, or of somebody else than the path says. */
  readonly expired: number
  readonly foreign: number
}

interface Token {
  readonly user: string
  readonly expiresAt: number
}

const { port } = settings<never>()
const tokens = new Map<string, Token>()
const byUser = new Map<string, Set<string>>()
let [requests, expired, foreign] = [0, 0, 0]

/** Not verified: whether a token is genuine is not what is measured here. */
function read(authorization: string): Token {
  const known = tokens.get(authorization)
  if (known) return known
  const [, payload = ''] = authorization.replace(/^Bearer /, '').split('.')
  const { sub, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString() || '{}') as {
    sub?: string
    exp?: number
  }
  const token = { user: sub ?? '', expiresAt: (exp ?? 0) * 1_000 }
  tokens.set(authorization, token)
  return token
}

function note(path: string, authorization: string): void {
  const { user, expiresAt } = read(authorization)
  requests++
  if (expiresAt <= Date.now()) expired++
  if (path !== `/orders/${user}`) foreign++
  const all = byUser.get(user) ?? new Set()
  byUser.set(user, all.add(authorization))
}

function seen(): Seen {
  const counts = [...byUser.values()].map(({ size }) => size)
  return {
    requests,
    tokens: counts.reduce((sum, count) => sum + count, 0),
    usersWithSeveral: counts.filter((count) => count > 1).length,
    expired,
    foreign,
  }
}

createServer({ keepAliveTimeout: 60_000 }, ({ method, url = '/', headers }, response) => {
  if (url !== '/seen') note(url, headers.authorization ?? '')
  else if (method === 'DELETE') {
    byUser.clear()
    requests = expired = foreign = 0
  }
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(url === '/seen' ? JSON.stringify(seen()) : '{"orders":[]}')
}).listen(port, '127.0.0.1')

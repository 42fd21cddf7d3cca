// An MCP server as the official SDK makes them: for the right access tokens only, with sessions that belong to their user.
import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { type EventStore, StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as z from 'zod'
import { apiResource } from '../web-demo/authorization-server.ts'
import { type LoopbackServer, listen } from '../web-demo/ports.ts'

/** One request, and what became of it. */
export interface Seen {
  readonly method: string
  readonly headers: IncomingHttpHeaders
  /** 0 until it is answered. */
  readonly status: number
  /** Whether the answer is still being written to somebody. */
  readonly isOpen: boolean
}

interface McpSession {
  /** Whose it is. Another token of the same user is as good as the first (MCP, "Session Hijacking"). */
  readonly owner: string
  readonly server: McpServer
  readonly transport: StreamableHTTPServerTransport
}

export interface TestMcpServer extends LoopbackServer {
  readonly requests: readonly Seen[]
  /** Open sessions by `Mcp-Session-Id`. */
  readonly sessions: ReadonlyMap<string, McpSession>
  /** Begins to accept the access tokens of an authorization server. */
  trust(issuer: string): void
  /** Refuses an access token from now on, as if it had been revoked. @param jti its name */
  refuse(jti: string): void
  /** Lets a tool that waits after telling its progress go on. */
  goOn(): void
}

export async function startMcpServer(): Promise<TestMcpServer> {
  const requests: Seen[] = []
  const sessions = new Map<string, McpSession>()
  const refused = new Set<string>()
  const pauses = turnstile()
  let authorize: (request: IncomingMessage) => Promise<AuthInfo | undefined> = async () => undefined

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', headers } = request
    requests.push({
      method,
      headers,
      get status() {
        return response.headersSent ? response.statusCode : 0
      },
      get isOpen() {
        return !response.closed
      },
    })
    const auth = await authorize(request)
    if (!auth || refused.has(String(auth.extra?.jti))) {
      const metadata = `${server.url}/.well-known/oauth-protected-resource`
      const challenge = `Bearer error="invalid_token", resource_metadata="${metadata}"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
    } else {
      const id = headers['mcp-session-id']
      const session = id === undefined ? await begin(auth) : sessions.get(String(id))
      if (session?.owner === auth.extra?.sub) {
        await session?.transport.handleRequest(Object.assign(request, { auth }), response)
      } else response.writeHead(404).end()
    }
  }

  async function begin({ extra }: AuthInfo): Promise<McpSession> {
    const server = toolsFor(pauses.pass)
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: eventStore(),
      retryInterval: 10,
      onsessioninitialized: (id) => void sessions.set(id, session),
      onsessionclosed: (id) => void sessions.delete(id),
    })
    const session = { owner: String(extra?.sub), server, transport }
    // The SDK was not written for exactOptionalPropertyTypes.
    await server.connect(transport as Transport)
    return session
  }

  const server = await listen(0, (request, response) => void answer(request, response))
  return {
    ...server,
    requests,
    sessions,
    trust: (issuer) => (authorize = tokenCheck(issuer)),
    refuse: (jti) => refused.add(jti),
    goOn: pauses.open,
  }
}

/** @param pause is waited for each time a tool has told its progress. */
function toolsFor(pause: () => Promise<void>): McpServer {
  const server = new McpServer({ name: 'counter', version: '1.0.0' }, { capabilities: { logging: {} } })
  const count = { inputSchema: { to: z.number() } }
  server.registerTool('count', { ...count, description: 'Counts, and says how far it is' }, async ({ to }, call) => {
    for (let progress = 1; progress <= to; progress++) {
      await call.sendNotification(progressOf(call, progress, to))
      await pause()
    }
    return { content: [{ type: 'text', text: `Counted to ${to}` }] }
  })
  server.registerTool('hang-up', { description: 'Hangs up in the middle, and goes on' }, async (call) => {
    await call.sendNotification(progressOf(call, 1, 2))
    await pause()
    call.closeSSEStream?.()
    await call.sendNotification(progressOf(call, 2, 2))
    return { content: [{ type: 'text', text: 'Done all the same' }] }
  })
  const who = { sub: z.string(), jti: z.string() }
  server.registerTool('whoami', { description: 'Says who calls', outputSchema: who }, async ({ authInfo }) => {
    const structuredContent = z.object(who).parse(authInfo?.extra)
    return { structuredContent, content: [{ type: 'text', text: JSON.stringify(structuredContent) }] }
  })
  return server
}

function progressOf(
  { _meta }: { _meta?: { progressToken?: string | number | undefined } },
  progress: number,
  total: number,
) {
  const progressToken = _meta?.progressToken ?? ''
  return { method: 'notifications/progress' as const, params: { progressToken, progress, total } }
}

/** Remembers what was sent, for whoever comes back with `Last-Event-ID`. */
function eventStore(): EventStore {
  const events: { stream: string; message: JSONRPCMessage }[] = []
  return {
    async storeEvent(stream, message) {
      return String(events.push({ stream, message }))
    },
    async replayEventsAfter(last, { send }) {
      const stream = events[Number(last) - 1]?.stream ?? ''
      for (const [index, event] of events.entries()) {
        const isMissed = event.stream === stream && index >= Number(last) && 'jsonrpc' in event.message
        if (isMissed) await send(String(index + 1), event.message)
      }
      return stream
    },
  }
}

/** Lets one through each time it is opened. */
function turnstile() {
  const waiting: (() => void)[] = []
  let open = 0
  return {
    open() {
      const first = waiting.shift()
      if (first) first()
      else open++
    },
    async pass() {
      if (open > 0) open--
      else await new Promise<void>((resolve) => waiting.push(resolve))
    },
  }
}

/** Verifies access tokens: signature, type, issuer, audience and time (RFC 9068, section 4). */
function tokenCheck(issuer: string) {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`))
  return async ({ headers }: IncomingMessage): Promise<AuthInfo | undefined> => {
    const token = /^Bearer ([\w.-]+)$/.exec(headers.authorization ?? '')?.[1] ?? ''
    const expected = { issuer, audience: apiResource, typ: 'at+jwt', algorithms: ['ES256'] }
    const verified = await jwtVerify(token, keys, expected).catch(() => undefined)
    if (!verified) return undefined
    const { sub, jti, client_id: clientId } = verified.payload
    return { token, clientId: String(clientId), scopes: [], extra: { sub, jti } }
  }
}

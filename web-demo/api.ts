// The demo API: orders, a clock, and what it can tell of the access token it was shown. It trusts nothing but that token.
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { takeWebSockets } from './api-websocket.ts'
import { apiResource } from './authorization-server.ts'
import { type LoopbackServer, listen } from './ports.ts'

/** What the API knows once it has verified an access token (RFC 9068, section 2.2). */
interface Caller {
  readonly sub: string
  readonly scope: string
  readonly iat: number
  readonly exp: number
  readonly jti: string
}

interface Order {
  readonly id: number
  readonly item: string
  readonly note: string
  /** ISO 8601. */
  readonly placedAt: string
}

/** Starts the API. @param port 0 takes a free one. @param issuer the authorization server whose tokens count. */
export async function startApi({ port, issuer }: { port: number; issuer: string }): Promise<LoopbackServer> {
  const authorize = tokenCheck(issuer)
  const ordersOf = new Map<string, Order[]>()
  const app = new Hono()

  app.get('/orders', async (c) => {
    const caller = await authorize(c.req.header('authorization'), 'orders:read')
    if (caller instanceof Response) return caller
    return c.json({ orders: ordersFor(caller.sub) })
  })

  app.post('/orders', async (c) => {
    const caller = await authorize(c.req.header('authorization'), 'orders:write')
    if (caller instanceof Response) return caller
    const { item, note = '' } = await c.req.json().catch(() => ({}))
    const isShort = (text: unknown, most: number) => typeof text === 'string' && text.trim().length <= most
    if (!isShort(item, 80) || item.trim() === '' || !isShort(note, 200)) {
      return problem(400, 'An order needs an item of at most 80 characters, and a note of at most 200')
    }
    const orders = ordersFor(caller.sub)
    const order = newOrder((orders[0]?.id ?? 0) + 1, item.trim(), note.trim())
    orders.unshift(order)
    return c.json(order, 201)
  })

  app.get('/whoami', async (c) => {
    const caller = await authorize(c.req.header('authorization'))
    return caller instanceof Response ? caller : c.json(caller)
  })

  app.get('/clock', async (c) => {
    const caller = await authorize(c.req.header('authorization'))
    if (caller instanceof Response) return caller
    return streamSSE(c, async (stream) => {
      while (!stream.aborted) {
        await stream.writeSSE({ event: 'tick', data: new Date().toISOString() })
        await stream.sleep(1_000)
      }
    })
  })

  app.notFound(() => problem(404, 'There is no such thing in this API'))
  app.onError(() => problem(500, 'Something went wrong in the demo API'))

  function ordersFor(sub: string): Order[] {
    const known = ordersOf.get(sub) ?? [newOrder(102, 'Wool coat, navy', 'Third peg'), newOrder(101, 'Umbrella', '')]
    ordersOf.set(sub, known)
    return known
  }

  const server = await listen(port, getRequestListener(app.fetch))
  takeWebSockets(server.server, async (authorization) => {
    const caller = await authorize(authorization)
    return caller instanceof Response ? undefined : caller.sub
  })
  return server
}

function newOrder(id: number, item: string, note: string): Order {
  return { id, item, note, placedAt: new Date().toISOString() }
}

type TokenCheck = (authorization: string | undefined, scope?: string) => Promise<Caller | Response>

/** Verifies the bearer token of a request: signature, type, issuer, audience, time and scope (RFC 9068, section 4). */
function tokenCheck(issuer: string): TokenCheck {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`))
  return async (authorization, scope) => {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(authorization ?? '')?.[1]
    if (token === undefined) return problem(401, 'An access token is needed', 'Bearer')
    const verified = await jwtVerify(token, keys, {
      issuer,
      audience: apiResource,
      typ: 'at+jwt',
      algorithms: ['ES256'],
      requiredClaims: ['sub', 'exp', 'iat', 'jti'],
    }).catch(() => undefined)
    if (!verified) return problem(401, 'The access token is not valid', 'Bearer error="invalid_token"')
    const { sub = '', iat = 0, exp = 0, jti = '', scope: granted } = verified.payload
    const caller = { sub, scope: typeof granted === 'string' ? granted : '', iat, exp, jti }
    if (scope !== undefined && !caller.scope.split(' ').includes(scope)) {
      return problem(403, `This needs the permission ${scope}`, `Bearer error="insufficient_scope", scope="${scope}"`)
    }
    return caller
  }
}

function problem(status: number, title: string, challenge?: string): Response {
  const headers = new Headers({ 'content-type': 'application/problem+json' })
  if (challenge !== undefined) headers.set('www-authenticate', challenge)
  return new Response(JSON.stringify({ status, title }), { status, headers })
}

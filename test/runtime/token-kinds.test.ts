import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { passed } from '../support/time.ts'

type RouteInput = NonNullable<ConfigInput['routes']>[number]

/** A world with one route, at `/api`. */
const worldWith = (token: RouteInput['token'], more: Partial<RouteInput> = {}) =>
  startWorld(({ api }) => ({ routes: [{ path: '/api', upstream: `${api.url}/v1`, token, ...more }] }))

async function signedIn(world: World) {
  const browser = world.browser()
  await browser.signIn()
  return browser
}

/** What the upstream was shown last: the claims of the access token. */
function shown(world: World) {
  const [scheme, token = ''] = String(world.api.last().headers.authorization).split(' ')
  expect(scheme).toBe('Bearer')
  return decodeJwt(token)
}

const grantsOf = ({ as }: World, grant: string) =>
  as.to('/token').filter(({ body }) => body.get('grant_type') === grant)
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
const invalidToken = { 'www-authenticate': 'Bearer error="invalid_token"' }

/** Refuses the first token it is shown, and none after it. */
function refusesFirstToken({ api }: World) {
  let refused: string | undefined
  api.answer = ({ headers }, response) => {
    refused ??= headers.authorization
    const isRefused = headers.authorization === refused
    response.writeHead(isRefused ? 401 : 200, isRefused ? invalidToken : {}).end('{}')
  }
}

describe('a route with the token of the application itself (client)', () => {
  test('serves who is not signed in, and asks for one token for all', async () => {
    const world = await worldWith({ kind: 'client', resource: 'https://reports.example', scope: 'read' })
    const calls = Array.from({ length: 20 }, () => world.browser().fetch('/api/x'))
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200))
    expect(shown(world)).toMatchObject({ sub: world.as.clientId, aud: 'https://reports.example', scope: 'read' })
    expect(grantsOf(world, 'client_credentials')).toHaveLength(1)
    await world.browser().fetch('/api/x')
    expect(grantsOf(world, 'client_credentials')).toHaveLength(1)
  })

  test('looks at no session: nothing is set, and nobody is told apart', async () => {
    const world = await worldWith('client')
    const browser = await signedIn(world).catch(() => world.browser())
    const answer = await browser.fetch('/api/x')
    expect(answer.setCookie).toEqual([])
    expect(shown(world)).toMatchObject({ sub: world.as.clientId })
  })

  test('fetches another, once, when the upstream refuses it', async () => {
    const world = await worldWith('client')
    refusesFirstToken(world)
    expect((await world.browser().fetch('/api/x')).status).toBe(200)
    expect(grantsOf(world, 'client_credentials')).toHaveLength(2)
  })

  test('passes the 401 on when fresh tokens are refused too, and does not ask for one with every call', async () => {
    const world = await worldWith('client')
    world.api.answer = (_, response) => response.writeHead(401, invalidToken).end('no')
    for (let call = 0; call < 5; call++) expect((await world.browser().fetch('/api/x')).status).toBe(401)
    expect(grantsOf(world, 'client_credentials').length).toBeLessThanOrEqual(2)
  })

  test.each([
    ['our client is refused', 401, 'invalid_client'],
    ['the server is overloaded', 503, 'temporarily_unavailable'],
  ])('fails thirty calls at once with one request when %s', async (_, status, error) => {
    const world = await worldWith('client')
    world.as.behaviour.faults['/token'] = async () => {
      await passed(100)
      return { status, body: { error } }
    }
    const calls = Array.from({ length: 30 }, () => world.browser().fetch('/api/x'))
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([503]))
    expect(grantsOf(world, 'client_credentials')).toHaveLength(1)
  })

  test('goes on with a token that is still good when no other can be had, without asking with every call', async () => {
    const world = await worldWith('client')
    world.as.behaviour.expiresIn = 4
    await world.browser().fetch('/api/x')
    await passed(3_100)
    world.as.behaviour.faults['/token'] = () => ({ status: 401, body: { error: 'invalid_client' } })
    for (let call = 0; call < 20; call++) expect((await world.browser().fetch('/api/x')).status).toBe(200)
    expect(grantsOf(world, 'client_credentials')).toHaveLength(2)
  })

  test('is 503 while the authorization server is away, and works again by itself', async () => {
    const world = await worldWith('client')
    world.as.behaviour.faults['/token'] = () => ({ status: 503, body: 'later' })
    const answer = await world.browser().fetch('/api/x')
    expect(answer.status).toBe(503)
    expect(answer.headers.get('coatcheck-error')).toBe('authorization_server_unavailable')
    expect(answer.headers.get('retry-after')).not.toBeNull()
    world.as.behaviour.faults = {}
    await expect.poll(async () => (await world.browser().fetch('/api/x')).status).toBe(200)
  })
})

describe('a route for users and the application (user-or-client)', () => {
  test("shows the user's token when somebody is signed in, and the application's to everybody else", async () => {
    const world = await worldWith('user-or-client')
    await world.browser().fetch('/api/x')
    expect(shown(world)).toMatchObject({ sub: world.as.clientId })
    const browser = await signedIn(world)
    await browser.fetch('/api/x')
    expect(shown(world)).toMatchObject({ sub: 'alice' })
  })

  test('never makes the application of a user whose session failed: broken, ended or not to be renewed', async () => {
    const world = await worldWith('user-or-client')
    const browser = await signedIn(world)
    const cookie = browser.cookieHeader()
    const broken = cookie.replace(/.$/, '!')
    expect((await world.browser().fetch('/api/x', { headers: { cookie: broken } })).status).toBe(401)
    await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    const ended = await world.browser().fetch('/api/x', { headers: { cookie } })
    expect(ended.status).toBe(401)
    expect(ended.headers.get('coatcheck-error')).toBe('session_expired')
    expect(world.api.requests).toEqual([])
  })

  test('is 503 and not the application while the user cannot be renewed', async () => {
    const world = await startWorld(({ api, as }) => {
      as.behaviour.expiresIn = 1
      return { routes: [{ path: '/api', upstream: api.url, token: 'user-or-client' }] }
    })
    const browser = await signedIn(world)
    world.as.behaviour.away = true
    await expect.poll(async () => (await browser.fetch('/api/x')).status).toBe(503)
    for (const { headers } of world.api.requests) {
      expect(decodeJwt(String(headers.authorization).slice(7)).sub).toBe('alice')
    }
  })
})

describe('a route with a token for its API (resource, audience, scope)', () => {
  const orders = { kind: 'user', resource: 'https://orders.example', scope: 'orders' } as const
  const bills = { kind: 'user', audience: 'bills' } as const
  const two = (overrides: Partial<ConfigInput> = {}) =>
    startWorld(({ api }) => ({
      routes: [
        { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
        { path: '/api/orders', upstream: `${api.url}/orders`, token: orders },
        { path: '/api/more-orders', upstream: `${api.url}/orders`, token: orders },
        { path: '/api/bills', upstream: `${api.url}/bills`, token: bills },
      ],
      ...overrides,
    }))

  test('gets its own token, with one refresh each, and the session keeps its own', async () => {
    const world = await two()
    const browser = await signedIn(world)
    const paths = ['/api/x', '/api/orders/1', '/api/bills/1', '/api/x', '/api/more-orders/1', '/api/orders/2']
    const audiences: unknown[] = []
    for (const path of paths) {
      expect((await browser.fetch(path)).status).toBe(200)
      audiences.push(shown(world).aud)
    }
    expect(audiences).toEqual(['api', orders.resource, 'bills', 'api', orders.resource, orders.resource])
    expect(grantsOf(world, 'refresh_token').map(({ body }) => [body.get('resource'), body.get('audience')])).toEqual([
      [orders.resource, null],
      [null, 'bills'],
    ])
    expect(world.as.reuses).toEqual([])
  })

  test('is asked for at the sign-in, so that the user agrees to it once', async () => {
    const world = await two()
    await signedIn(world)
    const [request] = world.as.to('/authorize')
    expect(request?.query.getAll('resource')).toEqual([orders.resource])
    expect(request?.query.get('scope')?.split(' ')).toContain('orders')
  })

  test.each([true, false])(
    'is had once for fifty calls that need it at the same time (rotation: %s)',
    async (rotate) => {
      const world = await two()
      world.as.behaviour.rotate = rotate
      const browser = await signedIn(world)
      const calls = Array.from({ length: 50 }, (_, n) => browser.fetch(n % 2 ? '/api/orders/1' : '/api/bills/1'))
      expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200))
      expect(grantsOf(world, 'refresh_token')).toHaveLength(2)
      expect(world.as.reuses).toEqual([])
    },
  )

  test('is replaced once when the upstream refuses it', async () => {
    const world = await two()
    const browser = await signedIn(world)
    refusesFirstToken(world)
    expect((await browser.fetch('/api/orders/1')).status).toBe(200)
    expect(grantsOf(world, 'refresh_token')).toHaveLength(2)
  })

  test('is 403 when the authorization server gives none, without asking again and again, and the session goes on', async () => {
    const world = await two()
    const browser = await signedIn(world)
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_target' } })
    for (let call = 0; call < 5; call++) {
      const answer = await browser.fetch('/api/orders/1')
      expect(answer.status).toBe(403)
      expect(answer.headers.get('coatcheck-error')).toBe('forbidden')
    }
    expect(grantsOf(world, 'refresh_token')).toHaveLength(1)
    expect((await browser.fetch('/api/x')).status).toBe(200)
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_scope' } })
    const answer = await browser.fetch('/api/bills/1')
    expect(answer.headers.get('coatcheck-error')).toBe('insufficient_scope')
  })

  test('is asked for once when twelve calls at once cannot have it', async () => {
    const world = await two()
    const browser = await signedIn(world)
    world.as.behaviour.faults['/token'] = async () => {
      await passed(100)
      return { status: 400, body: { error: 'invalid_target' } }
    }
    const calls = Array.from({ length: 12 }, () => browser.fetch('/api/orders/1'))
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([403]))
    expect(grantsOf(world, 'refresh_token')).toHaveLength(1)
  })

  test('ends the session when the refresh token is dead', async () => {
    const world = await two()
    const browser = await signedIn(world)
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_grant' } })
    const answer = await browser.fetch('/api/orders/1')
    expect(answer.status).toBe(401)
    expect(answer.headers.get('coatcheck-error')).toBe('session_expired')
    expect((await browser.fetch('/api/x')).status).toBe(401)
  })
})

describe('a route whose token is exchanged (RFC 8693)', () => {
  const policy = { kind: 'exchange', audience: 'ledger', scope: 'write' } as const

  test("shows what the user's token was exchanged for, and exchanges it once", async () => {
    const world = await worldWith(policy)
    const browser = await signedIn(world)
    const calls = Array.from({ length: 20 }, () => browser.fetch('/api/x'))
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200))
    expect(shown(world)).toMatchObject({ sub: 'alice', aud: 'ledger', scope: 'write' })
    const [request, ...more] = grantsOf(world, exchange)
    expect(more).toEqual([])
    expect(decodeJwt(request?.body.get('subject_token') ?? '').aud).toBe('api')
    expect(request?.body.get('subject_token_type')).toBe('urn:ietf:params:oauth:token-type:access_token')
  })

  test('never shows one user what was exchanged for another', async () => {
    const world = await worldWith(policy)
    const alice = await signedIn(world)
    await alice.fetch('/api/x')
    world.as.behaviour.user = { sub: 'bob' }
    const bob = await signedIn(world)
    await bob.fetch('/api/x')
    expect(shown(world).sub).toBe('bob')
  })

  test.each([
    ['an ID token', { issued_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    ['a refresh token', { issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    ['something of no type', { issued_token_type: undefined }],
  ])('R081 shows the upstream nothing when the answer is %s', async (_, answer) => {
    const world = await worldWith(policy)
    const browser = await signedIn(world)
    world.as.behaviour.tokenResponse = (response) => void Object.assign(response, answer)
    expect((await browser.fetch('/api/x')).status).toBe(403)
    expect(world.api.requests).toEqual([])
  })

  test('R081 shows nothing that is not a bearer token', async () => {
    const world = await worldWith(policy)
    const browser = await signedIn(world)
    world.as.behaviour.tokenResponse = (response) => void Object.assign(response, { token_type: 'N_A' })
    expect((await browser.fetch('/api/x')).status).toBe(503)
    expect(world.api.requests).toEqual([])
  })

  test('is 403 when the exchange is refused, and the session goes on', async () => {
    const world = await worldWith(policy)
    const browser = await signedIn(world)
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_request' } })
    expect((await browser.fetch('/api/x')).status).toBe(403)
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true })
  })
})

describe('an exchange that the server refuses (RFC 8693, section 2.2.2)', () => {
  const policy = { kind: 'exchange', audience: 'ledger' } as const

  /** Refuses to exchange some tokens, after a moment. */
  function exchangesNone(world: World, error: string, of: (subject: string) => boolean = () => true) {
    world.as.behaviour.faults['/token'] = async ({ body }) => {
      if (body.get('grant_type') !== exchange || !of(body.get('subject_token') ?? '')) return undefined
      await passed(100)
      return { status: 400, body: { error } }
    }
  }

  test.each(['invalid_request', 'invalid_grant', 'invalid_token'])(
    "because the session's token was revoked (%s) gets another of that, once for twelve calls at once",
    async (error) => {
      const world = await worldWith(policy)
      const browser = await signedIn(world)
      let revoked: string | undefined
      exchangesNone(world, error, (subject) => {
        revoked ??= subject
        return subject === revoked
      })
      const calls = Array.from({ length: 12 }, () => browser.fetch('/api/x'))
      expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200))
      expect(grantsOf(world, 'refresh_token')).toHaveLength(1)
      expect(grantsOf(world, exchange)).toHaveLength(2)
      expect((await browser.fetch('/api/x')).status).toBe(200)
      expect(world.as.to('/token')).toHaveLength(4)
      expect(world.as.reuses).toEqual([])
    },
  )

  test.each([
    ['invalid_request', 2, 1],
    ['invalid_target', 1, 0],
    ['unsupported_grant_type', 1, 0],
  ])(
    'whatever token it is given (%s) is asked for no more than it takes to know',
    async (error, exchanges, refreshes) => {
      const world = await worldWith(policy)
      const browser = await signedIn(world)
      exchangesNone(world, error)
      const calls = Array.from({ length: 12 }, () => browser.fetch('/api/x'))
      const answers = [...(await Promise.all(calls)), await browser.fetch('/api/x')]
      expect(new Set(answers.map(({ headers }) => headers.get('coatcheck-error')))).toEqual(new Set(['forbidden']))
      expect(grantsOf(world, exchange)).toHaveLength(exchanges)
      expect(grantsOf(world, 'refresh_token')).toHaveLength(refreshes)
      expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true })
    },
  )

  test('and whose session is revoked too ends that', async () => {
    const world = await worldWith(policy)
    const browser = await signedIn(world)
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_grant' } })
    const calls = Array.from({ length: 12 }, () => browser.fetch('/api/x'))
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([401]))
    expect(grantsOf(world, 'refresh_token')).toHaveLength(1)
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
  })
})

describe('a route with an API key (static)', () => {
  const value = 'CANARY-api-key'

  test('spends it for who is signed in, and for nobody else', async () => {
    const world = await worldWith({ kind: 'static', value })
    const stranger = await world.browser().fetch('/api/x')
    expect(stranger.status).toBe(401)
    expect(world.api.requests).toEqual([])
    await (await signedIn(world)).fetch('/api/x')
    expect(world.api.last().headers.authorization).toBe(`Bearer ${value}`)
  })

  test('sends it in the header that was named, and the user cannot send another there', async () => {
    const world = await worldWith({ kind: 'static', value, header: 'X-Api-Key' })
    const browser = await signedIn(world)
    await browser.fetch('/api/x', { headers: { 'x-api-key': 'mine', 'X-API-KEY': 'mine' } })
    const { rawHeaders, headers } = world.api.last()
    expect(rawHeaders.filter((name) => name.toLowerCase() === 'x-api-key')).toHaveLength(1)
    expect(headers['x-api-key']).toBe(value)
    expect(headers.authorization).toBeUndefined()
  })

  test('passes the 401 of the upstream on: there is no other key', async () => {
    const world = await worldWith({ kind: 'static', value })
    const browser = await signedIn(world)
    world.api.answer = (_, response) => response.writeHead(401, invalidToken).end('no')
    expect((await browser.fetch('/api/x')).status).toBe(401)
    expect(world.api.requests).toHaveLength(1)
    expect(grantsOf(world, 'refresh_token')).toEqual([])
  })
})

describe('an authorization server that fails over other tokens than those of sessions', () => {
  const kinds = {
    'of the application, asked for by anybody (client)': 'client',
    'that are exchanged (exchange)': { kind: 'exchange', audience: 'ledger' },
    'for one API (resource)': { kind: 'user', resource: 'https://ledger.example' },
  } as const

  test.each(Object.entries(kinds))('tokens %s: sessions are renewed all the same', async (_, token) => {
    const world = await startWorld(({ api }) => ({
      routes: [
        { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
        { path: '/api/other', upstream: `${api.url}/other`, token },
      ],
    }))
    world.as.behaviour.expiresIn = 0.05
    const waiting = await signedIn(world)
    world.as.behaviour.expiresIn = 300
    world.as.behaviour.faults['/token'] = ({ body }) => {
      const grant = body.get('grant_type')
      const isOfSessions = grant === 'authorization_code' || (grant === 'refresh_token' && !body.has('resource'))
      return isOfSessions ? undefined : { status: 500, body: 'broken' }
    }
    // More than it takes to leave a server alone.
    for (let failure = 0; failure < 7; failure++) {
      const other = token === 'client' ? world.browser() : await signedIn(world)
      expect((await other.fetch('/api/other/x')).status).toBe(503)
    }
    expect((await waiting.fetch('/api/x')).status).toBe(200)
  })
})

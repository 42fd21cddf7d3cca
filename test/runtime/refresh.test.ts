import { describe, expect, test } from 'vitest'
import type { Browser, BrowserResponse } from '../support/browser.ts'
import { renewedCookies, startWorld, type World } from '../support/coatcheck.ts'
import { passed } from '../support/time.ts'

/** Signs in with an access token that is over at once, behind a server that gives good ones from then on. */
async function signedInWithExpiredToken(world: World): Promise<Browser> {
  const browser = world.browser()
  world.as.behaviour.expiresIn = 0.05
  await browser.signIn()
  world.as.behaviour.expiresIn = 300
  await passed(60)
  return browser
}

const refreshes = (world: World) =>
  world.as.to('/token').filter(({ body }) => body.get('grant_type') === 'refresh_token')

/** An upstream that answers everything at once but `target`, which waits to be released. */
function heldUpstream({ api }: World, target: string) {
  const reached = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  api.answer = async (request, response) => {
    if (request.url === target) {
      reached.resolve()
      await released.promise
    }
    response.end('{}')
  }
  return { reached: reached.promise, release: released.resolve }
}

const namesIn = ({ setCookie }: BrowserResponse) => setCookie.map((line) => line.split('=')[0] ?? '')

const tokensSeen = (world: World) => new Set(world.api.requests.map(({ headers }) => headers.authorization))

describe('a session whose access token is over', () => {
  test('is refreshed on the way, and the browser gets the new cookie with the answer', async () => {
    const world = await startWorld()
    const browser = await signedInWithExpiredToken(world)
    const before = browser.cookieHeader()
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(200)
    expect(namesIn(answer)).toEqual(renewedCookies)
    expect(browser.cookieHeader() === before).toBe(renewedCookies.length === 0)
    await browser.fetch('/api/orders')
    expect(refreshes(world)).toHaveLength(1)
    expect(tokensSeen(world).size).toBe(1)
  })

  test('is refreshed once for fifty requests at a time, and none of them notices', async () => {
    const world = await startWorld()
    const browser = await signedInWithExpiredToken(world)
    const old = browser.cookieHeader()
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => browser.fetch('/api/orders', { headers: { cookie: old } })),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200))
    expect(refreshes(world)).toHaveLength(1)
    expect(world.as.reuses).toEqual([])
    expect(tokensSeen(world).size).toBe(1)
    expect(new Set(answers.map(({ setCookie }) => setCookie.join()))).toHaveLength(1)
  })

  test('an answer that took long does not put its older cookie over a newer one', async () => {
    const world = await startWorld()
    const browser = await signedInWithExpiredToken(world)
    const old = browser.cookieHeader()
    const held = heldUpstream(world, '/v1/slow')
    world.as.behaviour.expiresIn = 0.05
    const slow = browser.fetch('/api/slow', { headers: { cookie: old } })
    await held.reached
    world.as.behaviour.expiresIn = 300
    await passed(60)
    const newest = await browser.fetch('/api/orders')
    held.release()
    const late = await slow
    expect(late.status).toBe(200)
    expect(late.setCookie).toEqual(newest.setCookie)
    expect(world.as.reuses).toEqual([])
  })

  test('a late request with the old cookie is handed the new tokens and the new cookie', async () => {
    const world = await startWorld()
    const browser = await signedInWithExpiredToken(world)
    const old = browser.cookieHeader()
    const first = await browser.fetch('/api/orders')
    const late = await browser.fetch('/api/orders', { headers: { cookie: old } })
    expect(late.status).toBe(200)
    expect(late.setCookie).toEqual(first.setCookie)
    expect(refreshes(world)).toHaveLength(1)
  })

  test('catches up with several refreshes at once', async () => {
    const world = await startWorld()
    const browser = await signedInWithExpiredToken(world)
    const oldest = browser.cookieHeader()
    world.as.behaviour.expiresIn = 1
    await browser.fetch('/api/orders')
    await passed(1_050)
    world.as.behaviour.expiresIn = 300
    await browser.fetch('/api/orders')
    const late = await browser.fetch('/api/orders', { headers: { cookie: oldest } })
    expect(late.status).toBe(200)
    expect(refreshes(world)).toHaveLength(2)
    expect(world.as.reuses).toEqual([])
  })

  test('ends with invalid_grant: 401 session_expired, cookies deleted, and the server is not asked again', async () => {
    const world = await startWorld()
    const browser = await signedInWithExpiredToken(world)
    const copied = browser.cookieHeader()
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_grant' } })
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(401)
    expect(answer.json()).toMatchObject({ code: 'session_expired', loginUrl: '/auth/login' })
    expect([...browser.cookies.keys()]).toEqual(['coatcheck-login'])
    const again = await browser.fetch('/api/orders', { headers: { cookie: copied } })
    expect(again.json().code).toBe('session_expired')
    expect(refreshes(world)).toHaveLength(1)
    expect(world.api.requests).toEqual([])
  })

  test.each([
    ['a server error', { status: 500, body: 'oops' }],
    ['too many requests', { status: 429, body: { error: 'slow_down' } }],
    ['our own bad credentials', { status: 401, body: { error: 'invalid_client' } }],
    ['nonsense', { status: 200, headers: { 'content-type': 'application/json' }, body: '{"access' }],
  ])('survives %s: 503 with Retry-After, and service resumes by itself', async (_, fault) => {
    const world = await startWorld()
    const browser = await signedInWithExpiredToken(world)
    world.as.behaviour.faults['/token'] = () => fault
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(503)
    expect(answer.headers.get('coatcheck-error')).toBe('authorization_server_unavailable')
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(answer.setCookie).toEqual([])
    world.as.behaviour.faults = {}
    await expect.poll(async () => (await browser.fetch('/api/orders')).status, { timeout: 5_000 }).toBe(200)
  })

  test('survives a server that hangs, for no longer than refresh.timeout', async () => {
    const world = await startWorld({ refresh: { timeout: '300ms' } })
    const browser = await signedInWithExpiredToken(world)
    world.as.behaviour.faults['/token'] = () => new Promise(() => {})
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(503)
    await expect.poll(() => world.logged('refresh.failed')).toMatchObject([{ reason: 'timeout', sessionKept: true }])
  })

  test('without a refresh token asks for a new sign-in, and says so in /auth/session', async () => {
    const world = await startWorld()
    world.as.behaviour.refreshTokens = false
    const browser = await signedInWithExpiredToken(world)
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(401)
    expect(answer.json()).toMatchObject({ code: 'reauth_required', loginUrl: '/auth/login' })
    expect((await browser.fetch('/auth/session')).json().session.state).toBe('reauth_required')
  })

  test('carries on with the same refresh token where the server does not rotate', async () => {
    const world = await startWorld()
    world.as.behaviour.rotate = false
    const browser = await signedInWithExpiredToken(world)
    world.as.behaviour.expiresIn = 0.05
    await browser.fetch('/api/orders')
    await passed(60)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(new Set(refreshes(world).map(({ body }) => body.get('refresh_token'))).size).toBe(1)
  })
})

describe('an authorization server that is away', () => {
  test('is left alone after a few requests, whoever asks, and all goes on when it is back', async () => {
    const world = await startWorld()
    const browsers = []
    for (let index = 0; index < 12; index++) browsers.push(await signedInWithExpiredToken(world))
    world.as.behaviour.faults['/token'] = () => ({ status: 503, body: 'CANARY' })
    for (const browser of browsers) {
      const answer = await browser.fetch('/api/orders')
      expect([answer.status, answer.json().code]).toEqual([503, 'authorization_server_unavailable'])
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    expect(refreshes(world).length).toBeLessThan(browsers.length)
    world.as.behaviour.faults = {}
    for (const browser of browsers) {
      await expect.poll(async () => (await browser.fetch('/api/orders')).status, { interval: 200 }).toBe(200)
    }
    expect(world.as.reuses).toEqual([])
  })

  test('is not thought to be away because of what it says about one session', async () => {
    const world = await startWorld()
    const browsers = []
    for (let index = 0; index < 8; index++) browsers.push(await signedInWithExpiredToken(world))
    const good = await signedInWithExpiredToken(world)
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_grant' } })
    for (const browser of browsers) expect((await browser.fetch('/api/orders')).status).toBe(401)
    world.as.behaviour.faults = {}
    expect((await good.fetch('/api/orders')).status).toBe(200)
  })
})

describe('a session whose access token is about to end', () => {
  test('is served at once with the token that is still good, while one refresh runs behind it', async () => {
    const world = await startWorld({ refresh: { lead: '60s' } })
    const browser = world.browser()
    world.as.behaviour.expiresIn = 4
    await browser.signIn()
    world.as.behaviour.expiresIn = 300
    let answerToken = () => {}
    world.as.behaviour.faults['/token'] = () => new Promise((resolve) => (answerToken = () => resolve(undefined)))
    await passed(3_150)
    const answers = await Promise.all(Array.from({ length: 10 }, () => browser.fetch('/api/orders')))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(answers.flatMap(({ setCookie }) => setCookie)).toEqual([])
    await expect.poll(() => refreshes(world).length).toBe(1)
    answerToken()
    const set: string[] = []
    await expect
      .poll(async () => {
        set.push(...namesIn(await browser.fetch('/api/orders')))
        return tokensSeen(world).size
      })
      .toBe(2)
    expect(set).toEqual(renewedCookies)
    expect(refreshes(world)).toHaveLength(1)
  })
})

describe('an upstream that refuses the access token', () => {
  test('with invalid_token causes one refresh and one more try', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    let calls = 0
    world.api.answer = (_, response) => {
      const refused = ++calls === 1
      response.writeHead(refused ? 401 : 200, refused ? { 'www-authenticate': 'Bearer error="invalid_token"' } : {})
      response.end('{}')
    }
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(200)
    expect(namesIn(answer)).toEqual(renewedCookies)
    expect(refreshes(world)).toHaveLength(1)
    expect(tokensSeen(world).size).toBe(2)
  })

  test('again and again is tried twice and refreshed once, and its 401 is passed on without the challenge', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    world.api.answer = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' })
      response.end('no')
    }
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(401)
    expect(answer.text).toBe('no')
    expect(answer.headers.get('coatcheck-error')).toBeNull()
    expect(answer.headers.get('www-authenticate')).toBeNull()
    expect(world.api.requests).toHaveLength(2)
    expect(refreshes(world)).toHaveLength(1)
  })

  test('is asked again with the same body when that is short', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    let calls = 0
    world.api.answer = (_, response) => {
      const refused = ++calls === 1
      response.writeHead(refused ? 401 : 200, refused ? { 'www-authenticate': 'Bearer error="invalid_token"' } : {})
      response.end('{}')
    }
    for (const body of ['x', 'y'.repeat(65_536)]) {
      calls = 0
      world.api.requests.length = 0
      const answer = await browser.fetch('/api/orders', { method: 'POST', body })
      expect(answer.status).toBe(200)
      expect(namesIn(answer)).toEqual(renewedCookies)
      expect(world.api.requests.map((request) => request.body.toString() === body)).toEqual([true, true])
    }
  })

  test('is not asked twice when the request has a body too long to be kept', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    world.api.answer = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' })
      response.end('no')
    }
    expect((await browser.fetch('/api/orders', { method: 'POST', body: 'x'.repeat(65_537) })).status).toBe(401)
    expect(world.api.requests).toHaveLength(1)
  })
})

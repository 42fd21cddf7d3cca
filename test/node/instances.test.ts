// Two instances of coatcheck behind one address, with a store between them.
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { type AuthorizationServer, startAuthorizationServer } from '../support/authorization-server.ts'
import type { Browser } from '../support/browser.ts'
import { sessionKey, startCoatcheck, type World } from '../support/coatcheck.ts'
import { fileWith } from '../support/command.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { startRedis } from '../support/redis-server.ts'
import { passed } from '../support/time.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

/** Names and values without attributes, in which seconds are counted. */
const valuesOf = (setCookie: readonly string[]) => setCookie.map((line) => line.split(';')[0])

type Storage = 'cookie' | 'store'

interface Pair {
  as: AuthorizationServer
  one: World
  two: World
  /** A browser at the other instance, with the cookies of this one. */
  copyAtTwo(browser: Browser): Browser
}

async function startPair(
  store: ConfigInput['store'],
  storage: Storage,
  overrides: Partial<ConfigInput> | ((api: Upstream) => Partial<ConfigInput>) = {},
  keys: { one: string[]; two: string[] } = { one: [sessionKey()], two: [] },
): Promise<Pair> {
  const [as, api] = [closeAfterTest(await startAuthorizationServer()), closeAfterTest(await startUpstream())]
  const changes = typeof overrides === 'function' ? overrides(api) : overrides
  const one = await startCoatcheck(as, api, { store, session: { keys: keys.one, storage }, ...changes })
  const session = { ...one.config.session, keys: keys.two.length > 0 ? keys.two : keys.one }
  const two = await startCoatcheck(as, api, ({ config: { listen = {} } }) => ({ ...one.config, listen, session }))
  return {
    as,
    one,
    two,
    copyAtTwo(browser) {
      const copy = two.browser()
      for (const [name, value] of browser.cookies) copy.cookies.set(name, value)
      return copy
    },
  }
}

const refreshes = (as: AuthorizationServer) =>
  as.to('/token').filter(({ body }) => body.get('grant_type') === 'refresh_token')

/** Signs in with an access token that is over at once; later ones are good. */
async function signInSpent({ as, one }: Pair): Promise<Browser> {
  as.behaviour.expiresIn = 0.1
  const browser = one.browser()
  await browser.signIn()
  as.behaviour.expiresIn = 300
  await passed(120)
  return browser
}

const stores: [string, () => Promise<ConfigInput['store']>][] = [
  ['sqlite', async () => ({ type: 'sqlite', path: join(dirname(await fileWith('')), 'store.db') })],
  ['redis', async () => ({ type: 'redis', url: closeAfterTest(await startRedis()).url })],
]
const combinations = stores.flatMap(([name, open]) =>
  (['cookie', 'store'] as const).map((storage) => [name, storage, open] as const),
)

describe.each(combinations)('two instances with %s, tokens in the %s,', (_, storage, open) => {
  test('put no older cookie over a newer one, and none at all over a sign-out, however long an answer takes', async () => {
    const pair = await startPair(await open(), storage)
    for (const ending of ['refreshed', 'signed out'] as const) {
      const browser = await signInSpent(pair)
      const there = pair.copyAtTwo(browser)
      const reached = Promise.withResolvers<void>()
      const released = Promise.withResolvers<void>()
      pair.one.api.answer = async (request, response) => {
        if (request.url === '/v1/slow') {
          reached.resolve()
          await released.promise
        }
        response.end('{}')
      }
      pair.as.behaviour.expiresIn = 0.05
      const slow = browser.fetch('/api/slow')
      await reached.promise
      pair.as.behaviour.expiresIn = 300
      await passed(60)
      const newest =
        ending === 'refreshed'
          ? await there.fetch('/api/orders')
          : await there.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
      // Longer than anybody is let in on what an instance knew before.
      await passed(1_100)
      released.resolve()
      const { setCookie } = await slow
      if (ending === 'signed out') expect(setCookie).toEqual([])
      else if (setCookie.length > 0) expect(valuesOf(setCookie)).toEqual(valuesOf(newest.setCookie))
      expect(pair.as.reuses).toEqual([])
    }
  })

  test('R609 refresh once for fifty requests at both, and hand on what came of it', async () => {
    const pair = await startPair(await open(), storage)
    const browser = await signInSpent(pair)
    const cookie = browser.cookieHeader()
    const there = pair.copyAtTwo(browser)
    const calls = Array.from({ length: 50 }, (_, index) =>
      (index % 2 ? browser : there).fetch('/api/orders', { headers: { cookie } }),
    )
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(50).fill(200))
    expect(refreshes(pair.as)).toHaveLength(1)
    expect(pair.as.reuses).toEqual([])
    expect(new Set(pair.one.api.requests.map(({ headers }) => headers.authorization)).size).toBe(1)
  })

  test('R516 replace one token, and not one each, for an API that refuses all of them', async () => {
    const pair = await startPair(await open(), storage)
    const browser = pair.one.browser()
    await browser.signIn()
    pair.one.api.answer = (_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('no')
    for (let call = 0; call < 5; call++) {
      const there = pair.copyAtTwo(browser)
      expect((await there.fetch('/api/orders')).status).toBe(401)
      for (const [name, value] of there.cookies) browser.cookies.set(name, value)
      expect((await browser.fetch('/api/orders')).status).toBe(401)
    }
    expect(refreshes(pair.as)).toHaveLength(1)
  })

  test.each([
    ['the application itself', 'client'],
    ['the session, exchanged', { kind: 'exchange', audience: 'ledger' }],
    ['the session, for one API', { kind: 'user', resource: 'https://orders.example' }],
  ] as const)('ask once for the token of %s, for fifty calls at both and for later ones', async (_, token) => {
    const pair = await startPair(await open(), storage, (api) => ({
      routes: [{ path: '/api', upstream: api.url, token }],
    }))
    const browser = pair.one.browser()
    await browser.signIn()
    const cookie = browser.cookieHeader()
    const there = pair.copyAtTwo(browser)
    const call = (n: number) => (n % 2 ? browser : there).fetch('/api/orders', { headers: { cookie } })
    // Long enough for all of them to come while it is asked for.
    pair.as.behaviour.tokenResponse = () => passed(100)
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => call(n)))
    for (const later of [await call(1), await call(2)]) answers.push(later)
    expect(answers.map(({ status }) => status)).toEqual(Array(52).fill(200))
    expect(pair.as.to('/token').slice(1)).toHaveLength(1)
    expect(new Set(pair.one.api.requests.map(({ headers }) => headers.authorization)).size).toBe(1)
  })

  test('R607 know within a second that a session was signed out: its copy is dead at the other', async () => {
    const pair = await startPair(await open(), storage)
    const browser = pair.one.browser()
    await browser.signIn()
    const copy = pair.copyAtTwo(browser)
    expect((await copy.fetch('/api/orders')).status).toBe(200)
    await browser.fetch('/auth/logout', { method: 'POST' })
    await passed(1_000)
    const answer = await copy.fetch('/api/orders')
    expect([answer.status, answer.json().code]).toEqual([401, 'session_expired'])
  })

  test('R151 know within a second that the authorization server ended a session', async () => {
    const pair = await startPair(await open(), storage)
    const browser = pair.one.browser()
    await browser.signIn()
    const token = await pair.as.logoutToken({ sub: 'alice' })
    const told = await pair.two.browser().send('/auth/backchannel-logout', {
      method: 'POST',
      body: `logout_token=${token}`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect(told.status).toBe(200)
    await passed(1_000)
    expect((await browser.fetch('/api/orders')).json().code).toBe('session_expired')
  })

  test('let a sign-out at one beat a refresh at the other, and withdraw what it brought', async () => {
    const pair = await startPair(await open(), storage)
    const browser = await signInSpent(pair)
    const copy = pair.copyAtTwo(browser)
    let answerNow = () => {}
    const waiting = new Promise<undefined>((resolve) => {
      answerNow = () => resolve(undefined)
    })
    pair.as.behaviour.faults['/token'] = () => waiting
    // A server on which a revoked refresh token is good for what is under way.
    pair.as.behaviour.faults['/revoke'] = () => ({ body: '' })
    const call = browser.fetch('/api/orders')
    await expect.poll(() => refreshes(pair.as).length).toBe(1)
    await copy.fetch('/auth/logout', { method: 'POST' })
    answerNow()
    const answer = await call
    expect([answer.status, answer.json().code]).toEqual([401, 'session_expired'])
    expect(pair.one.api.requests).toEqual([])
    // The tokens of the copy, and those that came back: a refresh token and an access token each.
    await expect.poll(() => pair.as.to('/revoke').length).toBe(4)
  })

  test('list the sessions that began at either, and end them at either', async () => {
    const pair = await startPair(await open(), storage)
    const [here, there] = [pair.one.browser(), pair.two.browser()]
    await here.signIn()
    await there.signIn()
    const { id } = (await here.fetch('/auth/session')).json().session
    await expect.poll(async () => (await there.fetch('/auth/sessions')).json().sessions).toHaveLength(2)
    expect((await there.fetch(`/auth/sessions/${id}`, { method: 'DELETE' })).status).toBe(200)
    await passed(1_000)
    expect((await here.fetch('/api/orders')).json().code).toBe('session_expired')
  })

  test('understand each other in the middle of a key rotation', async () => {
    const [old, next] = [sessionKey(1), sessionKey(2)]
    const pair = await startPair(await open(), storage, {}, { one: [old, next], two: [next, old] })
    const browser = await signInSpent(pair)
    const cookie = browser.cookieHeader()
    const there = pair.copyAtTwo(browser)
    const calls = Array.from({ length: 20 }, (_, index) =>
      (index % 2 ? browser : there).fetch('/api/orders', { headers: { cookie } }),
    )
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(refreshes(pair.as)).toHaveLength(1)
    expect((await there.fetch('/auth/sessions', { method: 'DELETE' })).status).toBe(200)
    await passed(1_000)
    expect((await browser.fetch('/api/orders')).json().code).toBe('session_expired')
  })
})

describe.each(stores)('two instances with %s, tokens in the store,', (_, open) => {
  test('never spend a refresh token that the other spent long ago', async () => {
    const pair = await startPair(await open(), 'store', { refresh: { replayWindow: '1s' } })
    const browser = await signInSpent(pair)
    const cookie = browser.cookieHeader()
    const copy = pair.copyAtTwo(browser)
    // The other instance has seen the session, and remembers its first tokens.
    expect((await copy.fetch('/auth/session')).json().authenticated).toBe(true)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await passed(1_300)
    expect((await copy.fetch('/api/orders', { headers: { cookie } })).status).toBe(200)
    expect(refreshes(pair.as)).toHaveLength(1)
    expect(pair.as.reuses).toEqual([])
  })

  test('revoke at sign-out what the other has refreshed long ago', async () => {
    const pair = await startPair(await open(), 'store', { refresh: { replayWindow: '1s' } })
    const browser = await signInSpent(pair)
    const copy = pair.copyAtTwo(browser)
    expect((await copy.fetch('/auth/session')).json().authenticated).toBe(true)
    let newest = ''
    pair.as.behaviour.tokenResponse = (response) => {
      newest = String(response.refresh_token)
    }
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await passed(1_300)
    await copy.fetch('/auth/logout', { method: 'POST' })
    await expect.poll(() => pair.as.to('/revoke').map(({ body }) => body.get('token'))).toContain(newest)
  })
})

describe.each(['cookie', 'store'] as const)(
  'while Redis answers nothing, sessions with tokens in the %s',
  (storage) => {
    test('are refused with 503 and not lost, and nobody signs in; all is well when it answers again', async () => {
      const redis = closeAfterTest(await startRedis())
      const pair = await startPair({ type: 'redis', url: redis.url }, storage)
      const browser = pair.one.browser()
      await browser.signIn()
      redis.freeze(true)
      await passed(1_000)
      const before = browser.cookieHeader()
      const refused = await browser.fetch('/api/orders')
      expect([refused.status, refused.json().code]).toEqual([503, 'store_unavailable'])
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(browser.cookieHeader()).toBe(before)
      const [session, login] = [await browser.fetch('/auth/session'), await pair.one.browser().signIn()]
      expect([session.status, session.json().code]).toEqual([503, 'store_unavailable'])
      expect(login.status).toBe(503)
      redis.freeze(false)
      await expect.poll(async () => (await browser.fetch('/api/orders')).status, { timeout: 15_000 }).toBe(200)
      await expect.poll(() => pair.one.logged('store.failed')).not.toEqual([])
    })
  },
)

test('a sign-out while the store is away clears the browser, and is told to the others when the store is back', async () => {
  const redis = closeAfterTest(await startRedis())
  const pair = await startPair({ type: 'redis', url: redis.url }, 'cookie')
  const browser = pair.one.browser()
  await browser.signIn()
  const copy = pair.copyAtTwo(browser)
  redis.freeze(true)
  const answer = await browser.fetch('/auth/logout', { method: 'POST' })
  expect(answer.status).toBe(303)
  expect([...browser.cookies.keys()].filter((name) => !name.endsWith('-login'))).toEqual([])
  redis.freeze(false)
  // Somebody else at that instance is enough for it to try again.
  const other = pair.one.browser()
  await expect.poll(async () => (await other.signIn()).status, { timeout: 15_000 }).toBe(303)
  await expect.poll(async () => (await other.fetch('/api/orders')).status).toBe(200)
  await passed(1_000)
  expect((await copy.fetch('/api/orders')).json().code).toBe('session_expired')
})

// Attacks on the refresh: another user's ID token, a spent refresh token, a lost answer, a server that fails in every way
// (R017-R019, R048-R050, R121, R122, R126-R129; RFC 9700 4.14, OpenID Connect Core 12.2).
import { KeyObject } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import type { Answer, AuthorizationServer } from '../support/authorization-server.ts'
import type { Browser } from '../support/browser.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'
import { head, openConnection } from '../support/raw.ts'
import { passed } from '../support/time.ts'

type Claims = Record<string, unknown>

/** Access tokens live this long, in seconds. */
const short = 0.1

/** Signs in with a token that is over by the time this returns. */
async function withSpentToken(world: World): Promise<Browser> {
  world.as.behaviour.expiresIn = short
  const browser = world.browser()
  expect((await browser.signIn()).status).toBe(303)
  world.as.behaviour.expiresIn = 300
  await passed(short * 1_000 + 20)
  world.as.requests.length = 0
  return browser
}

const refreshes = (as: AuthorizationServer) =>
  as.to('/token').filter(({ body }) => body.get('grant_type') === 'refresh_token')

describe('R017 a refresh', () => {
  const world = faultWorld()

  test('authenticates the client, and the API sees only the new token', async () => {
    const browser = await withSpentToken(world)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const [refresh, ...more] = refreshes(world.as)
    expect(more).toEqual([])
    expect(refresh?.headers.authorization).toMatch(/^Basic /)
    expect([...(refresh?.body.keys() ?? [])].sort()).toEqual(['grant_type', 'refresh_token'])
    expect(world.api.requests).toHaveLength(1)
    expectNoCanary(world, browser)
  })

  test('R122 may come without an ID token', async () => {
    world.as.behaviour.idTokenOnRefresh = false
    const browser = await withSpentToken(world)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect((await browser.fetch('/auth/session')).json().user.sub).toBe('alice')
  })

  test('R050 may leave the refresh token as it is, twice', async () => {
    world.as.behaviour.rotate = false
    const browser = await withSpentToken(world)
    world.as.behaviour.expiresIn = short
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await passed(short * 1_000 + 20)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const tokens = refreshes(world.as).map(({ body }) => body.get('refresh_token'))
    expect(tokens.length).toBeGreaterThanOrEqual(2)
    expect(new Set(tokens).size).toBe(1)
  })

  test('R048 of twenty requests at once spends one refresh token, once', async () => {
    const browser = await withSpentToken(world)
    const answers = await Promise.all(Array.from({ length: 20 }, () => browser.fetch('/api/orders')))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(refreshes(world.as)).toHaveLength(1)
    expect(world.as.reuses).toEqual([])
  })

  test('R048 after refresh never spends a token twice', async () => {
    world.as.behaviour.expiresIn = 0.03
    const browser = world.browser()
    await browser.signIn()
    for (let time = 0; time < 100; time++) expect((await browser.fetch('/api/orders')).status).toBe(200)
    const tokens = refreshes(world.as).map(({ body }) => body.get('refresh_token'))
    expect(tokens.length).toBeGreaterThan(3)
    expect(new Set(tokens).size).toBe(tokens.length)
    expect(world.as.reuses).toEqual([])
  })
})

describe('R121 a refreshed ID token', () => {
  const world = faultWorld()
  const wrong: [string, Reason, (claims: Claims) => Claims][] = [
    ['of another issuer (refresh-token-invalid-issuer)', 'identity_changed', ({ iss }) => ({ iss: `${iss}1` })],
    ['of another user (refresh-token-invalid-sub)', 'identity_changed', () => ({ sub: 'mallory' })],
    ['of the same user in capitals', 'identity_changed', () => ({ sub: 'ALICE' })],
    ['for another client', 'id_token_claim', () => ({ aud: 'evil' })],
    ['for one more client', 'id_token_claim', ({ aud }) => ({ aud: [aud, 'evil'], azp: aud })],
    ['authorized for another party', 'id_token_claim', () => ({ azp: 'evil' })],
    ['for another access token', 'id_token_claim', () => ({ at_hash: 'A'.repeat(22) })],
    ['of another sign-in (nonce)', 'id_token_claim', () => ({ nonce: 'A'.repeat(43) })],
    ['of another sign-in (auth_time)', 'id_token_auth_time', () => ({ auth_time: 1_000_000_000 })],
  ]

  test.each(wrong)('%s ends the session, and its access token is not used', async (_, reason, change) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.idToken = (claims) => Object.assign(claims, change(claims))
    const answer = await browser.fetch('/api/orders')
    expectRefusal(answer, 401, 'session_expired')
    expect(answer.json().loginUrl).toBe('/auth/login')
    expect(world.api.requests).toEqual([])
    expectSilent(world.as, '/userinfo')
    expect([...browser.cookies.keys()].filter((name) => !name.endsWith('-login'))).toEqual([])
    await expectSignedOut(browser, answer)
    await expect.poll(() => world.logged('refresh.failed')).toMatchObject([{ reason, sessionKept: false }])
    expect(world.logged('session.ended')).toMatchObject([{ reason }])
    // Nobody will ever use what came with it, nor what it replaced.
    await expect.poll(() => world.as.to('/revoke').length).toBeGreaterThanOrEqual(2)
    world.as.requests.length = 0
    expect((await browser.fetch('/api/orders')).status).toBe(401)
    expectSilent(world.as, '/token')
    expectNoCanary(world, browser)
  })

  test.each<[string, (honest: string, as: AuthorizationServer) => string, Reason]>([
    [
      'without a signature',
      (honest) => jwt({ alg: 'none' }, readJwt(honest).claims, unsigned),
      'id_token_algorithm_refused',
    ],
    ['with a signature of nobody', (honest) => `${honest.slice(0, -8)}AAAAAAAA`, 'id_token_signature'],
    [
      'that is an access token',
      (honest, as) =>
        jwt(
          { ...readJwt(honest).header, typ: 'at+jwt' },
          readJwt(honest).claims,
          rs256(KeyObject.from(as.signingKey())),
        ),
      'id_token_signature',
    ],
    ['that is none', () => 'CANARY', 'id_token_malformed'],
  ])('%s ends the session, and its access token is not used', async (_, forge, reason) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.signedIdToken = (honest) => forge(honest, world.as)
    const answer = await browser.fetch('/api/orders')
    expectRefusal(answer, 401, 'session_expired')
    await expectSignedOut(browser, answer)
    await expect.poll(() => world.logged('session.ended')).toMatchObject([{ reason }])
    expect(world.api.requests).toEqual([])
    expectSilent(world.as, '/userinfo')
    expectNoCanary(world, browser)
  })

  test('of another user has the tokens revoked that came with it', async () => {
    const browser = await withSpentToken(world)
    let newest = ''
    world.as.behaviour.idToken = (claims) => Object.assign(claims, { sub: 'mallory' })
    world.as.behaviour.tokenResponse = (response) => {
      newest = String(response.refresh_token)
    }
    expectRefusal(await browser.fetch('/api/orders'), 401, 'session_expired')
    await expect.poll(() => world.as.to('/revoke').map(({ body }) => body.get('token'))).toContain(newest)
  })

  test('of another user is not believed because the keys to check it cannot be had', async () => {
    const browser = await withSpentToken(world)
    world.as.behaviour.faults['/jwks'] = () => ({ status: 500, body: 'CANARY' })
    world.as.behaviour.idToken = (claims, header) => {
      claims.sub = 'mallory'
      header.kid = 'unknown'
    }
    expectRefusal(await browser.fetch('/api/orders'), 401, 'session_expired')
    expect(world.api.requests).toEqual([])
    expectNoCanary(world, browser)
  })

  test('of the same user loses no session because the keys to check it cannot be had', async () => {
    const browser = await withSpentToken(world)
    world.as.behaviour.faults['/jwks'] = () => ({ status: 500, body: 'CANARY' })
    world.as.behaviour.idToken = (_, header) => {
      header.kid = 'unknown'
    }
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(refreshes(world.as)).toHaveLength(1)
  })

  const unproven: [string, (claims: Claims, header: Claims) => void][] = [
    ['that does not say since when it is', (claims) => void delete claims.iat],
    ['that does not say until when it is', (claims) => void delete claims.exp],
    ['signed with a key that is not published yet', (_, header) => Object.assign(header, { kid: 'unknown' })],
    ['from a server whose clock is ahead', (claims) => shift(claims, 100)],
    ['from a server whose clock is far behind', (claims) => shift(claims, -86_400)],
    ['that counts from later on', (claims) => Object.assign(claims, { nbf: Number(claims.iat) + 100 })],
  ]

  function shift(claims: Claims, seconds: number): void {
    Object.assign(claims, { iat: Number(claims.iat) + seconds, exp: Number(claims.exp) + seconds })
  }

  test.each(unproven)('%s loses no session: the tokens beside it are kept', async (_, change) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.idToken = change
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(refreshes(world.as)).toHaveLength(1)
    expect((await browser.fetch('/auth/session')).json().user.sub).toBe('alice')
    expectNoCanary(world, browser)
  })

  test.each(
    unproven.flatMap(([why, unprove]) =>
      [
        ['another user', { sub: 'mallory' }],
        ['another issuer', { iss: 'https://evil.example' }],
        ['another client', { aud: 'evil' }],
        ['another party', { azp: 'evil' }],
      ].map(([who, other]) => [why, who, unprove, other] as const),
    ),
  )('%s, which moreover speaks of %s, ends the session', async (_, _who, unprove, other) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.idToken = (claims, header) => {
      unprove(claims, header)
      Object.assign(claims, other)
    }
    expectRefusal(await browser.fetch('/api/orders'), 401, 'session_expired')
    expect(world.api.requests).toEqual([])
    expectNoCanary(world, browser)
  })

  test.each([
    ['the same user loses no session', 'alice', 200],
    ['another user ends the session', 'mallory', 401],
  ])('signed with an algorithm that is not announced and of %s', async (_, sub, status) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.signedIdToken = (honest) =>
      jwt(
        { alg: 'ES256', kid: 'new' },
        { ...readJwt(honest).claims, sub },
        rs256(KeyObject.from(world.as.signingKey())),
      )
    expect((await browser.fetch('/api/orders')).status).toBe(status)
    expect(world.as.reuses).toEqual([])
  })

  test('of the same sign-in (nonce and auth_time as they were) is welcome', async () => {
    let first: Claims = {}
    world.as.behaviour.idToken = (claims) => {
      if (claims.nonce === undefined) Object.assign(claims, first)
      else first = { nonce: claims.nonce, auth_time: claims.auth_time }
    }
    const browser = await withSpentToken(world)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test('cannot change who the session says it is', async () => {
    const browser = await withSpentToken(world)
    world.as.behaviour.idToken = (claims) =>
      Object.assign(claims, { email: 'mallory@evil.test', acr: 'gold', name: 'Mallory' })
    await browser.fetch('/api/orders')
    expect((await browser.fetch('/auth/session')).text).not.toMatch(/mallory/i)
  })
})

describe('R018 a refresh token that the authorization server does not know any more', () => {
  const world = faultWorld()

  test('ends the session with 401, deletes the cookies, and is not tried again', async () => {
    const browser = await withSpentToken(world)
    const copy = world.browser()
    for (const [name, value] of browser.cookies) copy.cookies.set(name, value)
    world.as.behaviour.faults['/token'] = () => ({
      status: 400,
      body: { error: 'invalid_grant', error_description: 'CANARY <script>' },
    })
    const answer = await browser.fetch('/api/orders')
    expectRefusal(answer, 401, 'session_expired')
    await expectSignedOut(browser, answer)
    expect(refreshes(world.as)).toHaveLength(1)
    for (let time = 0; time < 3; time++) expect((await copy.fetch('/api/orders')).status).toBe(401)
    expect(refreshes(world.as)).toHaveLength(1)
    expect(world.api.requests).toEqual([])
    expectNoCanary(world, browser, copy)
  })
})

describe('R019 a refresh that fails for a reason that will pass', () => {
  const world = faultWorld()
  const json = { 'content-type': 'application/json' }
  const failures: [string, Answer][] = [
    ['500', { status: 500, body: 'CANARY' }],
    ['500 that says invalid_grant', { status: 500, body: { error: 'invalid_grant' } }],
    ['502 with a page', { status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>CANARY</h1>' }],
    ['503', { status: 503, headers: { 'retry-after': '3600' }, body: 'CANARY' }],
    ['429', { status: 429, headers: { 'retry-after': '3600' }, body: 'CANARY' }],
    ['429 with an OAuth error', { status: 429, body: { error: 'slow_down' } }],
    ['400 server_error', { status: 400, body: { error: 'server_error' } }],
    ['400 temporarily_unavailable', { status: 400, body: { error: 'temporarily_unavailable' } }],
    ['400 invalid_request', { status: 400, body: { error: 'invalid_request' } }],
    ['400 unauthorized_client', { status: 400, body: { error: 'unauthorized_client' } }],
    ['400 without a word', { status: 400, body: '' }],
    ['400 from the prototype', { status: 400, headers: json, body: '{"__proto__":{"error":"invalid_grant"}}' }],
    ['401 invalid_client', { status: 401, body: { error: 'invalid_client' } }],
    [
      '401 invalid_client with a challenge',
      { status: 401, headers: { 'www-authenticate': 'Basic realm="CANARY"' }, body: { error: 'invalid_client' } },
    ],
    ['403', { status: 403, body: 'CANARY' }],
    ['404', { status: 404, body: 'CANARY' }],
    ['200 with an error', { body: { error: 'invalid_grant' } }],
    ['200 without an access token', { body: { token_type: 'bearer' } }],
    ['200 with another token type', { body: { access_token: 'CANARY', token_type: 'mac' } }],
    ['200 with the token type DPoP', { body: { access_token: 'CANARY-dpop', token_type: 'DPoP' } }],
    ['a redirect', { status: 302, headers: { location: 'http://169.254.169.254/' }, body: '' }],
  ]

  test.each(failures)('%s keeps the session and says when to come back', async (_, failure) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.faults['/token'] = () => failure
    const answer = await browser.fetch('/api/orders')
    expectRefusal(answer, 503, 'authorization_server_unavailable')
    expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    expect(answer.headers.get('www-authenticate')).toBeNull()
    expect(answer.setCookie).toEqual([])
    expect(world.api.requests).toEqual([])
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
    expect(refreshes(world.as)).toHaveLength(1)
    expectNoCanary(world, browser)
    world.as.behaviour.faults = {}
    await expect.poll(async () => (await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.as.reuses).toEqual([])
  })

  test('is not repeated by every request that comes in the meantime', async () => {
    const browser = await withSpentToken(world)
    world.as.behaviour.faults['/token'] = () => ({ status: 500, body: '' })
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 10 }, () => browser.fetch('/api/orders')))
    }
    expect(refreshes(world.as).length).toBeLessThanOrEqual(3)
  })
})

describe('R049 a refresh whose answer is lost', () => {
  test('before the browser got the new cookie: the old one still works, and no token is spent twice', async () => {
    const world = await startWorld()
    const browser = await withSpentToken(world)
    const lost = world.browser()
    for (const [name, value] of browser.cookies) lost.cookies.set(name, value)
    expect((await lost.fetch('/api/orders')).status).toBe(200)
    for (let time = 0; time < 3; time++) {
      const again = world.browser()
      for (const [name, value] of browser.cookies) again.cookies.set(name, value)
      expect((await again.fetch('/api/orders')).status).toBe(200)
    }
    expect(refreshes(world.as)).toHaveLength(1)
    expect(world.as.reuses).toEqual([])
  })

  test('because the browser went away while the authorization server was rotating: the next request finds the outcome', async () => {
    const world = await startWorld()
    const browser = await withSpentToken(world)
    let arrived = () => {}
    const asked = new Promise<void>((resolve) => {
      arrived = resolve
    })
    let leave = () => {}
    const left = new Promise<void>((resolve) => {
      leave = resolve
    })
    world.as.behaviour.faults['/token'] = async () => {
      arrived()
      await left
      return undefined
    }
    const connection = openConnection(world.url)
    const cookie = `Cookie: ${browser.cookieHeader()}`
    connection.send(head('GET /api/orders', [cookie, 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors']))
    await asked
    connection.close()
    await passed(100)
    leave()
    await passed(100)
    world.as.behaviour.faults = {}
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(refreshes(world.as)).toHaveLength(1)
    expect(world.as.reuses).toEqual([])
  })
})

describe('R127 R128 R129 a refresh response that is odd', () => {
  const world = faultWorld(({ api }) => ({
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
      { path: '/api/mail', upstream: `${api.url}/mail`, token: 'user', require: { scope: ['email'] } },
    ],
  }))

  test.each([
    ['left out', undefined],
    ['text', '3600'],
    ['text and no number', 'soon'],
    ['nothing', null],
    ['negative', -1],
    ['the end of time', 1e15],
    ['zero', 0],
  ])('R127 expires_in that is %s makes no storm', async (_, value) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.tokenResponse = (response) => {
      if (value === undefined) delete response.expires_in
      else response.expires_in = value
    }
    for (let time = 0; time < 10; time++) expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(refreshes(world.as).length).toBeLessThanOrEqual(2)
  })

  const odd: [string, (response: Claims) => void][] = [
    ['expires_in that is nothing', (response) => Object.assign(response, { expires_in: null })],
    ['a scope that is nothing', (response) => Object.assign(response, { scope: null })],
    ['a scope that is a number', (response) => Object.assign(response, { scope: 1 })],
    ['an ID token that is nothing', (response) => Object.assign(response, { id_token: null })],
    ['an ID token that is empty', (response) => Object.assign(response, { id_token: '' })],
    ['a token type that is nothing', (response) => Object.assign(response, { token_type: null })],
    ['no token type', (response) => void delete response.token_type],
    ['members that nobody knows', (response) => Object.assign(response, { kept: { access_token: 'x' }, more: [[[]]] })],
  ]

  test.each(odd)('R128 %s: the tokens beside it are used, and the next refresh is as ever', async (_, change) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.expiresIn = short
    world.as.behaviour.tokenResponse = (response) => {
      response.expires_in = short
      change(response)
    }
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.api.requests.at(-1)?.headers.authorization).toMatch(/^Bearer ey/)
    await passed(short * 1_000 + 20)
    world.as.behaviour.tokenResponse = () => {}
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.as.reuses).toEqual([])
  })

  test.each([null, '', 7])('R128 a refresh token that is %j: the one at hand is kept', async (value) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.expiresIn = short
    world.as.behaviour.rotate = false
    world.as.behaviour.tokenResponse = (response) => void Object.assign(response, { refresh_token: value })
    for (let time = 0; time < 2; time++) {
      expect((await browser.fetch('/api/orders')).status).toBe(200)
      await passed(short * 1_000 + 20)
    }
    expect(new Set(refreshes(world.as).map(({ body }) => body.get('refresh_token'))).size).toBe(1)
  })

  test('R129 a scope that is a list counts as if it were text', async () => {
    const browser = await withSpentToken(world)
    world.as.behaviour.tokenResponse = (response) => void Object.assign(response, { scope: ['openid', 'profile'] })
    expectRefusal(await browser.fetch('/api/mail/x'), 403, 'insufficient_scope')
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test.each<[string, Claims, Reason]>([
    ['another token type', { token_type: 'mac' }, 'response_malformed'],
    ['a token type that is a number', { token_type: 1 }, 'response_malformed'],
    ['no access token', { access_token: undefined }, 'response_malformed'],
    ['an access token that is no header value', { access_token: 'CANARY\r\nx: y' }, 'response_malformed'],
    ['an ID token that is no text', { id_token: { sub: 'alice' } }, 'id_token_malformed'],
  ])('R128 %s beside a new refresh token ends the session, and that is revoked', async (_, change, reason) => {
    const browser = await withSpentToken(world)
    let newest: unknown
    world.as.behaviour.tokenResponse = (response) => {
      newest = response.refresh_token
      Object.assign(response, change)
    }
    const answer = await browser.fetch('/api/orders')
    expectRefusal(answer, 401, 'session_expired')
    await expectSignedOut(browser, answer)
    await expect.poll(() => world.logged('session.ended')).toMatchObject([{ reason }])
    await expect.poll(() => world.as.to('/revoke').map(({ body }) => body.get('token'))).toContain(newest)
    expect(world.api.requests).toEqual([])
    expect(world.as.reuses).toEqual([])
    expectNoCanary(world, browser)
  })

  test('R129 a scope that became narrower counts from now on', async () => {
    const browser = await withSpentToken(world)
    world.as.behaviour.scope = 'openid'
    expectRefusal(await browser.fetch('/api/mail/x'), 403, 'insufficient_scope')
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expectRefusal(await browser.fetch('/api/mail/x'), 403, 'insufficient_scope')
    expect(refreshes(world.as)).toHaveLength(1)
  })

  test.each([
    ['an access token', 'access_token'],
    ['a refresh token', 'refresh_token'],
  ])('R128 %s that grew to 20 KB leaves no half of a session behind', async (_, member) => {
    const browser = await withSpentToken(world)
    world.as.behaviour.tokenResponse = (response) => {
      response[member] = `CANARY-${'x'.repeat(20_000)}`
    }
    const answer = await browser.fetch('/api/orders')
    expectRefusal(answer, 401, 'session_expired')
    for (const line of answer.setCookie) expect(line.length).toBeLessThanOrEqual(4_096)
    const session = [...browser.cookies].filter(([name]) => !name.endsWith('-login'))
    expect(session).toEqual([])
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
    expectRefusal(await browser.fetch('/api/orders'), 401, 'session_required')
    await expect.poll(() => world.logged('session.ended')).toMatchObject([{ reason: 'tokens_too_large' }])
    expectNoCanary(world, browser)
  })

  test('R128 a refresh token that is empty is not stored over the good one', async () => {
    const browser = await withSpentToken(world)
    world.as.behaviour.rotate = false
    world.as.behaviour.tokenResponse = (response) => {
      response.refresh_token = ''
    }
    world.as.behaviour.expiresIn = short
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await passed(short * 1_000 + 20)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    for (const { body } of refreshes(world.as)) expect(body.get('refresh_token')).toMatch(/^CANARY-rt-/)
  })
})

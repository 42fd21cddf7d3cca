// Hostile token responses: what the token endpoint answers is not what a token endpoint may answer
// (R126-R129, R612; RFC 6749 3.3, 5.1 and 5.2, RFC 6750 2.1).
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import {
  expectLoginFailed,
  expectLoginRefused,
  expectNoCanary,
  expectRefusal,
  expectSignedOut,
} from '../support/oracles.ts'

const json = { 'content-type': 'application/json' }

describe('R128 a token response that is none', () => {
  const world = faultWorld()

  test.each([
    ['an HTML page', { headers: { 'content-type': 'text/html' }, body: '<h1>CANARY</h1>' }],
    ['JSON that calls itself HTML', { headers: { 'content-type': 'text/html' }, body: '{"access_token":"CANARY"}' }],
    ['nothing', { headers: json, body: '' }],
    ['204', { status: 204, body: '' }],
    ['JSON that was cut', { headers: json, body: '{"access_token":"CANARY","token_ty' }],
    ['null', { headers: json, body: 'null' }],
    ['a list', { headers: json, body: '[{"access_token":"CANARY"}]' }],
    ['text', { headers: json, body: '"CANARY"' }],
    ['a number', { headers: json, body: '1' }],
    ['a form', { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'access_token=CANARY' }],
    ['ten thousand levels of JSON', { headers: json, body: '['.repeat(10_000) + ']'.repeat(10_000) }],
    ['bad UTF-8', { headers: json, body: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) }],
    ['201', { status: 201, headers: json, body: '{"access_token":"CANARY","token_type":"bearer"}' }],
    ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' }, body: '' }],
    ['an error with status 200', { headers: json, body: '{"error":"invalid_grant","error_description":"CANARY"}' }],
    ['an error nobody knows', { status: 400, headers: json, body: '{"error":"CANARY <script>"}' }],
    ['an error that is an object', { status: 400, headers: json, body: '{"error":{"toString":"CANARY"}}' }],
    ['an error from the prototype', { status: 400, headers: json, body: '{"error":"__proto__"}' }],
  ])('%s signs nobody in', async (_, answer) => {
    world.as.behaviour.faults['/token'] = () => answer
    const browser = world.browser()
    const refused = await browser.signIn()
    expect(refused.headers.get('www-authenticate')).toBeNull()
    await expectLoginRefused(world, browser, refused, [
      'response_malformed',
      'request_rejected',
      'invalid_grant',
      'client_rejected',
      'token_type_mismatch',
    ])
  })
})

describe('R128 client authentication that the token endpoint rejects', () => {
  const world = faultWorld()

  test.each([
    ['as RFC 6749, section 5.2 has it', { 'www-authenticate': 'Basic realm="CANARY"' }, { error: 'invalid_client' }],
    ['without a challenge', {}, { error: 'invalid_client' }],
    ['with a challenge and no error', { 'www-authenticate': 'Basic' }, {}],
  ])('%s is told to the operator as what it is', async (_, headers, body) => {
    world.as.behaviour.faults['/token'] = () => ({ status: 401, headers, body })
    const browser = world.browser()
    const answer = await browser.signIn()
    expect(answer.headers.get('www-authenticate')).toBeNull()
    await expectLoginRefused(world, browser, answer, 'client_rejected')
  })
})

describe('a member of the token response', () => {
  const world = faultWorld()
  const wrong: [string, Record<string, unknown>][] = [
    ['R126 token_type mac', { token_type: 'mac' }],
    ['R126 token_type DPoP, which nobody asked for', { token_type: 'DPoP' }],
    ['R126 token_type N_A', { token_type: 'N_A' }],
    ['R126 an empty token_type', { token_type: '' }],
    ['R126 no token_type', { token_type: undefined }],
    ['R126 token_type that is a list', { token_type: ['Bearer'] }],
    ['R126 token_type from the prototype', { token_type: '__proto__' }],
    ['R128 no access_token', { access_token: undefined }],
    ['R128 an empty access_token', { access_token: '' }],
    ['R128 access_token that is a number', { access_token: 1 }],
    ['R128 access_token that is null', { access_token: null }],
    ['R128 access_token that is an object', { access_token: { toString: 'x' } }],
    ['R128 refresh_token that is a number', { refresh_token: 1 }],
    ['R128 an empty refresh_token', { refresh_token: '' }],
    ['R128 scope that is a list', { scope: ['openid'] }],
    ['R128 scope that is a number', { scope: 1 }],
    ['R127 expires_in that is text and no number', { expires_in: 'soon' }],
    ['R127 expires_in that is negative', { expires_in: -1 }],
  ]

  test.each(wrong)('%s signs nobody in', async (_, members) => {
    world.as.behaviour.tokenResponse = (response) => void Object.assign(response, members)
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(
      world,
      browser,
      answer,
      'token_type' in members ? 'token_type_mismatch' : 'response_malformed',
    )
  })

  test('R612 only on the prototype counts for nothing', async () => {
    world.as.behaviour.faults['/token'] = () => ({
      headers: json,
      body: '{"__proto__":{"access_token":"CANARY","token_type":"bearer","polluted":1},"constructor":{"prototype":{"polluted":1}}}',
    })
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, 'response_malformed')
    expect({}).not.toHaveProperty('polluted')
  })

  test.each(['Bearer', 'bearer', 'BEARER', 'bEaReR'])('R126 token_type %s is Bearer at the API', async (type) => {
    world.as.behaviour.tokenResponse = (response) => {
      response.token_type = type
    }
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/orders')
    expect(world.api.last().headers.authorization).toMatch(/^Bearer ey/)
  })

  test('R128 that nobody knows is ignored, whatever it is', async () => {
    world.as.behaviour.tokenResponse = (response) => {
      Object.assign(response, {
        authenticated: true,
        user: { sub: 'mallory' },
        toString: 1,
        hasOwnProperty: null,
        loginUrl: '//evil',
      })
    }
    const browser = world.browser()
    await browser.signIn()
    const session = await browser.fetch('/auth/session')
    expect(session.json().user.sub).toBe('alice')
    expect(session.text).not.toMatch(/mallory|evil/)
  })
})

describe('R127 expires_in', () => {
  const world = faultWorld()

  test.each([
    ['left out', undefined],
    ['text', '3600'],
    ['a fraction', 3600.5],
    ['the end of time', 1e15],
    ['beyond numbers', 1e308],
    ['text beyond numbers', '1e999'],
    ['nothing', null],
    ['zero', 0],
    ['a list', [3600]],
    ['true', true],
  ])('that is %s makes no storm of refreshes and no broken session', async (_, value) => {
    world.as.behaviour.tokenResponse = (response) => {
      if (value === undefined) delete response.expires_in
      else response.expires_in = value
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    if (answer.status === 303) {
      for (let time = 0; time < 5; time++) expect((await browser.fetch('/api/orders')).status).toBe(200)
      const { session } = (await browser.fetch('/auth/session')).json()
      expect(session.state).toBe('active')
      expect(session.absoluteExpiresIn).toBeLessThanOrEqual(43_200)
    } else {
      expectRefusal(answer, 400, 'login_failed')
      await expectSignedOut(browser, answer)
    }
    // One for the login, and at most one that a very short life would excuse.
    expect(world.as.to('/token').length).toBeLessThanOrEqual(2)
    expectNoCanary(world, browser)
  })

  test.each([
    ['left out', undefined],
    ['text', '3600'],
    ['the end of time', 1e15],
  ])('that is %s is no reason to refuse the login', async (_, value) => {
    world.as.behaviour.tokenResponse = (response) => {
      if (value === undefined) delete response.expires_in
      else response.expires_in = value
    }
    expect((await world.browser().signIn()).status).toBe(303)
  })
})

describe('R128 an access token that is no header value', () => {
  test.each([
    ['a line break and a header', 'CANARY\r\nX-Evil: 1'],
    ['a line break', 'CANARY\n'],
    ['NUL', 'CANARY\0'],
    ['a letter that is no ASCII', 'CANARYü'],
    ['a letter that is no Latin-1', 'CANARY→'],
    ['DEL', 'CANARY\x7f'],
  ])('%s reaches no API, breaks no other user, and is no error of ours', async (_, token) => {
    const world = await startWorld()
    const bystander = world.browser()
    await bystander.signIn()
    world.as.behaviour.tokenResponse = (response) => {
      response.access_token = token
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    expect([303, 400]).toContain(answer.status)
    for (let time = 0; time < 3; time++) {
      const call = await browser.fetch('/api/orders')
      expect([200, 401, 502, 503]).toContain(call.status)
    }
    for (const { headers } of world.api.requests) {
      expect(headers['x-evil']).toBeUndefined()
      expect(headers.authorization).toMatch(/^Bearer [\x20-\x7e]+$/)
    }
    expect(world.logged('internal.error')).toEqual([])
    expect((await bystander.fetch('/api/orders')).status).toBe(200)
    expectNoCanary(world, browser)
  })
})

describe('R129 a scope that is not what was asked for', () => {
  const world = faultWorld(({ api }) => ({
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
      { path: '/api/admin', upstream: `${api.url}/admin`, token: 'user', require: { scope: ['email', 'profile'] } },
    ],
  }))

  test.each([
    ['narrower', 'openid profile'],
    ['empty', ''],
    ['only alike', 'openid profile email.read emailx'],
    ['in other letters', 'openid PROFILE EMAIL'],
    ['joined by a comma', 'openid,profile,email'],
    ['joined by a tab', 'openid\tprofile\temail'],
  ])('and is %s opens no route that requires more', async (_, scope) => {
    world.as.behaviour.scope = scope
    const browser = world.browser()
    await browser.signIn()
    const answer = await browser.fetch('/api/admin/x')
    expectRefusal(answer, 403, 'insufficient_scope')
    expect(world.api.requests).toEqual([])
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test.each([
    ['left out, which means as asked for', undefined],
    ['wider', 'openid profile email admin everything'],
    ['in another order', 'email openid profile'],
  ])('and is %s opens it', async (_, scope) => {
    world.as.behaviour.scope = scope
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/api/admin/x')).status).toBe(200)
  })
})

describe('R128 tokens that do not fit', () => {
  const world = faultWorld()

  test.each([
    ['an access token', { accessTokenPadding: 20_000 }],
    ['a refresh token', { refreshTokenPadding: 20_000 }],
  ])('%s of 20 KB: nobody is signed in by halves, and the log says what was too large', async (_, padding) => {
    Object.assign(world.as.behaviour, padding)
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    await expectLoginFailed(world, 'tokens_too_large')
    expectNoCanary(world, browser)
  })
})

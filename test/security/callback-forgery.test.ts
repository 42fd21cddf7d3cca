// Forged callbacks: an authorization response that this browser did not ask for, asked for once, or asked for otherwise
// (R002, R011, R031, R033, R034, R039, R055, R057, R125, R632; RFC 9700 4.2.4, 4.5 and 4.7, RFC 6749 3.1 and 10.12).
import { describe, expect, test } from 'vitest'
import { faultWorld } from '../support/fault-world.ts'
import {
  expectLoginFailed,
  expectLoginRefused,
  expectNoCanary,
  expectRefusal,
  expectSignedOut,
  expectSilent,
  sessionCookies,
} from '../support/oracles.ts'

/** The parameters of a callback, to be changed and put together again. */
function parametersOf(callback: string): URLSearchParams {
  return new URLSearchParams(callback.slice(callback.indexOf('?')))
}
const withParameters = (parameters: URLSearchParams) => `/auth/callback?${parameters}`

describe('R031 R055 a callback of another browser', () => {
  const world = faultWorld()

  test('signs the victim in as nobody: the code of the attacker and the state of the attacker', async () => {
    const forged = await world.browser().untilCallback('?returnTo=/stolen')
    const victim = world.browser()
    const answer = await victim.navigate(forged, { headers: { 'sec-fetch-site': 'cross-site' } })
    expectRefusal(answer, 400, 'login_expired')
    expect(answer.text).not.toContain('/stolen')
    await expectSignedOut(victim, answer)
    expectSilent(world.as, '/token', '/userinfo')
    await expect.poll(() => world.logged('login.stale')).toMatchObject([{ reason: 'login_unknown', signedIn: false }])
    expectNoCanary(world, victim)
  })

  test('does not touch the session that the victim has', async () => {
    const victim = world.browser()
    await victim.signIn()
    const before = new Map(victim.cookies)
    world.as.behaviour.user = { sub: 'mallory' }
    const forged = await world.browser().untilCallback()
    world.as.requests.length = 0
    const answer = await victim.navigate(forged)
    expect(answer.setCookie).toEqual([])
    expectSilent(world.as, '/token')
    expect(victim.cookies).toEqual(before)
    expect((await victim.fetch('/auth/session')).json().user.sub).toBe('alice')
  })

  test('does not touch the login that the victim has under way', async () => {
    const victim = world.browser()
    const own = await victim.untilCallback('?returnTo=/own')
    const forged = await world.browser().untilCallback()
    expectRefusal(await victim.navigate(forged), 400, 'login_expired')
    expect((await victim.navigate(own)).headers.get('location')).toBe('/own')
  })

  test('R055 a login address of the attacker, finished by the victim at the authorization server, signs in neither', async () => {
    const attacker = world.browser()
    const finishedByVictim = await attacker.untilCallback()
    const victim = world.browser()
    const answer = await victim.navigate(finishedByVictim, { headers: { 'sec-fetch-site': 'cross-site' } })
    expectRefusal(answer, 400, 'login_expired')
    await expectSignedOut(victim, answer)
    await expectSignedOut(attacker)
    expectSilent(world.as, '/token')
  })
})

describe('R031 a code of the attacker in the login of the victim', () => {
  const world = faultWorld()

  async function injected() {
    const stolen = parametersOf(await world.browser().untilCallback()).get('code') ?? ''
    const victim = world.browser()
    const own = parametersOf(await victim.untilCallback())
    own.set('code', stolen)
    return { victim, answer: await victim.navigate(withParameters(own)) }
  }

  test('is refused by its PKCE challenge', async () => {
    const { victim, answer } = await injected()
    expect(world.as.to('/token')).toHaveLength(1)
    await expectLoginRefused(world, victim, answer, 'invalid_grant')
  })

  test('R039 is refused by its nonce where the authorization server forgets PKCE, before any token is used', async () => {
    world.as.behaviour.checksVerifier = false
    const { victim, answer } = await injected()
    await expectLoginRefused(world, victim, answer, 'id_token_claim')
  })
})

describe('R034 a state that was changed', () => {
  const world = faultWorld()
  const changes: [string, (state: string) => string | undefined][] = [
    ['in its first character', (state) => (state[0] === 'A' ? 'B' : 'A') + state.slice(1)],
    ['in the middle', (state) => `${state.slice(0, 20)}${state[20] === 'A' ? 'B' : 'A'}${state.slice(21)}`],
    ['by one character less', (state) => state.slice(0, -1)],
    ['by one character more', (state) => `${state}A`],
    ['by a blank', (state) => `${state} `],
    ['by NUL', (state) => `${state}\0`],
    ['to other letters of the same kind', (state) => state.replace(/[a-z]/g, (c) => c.toUpperCase())],
    ['to nothing', () => ''],
    ['to undefined', () => 'undefined'],
    ['to __proto__', () => '__proto__'],
    ['by leaving it out', () => undefined],
    ['to 8 KB', () => 'A'.repeat(8_192)],
  ]

  test.each(changes)('%s signs nobody in', async (_, change) => {
    const browser = world.browser()
    const parameters = parametersOf(await browser.untilCallback())
    const changed = change(parameters.get('state') ?? '')
    if (changed === undefined) parameters.delete('state')
    else parameters.set('state', changed)
    const answer = await browser.navigate(withParameters(parameters))
    expectRefusal(answer, 400, 'login_expired')
    await expectSignedOut(browser, answer)
    expectSilent(world.as, '/token', '/userinfo')
    expectNoCanary(world, browser)
  })
})

describe('R033 a callback that comes again', () => {
  const world = faultWorld()

  test('ten times at once: one request for tokens, one session', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const cookie = browser.cookieHeader()
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => world.browser().navigate(callback, { headers: { cookie } })),
    )
    expect(world.as.to('/token')).toHaveLength(1)
    expect(answers.filter((answer) => sessionCookies(answer).length > 0)).toHaveLength(1)
    expect(answers.map(({ status }) => status).sort()).toEqual([303, ...Array(9).fill(400)])
  })

  test('ten times at once with other codes: one request for tokens', async () => {
    const browser = world.browser()
    const parameters = parametersOf(await browser.untilCallback())
    const cookie = browser.cookieHeader()
    await Promise.all(
      Array.from({ length: 10 }, (_, index) => {
        parameters.set('code', `guess-${index}`)
        return world.browser().navigate(withParameters(parameters), { headers: { cookie } })
      }),
    )
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('after the sign-in, with the cookie from before it: no second request for tokens', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const before = browser.cookieHeader()
    await browser.navigate(callback)
    const thief = world.browser()
    for (let time = 0; time < 3; time++) {
      const answer = await thief.navigate(callback, { headers: { cookie: before } })
      expectRefusal(answer, 400, 'login_expired')
      expect(sessionCookies(answer)).toEqual([])
    }
    await expectSignedOut(thief)
    expect(world.as.to('/token')).toHaveLength(1)
    await expect
      .poll(() => world.logged('login.stale').map(({ reason }) => reason))
      .toEqual(Array(3).fill('login_repeated'))
  })

  test('after a failure: the transaction is used up', async () => {
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_grant' } })
    const browser = world.browser()
    const callback = await browser.untilCallback()
    expectRefusal(await browser.navigate(callback), 400, 'login_failed')
    world.as.behaviour.faults = {}
    expectRefusal(await browser.navigate(callback), 400, 'login_expired')
    expect(world.as.to('/token')).toHaveLength(1)
    await expectSignedOut(browser)
  })

  test('after the sign-out: nobody is signed in again', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const before = browser.cookieHeader()
    await browser.navigate(callback)
    await browser.fetch('/auth/logout', { method: 'POST' })
    expectRefusal(await browser.navigate(callback), 400, 'login_expired')
    expectRefusal(await browser.navigate(callback, { headers: { cookie: before } }), 400, 'login_expired')
    await expectSignedOut(browser)
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('R011 what stands in the login cookie afterwards is of no use: no verifier, no nonce, no code', async () => {
    const browser = world.browser()
    await browser.signIn()
    const cookie = browser.cookies.get('coatcheck-login') ?? ''
    const verifier = world.as.to('/token')[0]?.body.get('code_verifier') ?? 'none'
    expect(cookie).toMatch(/^Fe26\.2\*/)
    for (const part of cookie.split('*')) {
      expect(Buffer.from(part, 'base64').toString('latin1')).not.toMatch(/codeVerifier|nonce|CANARY/)
    }
    expect(cookie).not.toContain(verifier)
  })
})

describe('R057 a parameter that comes twice', () => {
  const world = faultWorld()

  test.each([
    ['code, the same', 'code', undefined],
    ['code, another', 'code', 'CANARY-other'],
    ['code, empty', 'code', ''],
    ['state, the same', 'state', undefined],
    ['state, another', 'state', 'other'],
    ['iss, the same', 'iss', undefined],
    ['iss, another', 'iss', 'https://evil.test'],
  ])('%s: refused, and the login is not used up', async (_, name, value) => {
    const browser = world.browser()
    const callback = await browser.untilCallback('?returnTo=/own')
    const parameters = parametersOf(callback)
    const second = value ?? parameters.get(name) ?? ''
    const forged = [`${callback}&${name}=${encodeURIComponent(second)}`]
    forged.push(`/auth/callback?${name}=${encodeURIComponent(second)}&${parameters}`)
    forged.push(`${callback}&%${name.charCodeAt(0).toString(16)}${name.slice(1)}=${encodeURIComponent(second)}`)
    for (const address of forged) {
      const answer = await browser.navigate(address)
      expectRefusal(answer, 400, 'bad_request')
      await expectSignedOut(browser, answer)
    }
    expectSilent(world.as, '/token', '/userinfo')
    expect((await browser.navigate(callback)).headers.get('location')).toBe('/own')
    expectNoCanary(world, browser)
  })

  test('error twice: refused', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    expectRefusal(await browser.navigate(`${callback}&error=a&error=b`), 400, 'bad_request')
    expectRefusal(await browser.navigate(`${callback}&error_description=a&error_description=b`), 400, 'bad_request')
    expectSilent(world.as, '/token')
  })
})

describe('a callback of another flow', () => {
  const world = faultWorld()

  test.each([
    [
      'R002 an access token instead of a code',
      (own: URLSearchParams) => tokens(own, { access_token: 'CANARY-token', token_type: 'bearer' }),
    ],
    [
      'R002 an ID token instead of a code',
      (own: URLSearchParams) => tokens(own, { id_token: 'eyJhbGciOiJub25lIn0.e30.' }),
    ],
    [
      'R002 a JARM response instead of a code',
      (own: URLSearchParams) => tokens(own, { response: 'eyJhbGciOiJub25lIn0.e30.' }),
    ],
    ['an empty code', (own: URLSearchParams) => tokens(own, { code: '' })],
    ['nothing', (own: URLSearchParams) => tokens(own, {})],
  ])('%s signs nobody in and asks for nothing', async (_, change) => {
    const browser = world.browser()
    const answer = await browser.navigate(withParameters(change(parametersOf(await browser.untilCallback()))))
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, ['authorization_response_malformed', 'response_malformed'])
  })

  function tokens(own: URLSearchParams, members: Record<string, string>): URLSearchParams {
    own.delete('code')
    for (const [name, value] of Object.entries(members)) own.set(name, value)
    return own
  }

  test('R002 a JARM response beside a code signs nobody in', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const answer = await browser.navigate(`${callback}&response=eyJhbGciOiJub25lIn0.e30.`)
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'authorization_response_malformed')
  })

  test('R002 tokens beside a code are not looked at', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const forged = `${callback}&access_token=CANARY-evil&id_token=eyJhbGciOiJub25lIn0.e30.&token_type=bearer&expires_in=9`
    expect((await browser.navigate(forged)).status).toBe(303)
    await browser.fetch('/api/orders')
    expect(world.api.last().headers.authorization).toMatch(/^Bearer ey/)
    expect(JSON.stringify(world.api.last().headers)).not.toContain('CANARY-evil')
  })

  test('a code and an error together are an error', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const answer = await browser.navigate(`${callback}&error=access_denied`)
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'authorization_refused')
  })

  test('R125 a form post is not taken, and leaves the login as it was', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback('?returnTo=/own')
    const body = String(parametersOf(callback))
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'cross-site' }
    for (const method of ['POST', 'PUT', 'PATCH']) {
      const answer = await browser.navigate('/auth/callback', { method, body, headers })
      expectRefusal(answer, 405, 'method_not_allowed')
      expect(answer.headers.get('allow')).toBe('GET')
      const override = { ...headers, 'x-http-method-override': 'GET', 'x-http-method': 'GET' }
      expectRefusal(
        await browser.navigate(`${callback}&_method=GET`, { method, body, headers: override }),
        405,
        'method_not_allowed',
      )
    }
    expectSilent(world.as, '/token')
    await expectSignedOut(browser)
    expect((await browser.navigate(callback)).headers.get('location')).toBe('/own')
  })

  test('a code of 8 KB and of odd characters reaches the token endpoint as it came', async () => {
    for (const code of ['a b%26c&d=e+f#g', `odd ${'x'.repeat(8_000)}`, '<script>', '\u2028é']) {
      world.as.requests.length = 0
      const browser = world.browser()
      const parameters = parametersOf(await browser.untilCallback())
      parameters.set('code', code)
      expectRefusal(await browser.navigate(withParameters(parameters)), 400, 'login_failed')
      expect(world.as.to('/token').map(({ body }) => body.getAll('code'))).toEqual([[code]])
      expectNoCanary(world, browser)
    }
  })

  test('R002 the fragment form is nothing the server ever sees, and an empty callback is only stale', async () => {
    const browser = world.browser()
    await browser.untilCallback()
    const answer = await browser.navigate('/auth/callback')
    expectRefusal(answer, 400, 'login_expired')
    await expectSignedOut(browser, answer)
    expectSilent(world.as, '/token')
  })
})

describe('R033 R632 a token endpoint that is away', () => {
  const world = faultWorld()

  test('makes the login fail for now, says when to come back, and uses the transaction up', async () => {
    world.as.behaviour.faults['/token'] = () => ({ status: 503, body: 'CANARY' })
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const answer = await browser.navigate(callback)
    expectRefusal(answer, 503, 'authorization_server_unavailable')
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    await expectSignedOut(browser, answer)
    await expectLoginFailed(world, 'server_error')
    world.as.behaviour.faults = {}
    expectRefusal(await browser.navigate(callback), 400, 'login_expired')
    expect((await browser.signIn()).status).toBe(303)
    expectNoCanary(world, browser)
  })
})

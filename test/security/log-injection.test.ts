// Attack: secrets that end up in the log, lines that somebody outside writes into it, and misdeeds that leave no trace.
// R024 R630 R631
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { expectNoCanary } from '../support/oracles.ts'
import { ask, converse, head } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const injection = [
  '%0a{"event":"forged"}',
  '%0d%0aforged',
  '\x1b[31mFORGED\x1b[0m',
  '%1b%5b31mFORGED',
  '${jndi:ldap://FORGED}',
  '<script>FORGED</script>',
  '%u000aFORGED',
]

describe('R631 What a client can write into the log', () => {
  const shared = sharedWorld()

  test('is nothing: no path, no query, no header, no parameter, no error description', async () => {
    const { url, as, browser, events } = shared()
    const user = browser()
    for (const text of injection) {
      const encoded = encodeURI(text).replaceAll('%25', '%')
      for (const path of [
        `/api/${encoded}`,
        `/api/open/${encoded}`,
        `/${encoded}`,
        `/auth/${encoded}`,
        `/auth/login?returnTo=${encoded}&provider=${encoded}`,
      ]) {
        await ask(url, `GET ${path}`, [`User-Agent: ${text}`, `Referer: ${text}`, `X-CSRF: ${text}`]).catch(() => {})
      }
      await ask(url, 'GET /api/x', [`Origin: ${text}`, `Cookie: coatcheck=${text}`]).catch(() => {})
      await user.navigate(
        `/auth/callback?error=${encoded}&error_description=${encoded}&state=${encoded}&code=${encoded}`,
      )
    }
    as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      parameters.set('error', 'access_denied\n{"event":"forged"}')
      parameters.set('error_description', '\x1b[31mFORGED\r\n{"event":"forged"}')
      parameters.set('error_uri', 'https://FORGED.test')
    }
    await user.signIn()
    as.behaviour.callback = () => {}
    as.behaviour.faults['/token'] = () => ({
      status: 400,
      body: { error: 'FORGED\n', error_description: '\u001b[31mFORGED\n{"event":"forged"}' },
    })
    await user.signIn()
    as.behaviour.faults = {}
    const log = JSON.stringify(events())
    expect(log).not.toMatch(/forged|jndi|<script|\\u001b|\\n|\\r/i)
    expect(events().length).toBeGreaterThan(injection.length)
    expectNone(
      events()
        .filter(({ event }) => event === 'internal.error')
        .map((event) => JSON.stringify(event)),
    )
  })
})

describe('R024 R631 Secrets', () => {
  test('are in no log line and in nothing the browser gets, after a life with everything in it', async () => {
    const world = await startWorld()
    const { as, api } = world
    const user = world.browser()
    as.behaviour.accessTokenPadding = 100
    await user.signIn('?login_hint=alice%40example.com')
    const body = 'BODY-SECRET of the user'
    await user.fetch('/api/x?token=QUERY-SECRET', { method: 'POST', body })
    const honest = api.answer
    api.answer = (_, response) => {
      api.answer = honest
      response
        .writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token", error_description="CANARY"' })
        .end('ANSWER-SECRET')
    }
    await user.fetch('/api/y')
    api.answer = (_, response) => void response.destroy()
    await user.fetch('/api/z')
    api.answer = honest
    await user.navigate('/auth/callback?code=CANARY-code&state=CANARY')
    as.behaviour.faults['/token'] = () => ({ status: 500, body: 'CANARY stack trace' })
    await user.signIn()
    as.behaviour.faults = {}
    as.behaviour.tokenResponse = (response) => {
      response.id_token = 'CANARY.CANARY.CANARY'
    }
    await user.signIn()
    as.behaviour.tokenResponse = () => {}
    await user.send('/api/x', { headers: { cookie: `${user.cookieHeader()}x`, 'x-csrf': '1' } })
    await user.fetch('/auth/logout', { method: 'POST' })
    // What was asked of the page is seen by the page; what it said is nobody else's business.
    expectNoCanary(world, user)
    expect(JSON.stringify(world.events())).not.toMatch(/BODY-SECRET|QUERY-SECRET|ANSWER-SECRET|alice/)
    expect(as.requests.map(({ path }) => path)).not.toContain('/elsewhere')
  })
})

describe('R630 Every misdeed leaves a line', () => {
  const shared = sharedWorld()

  test('with a stable name and a reason: sign-ins, refusals, tampering, refreshes, sign-outs', async () => {
    const { url, as, api, browser, events } = shared()
    const user = browser()
    const wrong: string[] = []
    /** What was done leaves a line with these fields. On workerd lines arrive through a pipe. */
    const leaves = async (what: string, act: () => Promise<unknown>, expected: Record<string, unknown>) => {
      const before = events().length
      await act()
      const isThere = () =>
        events()
          .slice(before)
          .some((event: Record<string, unknown>) => Object.keys(expected).every((key) => event[key] === expected[key]))
      await expect
        .poll(isThere, { timeout: 2_000 })
        .toBe(true)
        .catch(() => wrong.push(`${what} leaves ${JSON.stringify(events().slice(before))}`))
    }
    await leaves('sign-in', () => user.signIn(), { event: 'login.completed', provider: 'main' })
    await leaves('cross-site call', () => ask(url, 'GET /api/x', ['Origin: https://evil.test']), {
      event: 'request.refused',
      code: 'csrf_rejected',
      reason: 'cross_origin',
    })
    await leaves('call without proof', () => converse(url, head('GET /api/x', ['Connection: close'])), {
      event: 'request.refused',
      code: 'csrf_rejected',
      reason: 'csrf_unproven',
    })
    await leaves('traversal', () => ask(url, 'GET /api/a%2fx'), {
      event: 'request.refused',
      code: 'bad_request',
    })
    await leaves('method', () => ask(url, 'TRACE /api/x'), { event: 'request.refused', code: 'method_not_allowed' })
    await leaves('tampered cookie', () => ask(url, 'GET /auth/session', ['Cookie: coatcheck=x']), {
      event: 'session.rejected',
      reason: 'session_invalid',
    })
    await leaves('tampered cookie, calling', () => ask(url, 'GET /api/x', ['Cookie: coatcheck=x']), {
      event: 'request.refused',
      reason: 'session_invalid',
    })
    await leaves('foreign callback', () => user.navigate('/auth/callback?code=x&state=y'), {
      event: 'login.stale',
      reason: 'login_unknown',
    })
    as.behaviour.callback = (parameters) => parameters.set('iss', 'https://evil.test')
    await leaves('mix-up', () => user.signIn(), { event: 'login.failed', reason: 'issuer_mismatch' })
    as.behaviour.callback = () => {}
    api.answer = (_, response) => response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
    as.behaviour.faults['/token'] = () => ({ status: 503, body: 'x' })
    await leaves('refresh that fails', () => user.fetch('/api/x'), { event: 'refresh.failed', sessionKept: true })
    as.behaviour.faults = {}
    api.answer = (_, response) => void response.destroy()
    await leaves('upstream that breaks', () => browser().fetch('/api/open/x'), {
      event: 'upstream.failed',
      route: '/api/open',
    })
    await leaves('sign-out', () => user.fetch('/auth/logout', { method: 'POST' }), {
      event: 'session.ended',
      reason: 'logged_out',
    })
    expectNone(wrong)
  })

  test('names a session by its public id only', async () => {
    const world = await startWorld()
    const user = world.browser()
    await user.signIn()
    const { id } = (await user.fetch('/auth/session')).json().session
    await expect.poll(() => world.logged('login.completed').map(({ session }) => session)).toEqual([id])
    // And that id opens nothing.
    const { status } = await ask(world.url, 'GET /api/x', [`Cookie: coatcheck=${id}; coatcheck.1=1.${id}`])
    expect(status).toBe(401)
  })
})

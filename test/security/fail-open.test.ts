// Attack: break what coatcheck leans on, one thing after another, and hope that it lets somebody through.
// R019 R523 R632
import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { type Answer, startAuthorizationServer } from '../support/authorization-server.ts'
import { startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { expectNoCanary, expectSignedOut, sessionCookies } from '../support/oracles.ts'
import { ask } from '../support/raw.ts'
import { startUpstream } from '../support/upstream.ts'

const destroyed = (_: unknown, response: ServerResponse): Answer | undefined => {
  response.destroy()
  return undefined
}

/** What an endpoint of the authorization server does instead of its work. */
const faults: Record<string, (request: unknown, response: ServerResponse) => Answer | undefined> = {
  'closes the connection': destroyed,
  'answers 500': () => ({ status: 500, body: 'CANARY stack\n    at x (y.js:1:2)' }),
  'answers 200 with HTML': () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>CANARY</h1>' }),
  'answers 200 with nothing': () => ({ status: 200, body: '' }),
  'answers JSON that is no object': () => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: '"CANARY"',
  }),
  'answers null': () => ({ status: 200, headers: { 'content-type': 'application/json' }, body: 'null' }),
  'answers half of JSON': () => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: '{"access_token":"CANARY',
  }),
  'answers a list': () => ({ status: 200, body: [] }),
  redirects: () => ({ status: 302, headers: { location: 'http://127.0.0.1:9/CANARY' }, body: '' }),
  'answers a megabyte': () => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: `"${'x'.repeat(1_000_000)}"`,
  }),
  'answers deep JSON': () => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: '['.repeat(100_000),
  }),
  'answers __proto__': () => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: '{"__proto__":{"access_token":"CANARY"}}',
  }),
}

/** An authorization server and an API for several instances of coatcheck, one after another. */
const servers = async () => ({
  as: closeAfterTest(await startAuthorizationServer()),
  api: closeAfterTest(await startUpstream()),
})

describe('R632 A broken authorization server', () => {
  for (const path of ['/.well-known/openid-configuration', '/jwks', '/token', '/userinfo']) {
    test(`whose ${path} is broken in any way signs nobody in by mistake, says nothing of it, and is forgiven afterwards`, async () => {
      const { as, api } = await servers()
      const wrong: string[] = []
      let world: World | undefined
      for (const [how, fault] of Object.entries(faults)) {
        as.behaviour.faults[path] = fault
        world = await startCoatcheck(as, api)
        const user = world.browser()
        const login = await user.navigate('/auth/login')
        const answer = login.status === 303 ? await user.signIn() : login
        // Claims come from userinfo only if they can be had: without it a sign-in is still one.
        const isAllowed = [303, 400, 503].includes(answer.status) && (answer.status !== 303 || path === '/userinfo')
        if (!isAllowed) wrong.push(`${how} -> ${answer.status}`)
        if (answer.status !== 303 && sessionCookies(answer).length > 0) wrong.push(`${how} -> a session`)
        if (/CANARY|y\.js|SyntaxError|TypeError/.test(answer.text)) wrong.push(`${how} -> quotes it`)
        if (answer.status !== 303) await expectSignedOut(user, answer)
        if ((await ask(world.url, 'GET /healthz')).status !== 200) wrong.push(`${how} -> not alive`)
        expectNoCanary(world, user)
      }
      expectNone(wrong)
      as.behaviour.faults = {}
      await expect.poll(async () => (await world?.browser().navigate('/auth/login'))?.status).toBe(303)
      expect((await world?.browser().signIn())?.status).toBe(303)
    }, 60_000)
  }

  test('does not end sessions, and does not turn a refused token into an accepted one', async () => {
    const { as, api } = await servers()
    const honest = api.answer
    const wrong: string[] = []
    for (const [how, fault] of Object.entries(faults)) {
      as.behaviour.faults = {}
      api.answer = honest
      const world = await startCoatcheck(as, api)
      const user = world.browser()
      await user.signIn()
      const cookies = user.cookieHeader()
      as.behaviour.faults['/token'] = fault
      api.answer = (_, response) =>
        response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('CANARY')
      const { status, headers, text } = await user.fetch('/api/x')
      if (![401, 502, 503].includes(status)) wrong.push(`${how} -> ${status}`)
      if (status === 503 && !headers.get('retry-after')) wrong.push(`${how} -> no Retry-After`)
      if (headers.has('coatcheck-error') && text.includes('CANARY')) wrong.push(`${how} -> quotes it`)
      if (user.cookieHeader() !== cookies) wrong.push(`${how} -> changes the cookies`)
    }
    expectNone(wrong)
  }, 60_000)
})

describe('R632 Everything away at once', () => {
  test('is answered with 4xx and 5xx of our own, and the process lives', async () => {
    const world = await startWorld()
    const user = world.browser()
    await user.signIn()
    const callback = await user.untilCallback()
    await world.api.close()
    await world.as.close()
    const told: string[] = []
    for (const [line, path] of [
      ['GET', '/api/x'],
      ['GET', '/api/open/x'],
      ['GET', '/auth/login'],
      ['GET', callback],
      ['GET', '/auth/session'],
      ['GET', '/readyz'],
      ['GET', '/healthz'],
      ['POST', '/auth/logout'],
    ] as const) {
      const answer =
        path.startsWith('/auth/log') || path === callback
          ? await user.navigate(path, { method: line, headers: line === 'POST' ? { origin: world.publicUrl } : {} })
          : await user.fetch(path, { method: line })
      told.push(`${path.split('?')[0]} ${answer.status}`)
      expect(answer.text, path).not.toMatch(/ECONN|127\.0\.0\.1|CANARY|\bat [^<\n]+:\d+:\d+/)
    }
    expect(told).toEqual([
      '/api/x 502',
      '/api/open/x 502',
      // What was learned of the authorization server before is still good.
      expect.stringMatching(/^\/auth\/login (?:303|503)$/),
      '/auth/callback 503',
      '/auth/session 200',
      expect.stringMatching(/^\/readyz (?:200|503)$/),
      '/healthz 200',
      '/auth/logout 303',
    ])
    await expectSignedOut(user)
  })
})

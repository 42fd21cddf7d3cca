// A hostile or broken authorization server behind the browser's back: it hangs, drips, floods, redirects into the internal
// network or answers with a page (R058, R118; ASVS 12.3.2, 13.1.3 and 15.3.2, RFC 9700 4.12).
import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import type { Answer, AuthorizationServer } from '../support/authorization-server.ts'
import type { Browser, BrowserResponse } from '../support/browser.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { closeAfterTest, listen } from '../support/http-server.ts'
import { expectNoCanary, expectSignedOut } from '../support/oracles.ts'
import { passed } from '../support/time.ts'

/** Longest wait for one answer of the authorization server, as these tests configure it; the default is ten seconds. */
const timeout = 500
const refresh: ConfigInput['refresh'] = { timeout: `${timeout}ms` }
/** Nothing that a browser waits for may take longer: a few calls, each with its own limit. */
const patience = 4_000

const page = '<html><script>alert("CANARY")</script></html>'

interface Misbehaviour {
  /** Answers, or takes the response into its own hands. */
  answer: (response: ServerResponse, sink: string) => Answer | undefined | Promise<undefined>
  /** Bytes that it managed to send, if it counts them. */
  sent?: () => number
}

function forever(): Promise<undefined> {
  return new Promise(() => {})
}

const misbehaviours: Record<string, () => Misbehaviour> = {
  'that never answers': () => ({ answer: forever }),
  'that drips its answer': () => ({
    answer: (response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const timer = setInterval(() => response.write(' '), 50)
      response.on('close', () => clearInterval(timer))
      return forever()
    },
  }),
  'that stops in the middle of its answer': () => ({
    answer: (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 10_000 })
      response.write('{"issuer":"CANARY')
      return forever()
    },
  }),
  'that answers with 100 MB': () => {
    let bytes = 0
    const piece = Buffer.alloc(65_536, ' ')
    return {
      sent: () => bytes,
      answer: (response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        const more = () => {
          while (!response.destroyed && bytes < 100 * 1_048_576) {
            bytes += piece.length
            if (!response.write(piece)) return void response.once('drain', more)
          }
          response.end('{}')
        }
        more()
        return forever()
      },
    }
  },
  'that answers with a page': () => ({ answer: () => ({ headers: { 'content-type': 'text/html' }, body: page }) }),
  'that answers with JSON it calls a page': () => ({
    answer: () => ({ headers: { 'content-type': 'text/html' }, body: '{"canary":"CANARY"}' }),
  }),
  'that answers with nothing': () => ({
    answer: () => ({ headers: { 'content-type': 'application/json' }, body: '' }),
  }),
  'that answers with half an object': () => ({
    answer: () => ({ headers: { 'content-type': 'application/json' }, body: '{"access_token":"CANARY' }),
  }),
  'that answers with a list': () => ({ answer: () => ({ body: ['CANARY'] }) }),
  'that answers with bytes': () => ({
    answer: () => ({ headers: { 'content-type': 'application/json' }, body: Buffer.from([0xff, 0xfe, 0x00, 0x7b]) }),
  }),
  'that lies about compression': () => ({
    answer: () => ({
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: '{"x":"CANARY"}',
    }),
  }),
  'that redirects with 302': () => ({ answer: (_, sink) => ({ status: 302, headers: { location: sink }, body: '' }) }),
  'that redirects with 307': () => ({ answer: (_, sink) => ({ status: 307, headers: { location: sink }, body: '' }) }),
  'that redirects with 308': () => ({ answer: (_, sink) => ({ status: 308, headers: { location: sink }, body: '' }) }),
  'that redirects to the cloud metadata service': () => ({
    answer: () => ({ status: 302, headers: { location: 'http://169.254.169.254/latest/meta-data/' }, body: '' }),
  }),
  'that asks for a refresh': () => ({ answer: (_, sink) => ({ headers: { refresh: `0;url=${sink}` }, body: page }) }),
  'that answers 500 with a stack': () => ({
    answer: () => ({ status: 500, body: 'Error: CANARY\n    at handler (/srv/as/node_modules/x.js:1:1)' }),
  }),
  'that resets the connection': () => ({
    answer: (response) => {
      response.socket?.resetAndDestroy()
      return forever()
    },
  }),
}

/** Somewhere that nobody should be sent: counts who comes. */
async function sinkhole() {
  const calls: string[] = []
  const { url } = closeAfterTest(
    await listen((request, response) => {
      calls.push(`${request.method} ${request.url}`)
      response.end()
    }),
  )
  return { calls, url: `${url}/internal` }
}

function misbehave(as: AuthorizationServer, path: string, { answer }: Misbehaviour, sink: string): void {
  as.behaviour.faults[path] = (_, response) => answer(response, sink)
}

/** Bounded in time, in our own words, without a session and without a trace. */
async function expectBounded(
  world: World,
  browser: Browser,
  attempt: () => Promise<BrowserResponse>,
): Promise<BrowserResponse> {
  const start = Date.now()
  const answer = await attempt()
  expect(Date.now() - start).toBeLessThan(patience)
  expect([400, 503]).toContain(answer.status)
  expect(['login_failed', 'authorization_server_unavailable']).toContain(answer.headers.get('coatcheck-error'))
  expect(answer.headers.get('location')).toBeNull()
  expect(answer.text).not.toMatch(/CANARY|alert|169\.254|node_modules|\bat \w+ \(/)
  await expectSignedOut(browser, answer)
  expectNoCanary(world, browser)
  return answer
}

describe.each(Object.keys(misbehaviours))('R058 an authorization server %s', (name) => {
  const misbehaviour = () => misbehaviours[name]?.() ?? { answer: forever }

  test('instead of its metadata starts no login, and can be asked again', async () => {
    const sink = await sinkhole()
    const fault = misbehaviour()
    const world = await startWorld(({ as }) => {
      misbehave(as, '/.well-known/openid-configuration', fault, sink.url)
      return { refresh }
    })
    const browser = world.browser()
    const answer = await expectBounded(world, browser, () => browser.navigate('/auth/login'))
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(sink.calls).toEqual([])
    expect(fault.sent?.() ?? 0).toBeLessThan(20 * 1_048_576)
    world.as.behaviour.faults = {}
    await expect.poll(async () => (await browser.navigate('/auth/login')).status).toBe(303)
  })

  test('instead of its keys signs nobody in', async () => {
    const sink = await sinkhole()
    const fault = misbehaviour()
    const world = await startWorld({ refresh })
    misbehave(world.as, '/jwks', fault, sink.url)
    const browser = world.browser()
    await expectBounded(world, browser, () => browser.signIn())
    expect(world.as.to('/userinfo')).toEqual([])
    expect(sink.calls).toEqual([])
    expect(fault.sent?.() ?? 0).toBeLessThan(20 * 1_048_576)
    world.as.behaviour.faults = {}
    expect((await browser.signIn()).status).toBe(303)
  })

  test('instead of tokens signs nobody in', async () => {
    const sink = await sinkhole()
    const fault = misbehaviour()
    const world = await startWorld({ refresh })
    misbehave(world.as, '/token', fault, sink.url)
    const browser = world.browser()
    await expectBounded(world, browser, () => browser.signIn())
    expect(sink.calls).toEqual([])
    expect(world.as.to('/token')).toHaveLength(1)
    expect(fault.sent?.() ?? 0).toBeLessThan(20 * 1_048_576)
  })

  test('instead of userinfo holds a login up only so long', async () => {
    const sink = await sinkhole()
    const fault = misbehaviour()
    const world = await startWorld({ refresh })
    misbehave(world.as, '/userinfo', fault, sink.url)
    const browser = world.browser()
    const start = Date.now()
    expect((await browser.signIn()).status).toBe(303)
    expect(Date.now() - start).toBeLessThan(patience)
    expect((await browser.fetch('/auth/session')).json().user).toEqual({
      sub: 'alice',
      name: 'Alice',
      email: 'alice@example.com',
    })
    expect(sink.calls).toEqual([])
    expect(fault.sent?.() ?? 0).toBeLessThan(20 * 1_048_576)
    expectNoCanary(world, browser)
  })

  test('instead of taking a pushed request starts no login, and certainly none in the open', async () => {
    const sink = await sinkhole()
    const fault = misbehaviour()
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
      }
      misbehave(as, '/par', fault, sink.url)
      return { refresh }
    })
    const browser = world.browser()
    const answer = await expectBounded(world, browser, () => browser.navigate('/auth/login'))
    expect(answer.setCookie).toEqual([])
    expect(world.as.to('/authorize')).toEqual([])
    expect(sink.calls).toEqual([])
    expect(fault.sent?.() ?? 0).toBeLessThan(20 * 1_048_576)
    world.as.behaviour.faults = {}
    expect((await browser.signIn()).status).toBe(303)
  })

  test('R084 instead of revoking holds a sign-out up only so long', async () => {
    const sink = await sinkhole()
    const fault = misbehaviour()
    const world = await startWorld({ refresh })
    misbehave(world.as, '/revoke', fault, sink.url)
    const browser = world.browser()
    await browser.signIn()
    const start = Date.now()
    const answer = await browser.fetch('/auth/logout', { method: 'POST' })
    expect(Date.now() - start).toBeLessThan(patience)
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toContain(`${world.as.issuer}/end-session?`)
    await expectSignedOut(browser, answer)
    expect(sink.calls).toEqual([])
    expect(fault.sent?.() ?? 0).toBeLessThan(20 * 1_048_576)
    expectNoCanary(world, browser)
  })

  test('R019 instead of fresh tokens ends no session, and holds an API call up only so long', async () => {
    const sink = await sinkhole()
    const fault = misbehaviour()
    const world = await startWorld({ refresh })
    world.as.behaviour.expiresIn = 0.1
    const browser = world.browser()
    await browser.signIn()
    await passed(150)
    misbehave(world.as, '/token', fault, sink.url)
    const start = Date.now()
    const answer = await browser.fetch('/api/orders')
    expect(Date.now() - start).toBeLessThan(patience)
    expect([answer.status, answer.headers.get('coatcheck-error')]).toEqual([503, 'authorization_server_unavailable'])
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(answer.setCookie.filter((line) => line.includes('Max-Age=0'))).toEqual([])
    expect(sink.calls).toEqual([])
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
    expect(world.api.requests).toEqual([])
    expectNoCanary(world, browser)
    world.as.behaviour.faults = {}
    await expect.poll(async () => (await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.as.reuses).toEqual([])
  })
})

describe('R118 an authorization server that goes away after the sign-in', () => {
  test('takes no session with it: calls, session and sign-out go on', async () => {
    const world = await startWorld({ refresh })
    const browser = world.browser()
    await browser.signIn()
    world.as.behaviour.away = true
    for (let time = 0; time < 3; time++) expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
    expect((await browser.fetch('/auth/session', { method: 'POST' })).json().authenticated).toBe(true)
    const start = Date.now()
    const logout = await browser.fetch('/auth/logout', { method: 'POST' })
    expect(Date.now() - start).toBeLessThan(patience)
    expect(logout.status).toBe(303)
    await expectSignedOut(browser, logout)
  })

  test('does not take a second provider with it', async () => {
    const world = await startWorld(({ config }) => {
      const [main] = config.providers as [ConfigInput['providers'][number]]
      return { refresh, providers: [{ ...main, id: 'gone', issuer: 'http://127.0.0.1:9' }, main] }
    })
    const browser = world.browser()
    expect((await browser.navigate('/auth/login?provider=gone')).status).toBe(503)
    expect((await browser.signIn('?provider=main')).status).toBe(303)
  })
})

import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { Hono } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { serve } from '../../src/node.ts'
import { exchange } from '../support/browser.ts'
import { startWorld } from '../support/coatcheck.ts'
import { freePort } from '../support/http-server.ts'
import { fromPage, head, openConnection } from '../support/raw.ts'

/** Sends bytes and returns everything that comes back until the server closes. */
function raw(url: string, bytes: string): Promise<string> {
  const { port, hostname } = new URL(url)
  return new Promise((resolve, reject) => {
    let received = ''
    const socket = connect(Number(port), hostname, () => socket.write(bytes))
    socket.on('data', (chunk) => (received += chunk))
    socket.on('error', reject)
    socket.on('close', () => resolve(received))
  })
}

/** A port as Linux has it in its tables. */
const hexadecimal = (port: string | number | undefined) => Number(port).toString(16).toUpperCase().padStart(4, '0')

describe('serve()', () => {
  test.each([
    ['garbage', 'garbage\r\n\r\n', '400', 'bad_request'],
    [
      'headers beyond all measure',
      `GET / HTTP/1.1\r\nHost: a\r\nx: ${'x'.repeat(70_000)}\r\n\r\n`,
      '431',
      'headers_too_large',
    ],
    ['no Host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', '400', 'bad_request'],
    ['two Hosts', 'GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n', '400', 'bad_request'],
    [
      'a target that climbs',
      'GET /api/../auth/session HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      '400',
      'bad_request',
    ],
  ])('answers %s with a problem document', async (_, bytes, status, code) => {
    const world = await startWorld()
    const answer = await raw(world.url, bytes)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer.toLowerCase()).toContain(`coatcheck-error: ${code}`)
    expect(answer).toContain('application/problem+json')
    expect(answer).toContain(`"code":"${code}"`)
  })

  test('expects what it is told to expect, and keeps that to itself', async () => {
    const world = await startWorld()
    const bytes = 'GET /api/open HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nExpect: banana\r\nConnection: close\r\n\r\n'
    expect(await raw(world.url, bytes)).toMatch(/^HTTP\/1.1 200 /)
    expect(world.api.last().headers.expect).toBeUndefined()
  })

  test('refuses codings it would have to undo', async () => {
    const world = await startWorld()
    const head = 'POST /api/open HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nConnection: close\r\n'
    expect(await raw(world.url, `${head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`)).toMatch(/^HTTP\/1.1 400 /)
    expect(world.api.requests).toEqual([])
  })

  test('answers a malformed chunk, and calls no upstream whole', async () => {
    const world = await startWorld()
    const head = 'POST /api/open HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nTransfer-Encoding: chunked\r\n\r\n'
    expect(await raw(world.url, `${head}zz\r\nhello\r\n0\r\n\r\n`)).toMatch(/^HTTP\/1.1 400 .*bad_request/s)
    expect(world.api.requests.filter(({ body }) => String(body) !== 'broken off')).toEqual([])
  })

  test('does nothing for whoever only looks: HEAD is no sign-in', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callback = await browser.untilCallback()
    for (const path of ['/auth/login', callback]) {
      const answer = await browser.navigate(path, { method: 'HEAD' })
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET'])
    }
    expect((await browser.navigate(callback)).status).toBe(303)
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
  })

  test('calls once an upstream that hangs up on a new connection', async () => {
    const world = await startWorld()
    let calls = 0
    world.api.answer = (request) => {
      calls++
      request.socket.destroy()
    }
    expect((await world.browser().fetch('/api/open')).status).toBe(502)
    expect(calls).toBe(1)
  })

  test('is healthy to a proxy that checks by http', async () => {
    const world = await startWorld()
    const config = { ...world.config, publicUrl: 'https://app.example.com', trustedProxies: ['127.0.0.1'] }
    const server = await serve({ ...config, listen: { port: await freePort() } }, { log: () => {} })
    onTestFinished(() => server.close())
    const asked = (path: string) => exchange(new URL(path, server.url), 'GET', { 'x-forwarded-proto': 'http' })
    expect((await asked('/healthz')).status).toBe(200)
    expect((await asked('/auth/session')).status).toBe(403)
  })

  test('closes as soon as the last answer is complete, although its connection would be kept', async () => {
    const world = await startWorld()
    const server = await serve({ ...world.config, listen: { port: await freePort() } }, { log: () => {} })
    let answerNow = () => {}
    world.api.answer = (_, response) => {
      answerNow = () => response.end('done')
    }
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    let received = ''
    socket.on('data', (chunk) => (received += chunk))
    socket.write('GET /api/open HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\n\r\n')
    await expect.poll(() => world.api.requests.length).toBe(1)
    const closed = server.close()
    const start = performance.now()
    answerNow()
    await closed
    expect(performance.now() - start).toBeLessThan(5_000)
    expect(received).toMatch(/^HTTP\/1\.1 200 .*done/s)
  })

  test('asks silent connections whether there is still somebody', async () => {
    const world = await startWorld()
    world.api.answer = (_, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    const connection = openConnection(world.url)
    connection.send(head('GET /api/open/x', fromPage))
    await expect.poll(() => connection.received()).toContain('event-stream')
    // What the system has of it: `02` is the timer of a connection that is kept alive, which goes off after so many hundredths of a second.
    const here = new RegExp(
      `:${hexadecimal(new URL(world.url).port)} \\S+:${hexadecimal(connection.socket.localPort)} 01 \\S+ 02:(\\S+)`,
    )
    const timer = () => Number.parseInt(here.exec(readFileSync('/proc/net/tcp', 'latin1'))?.[1] ?? '', 16)
    await expect.poll(timer).toBeGreaterThan(2_000)
    expect(timer()).toBeLessThanOrEqual(3_000)
    connection.close()
  })

  test('mounts coatcheck in an application of one’s own', async () => {
    const world = await startWorld()
    const port = await freePort()
    const server = await serve(
      { ...world.config, listen: { port } },
      { log: () => {}, mount: (coatcheck) => new Hono().get('/hello', (c) => c.text('hello')).route('/', coatcheck) },
    )
    onTestFinished(() => server.close())
    expect((await exchange(new URL('/hello', server.url), 'GET', {})).text).toBe('hello')
    expect((await exchange(new URL('/auth/session', server.url), 'GET', {})).json()).toEqual({ authenticated: false })
    const call = await exchange(new URL('/api/open', server.url), 'GET', { 'x-csrf': '1' })
    expect(call.json()).toMatchObject({ target: '/open' })
    expect((await exchange(new URL('/api/open', server.url), 'GET', {})).json().code).toBe('csrf_rejected')
  })

  test('shows metrics on the admin listener, to whoever has the token', async () => {
    const admin = { listen: { port: await freePort() }, token: 'a-long-enough-token' }
    const world = await startWorld({ admin })
    await world.browser().signIn()
    const metrics = (headers: Record<string, string>) =>
      exchange(new URL(`http://127.0.0.1:${admin.listen.port}/metrics`), 'GET', headers)
    for (const [authorization, challenge] of [
      ['', 'Bearer'],
      ['Bearer wrong-but-as-long', 'Bearer error="invalid_token"'],
    ] as const) {
      const refused = await metrics({ authorization })
      expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, challenge])
    }
    const answer = await metrics({ authorization: `Bearer ${admin.token}` })
    expect(answer.status).toBe(200)
    expect(answer.text).toContain('coatcheck_events_total{event="login.completed",reason=""} 1')
    expect((await exchange(new URL('/metrics', world.url), 'GET', {})).status).toBe(404)
  })

  test('says what is not ready', async () => {
    const world = await startWorld()
    const ready = () => exchange(new URL('/readyz', world.url), 'GET', {})
    await expect.poll(async () => (await ready()).status).toBe(200)
    expect((await ready()).json()).toEqual({ status: 'ready', missing: [] })
  })
})

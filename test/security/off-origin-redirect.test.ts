// Attack: an upstream that sends the call, and the token and body with it, somewhere else, or the browser after it.
// R046 R522
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectNone } from '../support/corpus.ts'
import { ask } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

/** The other origin. It is the upstream of a route of its own, and nobody must connect to it for another. */
let other: Upstream
let connections = 0
beforeAll(async () => {
  other = await startUpstream()
  other.server.on('connection', () => connections++)
})
afterAll(() => other.close())

describe('R522 A redirect to another origin', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none' },
      { path: '/api/sibling', upstream: `${api.url}/sibling`, token: 'none' },
      { path: '/api/other', upstream: `${other.url}/other`, token: 'none' },
    ],
  }))

  /** Places outside of `/v1`, as an upstream may write them. */
  function elsewhere(): string[] {
    const { api } = shared()
    const there = `127.0.0.1:${other.port}`
    const here = `127.0.0.1:${api.port}`
    return [
      ...[`http://${there}/v1/x`, `https://${there}/v1/x`, `//${there}/v1/x`, `HTTP://${there}/v1/x`, `///${there}/v1`],
      ...[`/\\${there}/v1/x`, `\\\\${there}\\v1`, `http:\\\\${there}\\v1`, `http:/${there}/v1`, `/\t/${there}/v1/x`],
      ...[`http://${here}@${there}/v1/x`, `http://user:pass@${there}/v1`, `http://user@${here}/v1/x`],
      ...[`http://${here}:pass@${there}/v1`, `http://${there}#@${here}/v1`, `http://${there}\\@${here}/v1/x`],
      ...[`http://127.1:${other.port}/v1/x`, `http://2130706433:${other.port}/v1/x`, `http://0x7f.1:${other.port}/v1`],
      ...[`http://[::ffff:127.0.0.1]:${other.port}/v1/x`, `http://localhost:${api.port}/v1/x`, `https://${here}/v1/x`],
      ...['javascript:alert(document.domain)', 'JavaScript://x/%0aalert(1)', 'data:text/html,<script>x</script>'],
      ...['vbscript:x', 'blob:http://x/y', 'file:///etc/passwd', 'about:blank', 'intent://x#Intent;end', 'mailto:x@y'],
      ...['/sibling/x', `http://${here}/sibling/x`, '/open/x', '/v1/../open/x', '/v1/%2e%2e/open', '../open/x', '/v2'],
      ...[`/other/x`, `${other.url}/other/x`, '/v1x', '/', '..', `/v1/..//${there}/x`, `/v1/../../${there}`],
    ]
  }

  for (const status of [300, 301, 302, 303, 305, 306, 307, 308]) {
    test(`R046 with ${status}: nobody follows it, the browser is not told where to, and neither token nor body goes there`, async () => {
      const { url, api, browser, logged } = shared()
      const user = browser()
      await user.signIn()
      const told = logged('upstream.redirect_blocked').length
      const wrong: string[] = []
      const places = elsewhere()
      for (const location of places) {
        for (const method of ['GET', 'POST', 'PUT'] as const) {
          const before = api.requests.length
          api.answer = (_, response) =>
            response
              .writeHead(status, { location, refresh: `0;url=${location}`, 'content-location': location })
              .end(`<meta http-equiv="refresh" content="0;url=${location}">`)
          const body = method === 'GET' ? '' : 'the body'
          const length = method === 'GET' ? [] : [`Content-Length: ${body.length}`, 'X-CSRF: 1']
          const answer = await ask(url, `${method} /api/x`, [`Cookie: ${user.cookieHeader()}`, ...length], body)
          const calls = api.requests.length - before
          const found = ['location', 'refresh', 'content-location', 'link'].filter((name) => answer.headers.has(name))
          if (answer.status !== status || calls !== 1 || found.length > 0) {
            wrong.push(
              `${method} ${location} -> ${answer.status}, ${calls} calls, ${found} ${answer.headers.get('location')}`,
            )
          }
          if (/Bearer|access/i.test(JSON.stringify([...answer.headers]))) wrong.push(`${method} ${location} -> a token`)
        }
      }
      expectNone(wrong)
      expect([connections, other.requests], 'calls of the other origin').toEqual([0, []])
      await expect.poll(() => logged('upstream.redirect_blocked').length - told).toBe(places.length * 3)
    })
  }

  test('is taken apart from one inside the route, even where both are in one answer', async () => {
    const { url, api } = shared()
    for (const second of [`http://127.0.0.1:${other.port}/`, '//evil.test/', 'javascript:alert(1)']) {
      for (const both of [
        ['/open/there', second],
        [second, '/open/there'],
      ]) {
        api.answer = (_, response) =>
          response
            .writeHead(
              302,
              both.flatMap((one) => ['Location', one]),
            )
            .end()
        const answer = await ask(url, 'GET /api/open/x')
        const location = answer.headers.get('location')
        const resolved = location === null ? undefined : new URL(location, 'http://app.test/api/open/x')
        expect([resolved?.origin ?? 'none', resolved?.pathname.startsWith('/api/open/') ?? true], `${both}`).toEqual([
          resolved ? 'http://app.test' : 'none',
          true,
        ])
      }
    }
    expect(connections).toBe(0)
  })
})

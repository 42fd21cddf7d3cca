// Attack: headers that belong to one connection, and `Connection` as a knife that cuts security headers out on the way.
// R006 R508
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import type { UpstreamRequest } from '../support/upstream.ts'

/** How often a header stands in a request as the upstream got it. */
const count = ({ rawHeaders }: UpstreamRequest, name: string) =>
  rawHeaders.filter((one, index) => index % 2 === 0 && one.toLowerCase() === name).length

describe('R508 Hop-by-hop headers from the browser', () => {
  const shared = sharedWorld()

  async function signedIn() {
    const { url, api, browser } = shared()
    const user = browser()
    await user.signIn()
    const call = (line: string, headers: readonly string[], body?: string) =>
      ask(url, line, [`Cookie: first=1; ${user.cookieHeader()}; last=2`, ...headers], body)
    return { api, call }
  }

  const single: Record<string, readonly string[]> = {
    'keep-alive': ['Keep-Alive: timeout=5, max=1000'],
    'proxy-connection': ['Proxy-Connection: keep-alive'],
    te: ['TE: trailers, deflate;q=0.5'],
    trailer: ['Trailer: Expires'],
    trailers: ['Trailers: Expires'],
    'http2-settings': ['HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'],
    upgrade: ['Upgrade: h2c'],
    'proxy-authenticate': ['Proxy-Authenticate: Basic realm="x"'],
    'proxy-authorization': ['Proxy-Authorization: Basic QVRUQUNL'],
    'x-private': ['Connection: x-private', 'X-Private: 1'],
    'x-listed': ['Connection: close , X-LISTED,, keep-alive', 'X-Listed: 1'],
  }
  test('do not reach the upstream, and the call goes on with its token', async () => {
    const { api, call } = await signedIn()
    const wrong: string[] = []
    for (const [name, lines] of Object.entries(single)) {
      const { status } = await call('GET /api/x', lines)
      const seen = api.last()
      if (status !== 200) wrong.push(`${lines} -> ${status}`)
      // The runtime in front of a Worker keeps `Connection` to itself, and what it names with it.
      else if (count(seen, name) > 0 && !(runtime === 'workerd' && lines.length > 1))
        wrong.push(`${lines} -> forwarded`)
      else if (count(seen, 'authorization') !== 1) wrong.push(`${lines} -> no token upstream`)
    }
    expectNone(wrong)
  })

  test('Connection cannot cut out what coatcheck itself says', async () => {
    const { api, call } = await signedIn()
    const own = ['authorization', 'x-forwarded-host', 'x-forwarded-proto', 'traceparent', 'host']
    const wrong: string[] = []
    for (const tokens of [
      own.join(', '),
      own.join(',').toUpperCase(),
      own.join('\t,'),
      'Authorization',
      'close, authorization',
    ]) {
      const { status } = await call('GET /api/x', [`Connection: ${tokens}`])
      const missing = own.filter((name) => count(api.last(), name) !== 1)
      if (status !== 200 || missing.length > 0) wrong.push(`Connection: ${tokens} -> ${status}, without ${missing}`)
    }
    expectNone(wrong)
  })

  test('Connection cannot take the length off a body', async () => {
    const { api, call } = await signedIn()
    const headers = ['Content-Length: 5', 'Connection: content-length, content-type, transfer-encoding']
    const { status } = await call('POST /api/x', [...headers, `Origin: ${shared().publicUrl}`], 'hello')
    expect(status).toBe(200)
    expect(String(api.last().body)).toBe('hello')
  })

  test('R006 cookies never go up, not even when Connection names them', async () => {
    const { api, call } = await signedIn()
    for (const lines of [
      [],
      ['Connection: cookie'],
      ['Cookie2: $Version=1'],
      ['Connection: Cookie2', 'Cookie2: $Version=1'],
    ]) {
      const { status } = await call('GET /api/x', lines)
      expect(status, String(lines)).toBe(200)
      expect(
        Object.keys(api.last().headers).filter((name) => name.startsWith('cookie')),
        String(lines),
      ).toEqual([])
      expect(api.last().rawHeaders.join('\n')).not.toMatch(/Fe26|coatcheck/)
    }
  })

  test('Expect does not reach the upstream and the body arrives', async () => {
    const { api, call } = await signedIn()
    const lines = ['Expect: 100-continue', 'Content-Length: 5', `Origin: ${shared().publicUrl}`]
    const { status } = await call('POST /api/x', lines, 'hello')
    expect(status).toBe(200)
    expect(String(api.last().body)).toBe('hello')
    expect(api.last().headers).not.toHaveProperty('expect')
  })
})

describe('R508 Hop-by-hop headers from the upstream', () => {
  const shared = sharedWorld()

  test('do not reach the browser', async () => {
    const { api, browser } = shared()
    const headers = {
      'keep-alive': 'timeout=1, max=1',
      'proxy-authenticate': 'Basic realm="x"',
      'proxy-authentication-info': 'x',
      'proxy-connection': 'keep-alive',
      te: 'trailers',
      trailer: 'X-Late',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABk',
    }
    api.answer = (_, response) => {
      response.writeHead(200, headers)
      response.end('{}')
    }
    const answer = await browser().fetch('/api/open/x')
    expect(answer.status).toBe(200)
    const keptAlive = answer.headers.get('keep-alive') ?? ''
    expect(keptAlive, "the server's own, if any").not.toContain('max=1')
    expect(Object.keys(headers).filter((name) => name !== 'keep-alive' && answer.headers.has(name))).toEqual([])
  })

  test('what their Connection names stays behind, and cannot take our own headers with it', async () => {
    const { api, browser } = shared()
    api.answer = (_, response) => {
      const connection = 'x-inside, Cache-Control, content-security-policy, x-content-type-options, set-cookie'
      response.writeHead(200, { connection, 'x-inside': 'secret', 'cache-control': 'public, max-age=600' })
      response.end('{}')
    }
    const user = browser()
    await user.signIn()
    const answer = await user.fetch('/api/x')
    expect(answer.status).toBe(200)
    // The runtime in front of a Worker keeps `Connection` to itself.
    if (runtime === 'node') expect(answer.headers.get('x-inside')).toBeNull()
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('content-security-policy')).toContain('sandbox')
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  })
})

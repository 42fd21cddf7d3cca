// Attack: plain http, once, by a typed address, a stripped redirect, or a proxy that does not say what it took.
// R526 R527 R620
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { converse, fromPage, head, type RawAnswer } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const publicUrl = 'https://app.example'
/** How the proxy in front is known: on Node by its address, on Workers by what Cloudflare says. */
const edge = runtime === 'workerd' ? ['CF-Connecting-IP: 127.0.0.1'] : []

async function send(url: string, line: string, headers: readonly string[], host = 'app.example'): Promise<RawAnswer> {
  const length = line.startsWith('POST') ? ['Content-Length: 0'] : []
  const [answer] = await converse(url, head(line, [...edge, ...headers, ...length, 'Connection: close'], host))
  if (!answer) throw new Error(`${line}: no answer`)
  return answer
}

const navigation = ['Accept: text/html', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Sec-Fetch-Site: none']

describe('R527 Strict-Transport-Security', () => {
  const secure = sharedWorld(() => ({ publicUrl }))

  test('is on every answer of an https origin, for a year at least', async () => {
    const { url, browser } = secure()
    const user = browser()
    await user.signIn()
    const page = [...fromPage, 'X-CSRF: 1']
    const cookie = `Cookie: ${user.cookieHeader()}`
    const wrong: string[] = []
    const requests: [line: string, headers: string[]][] = [
      ['GET /auth/login', navigation],
      ['GET /auth/login', ['Accept: text/html', 'Sec-Fetch-Site: cross-site']],
      ['GET /auth/callback', navigation],
      ['GET /auth/session', page],
      ['GET /auth/session', ['Sec-Fetch-Site: cross-site']],
      ['POST /auth/logout', page],
      ['GET /auth/logout', page],
      ['GET /auth/nothing', page],
      ['GET /api/x', [...page, cookie]],
      ['GET /api/open/x', page],
      ['GET /api/x', page],
      ['GET /api/x', ['Sec-Fetch-Site: cross-site']],
      ['TRACE /api/x', page],
      ['GET /api/%00', page],
      ['GET /nothing', page],
      ['GET /', navigation],
    ]
    for (const [line, headers] of requests) {
      const answer = await send(url, line, headers)
      const value = answer.headers.get('strict-transport-security') ?? 'absent'
      const age = Number(/^max-age=(\d+)/.exec(value)?.[1] ?? 0)
      if (age < 31_536_000) wrong.push(`${line} (${answer.status}): ${value}`)
    }
    expectNone(wrong)
  })
})

describe('R527 Strict-Transport-Security in development', () => {
  const plain = sharedWorld()

  test('is on no answer of an http origin: it would lock every other server of localhost out', async () => {
    const { url, api } = plain()
    api.answer = (_, response) => response.writeHead(200, { 'strict-transport-security': 'max-age=31536000' }).end('{}')
    for (const line of ['GET /auth/session', 'GET /api/open/x', 'GET /auth/login', 'GET /nothing']) {
      const { headers } = await send(url, line, fromPage)
      expect(headers.get('strict-transport-security'), line).toBeNull()
    }
  })
})

describe('R526 A trusted proxy says that a request came by http', () => {
  const behind = sharedWorld(() => ({ publicUrl, trustedProxies: ['127.0.0.0/8'] }))

  test('calls are refused, so that somebody notices that the session was in the clear', async () => {
    const { url, api, browser } = behind()
    const user = browser()
    await user.signIn()
    const before = api.requests.length
    const cookie = `Cookie: ${user.cookieHeader()}`
    const wrong: string[] = []
    for (const proto of ['http', 'HTTP', ' http', 'ws', 'http, https', 'gopher', 'httpss']) {
      for (const line of [
        'GET /api/x',
        'POST /api/open/x',
        'GET /auth/session',
        'POST /auth/logout',
        'POST /auth/session',
        'GET /auth/callback?code=x&state=y',
      ]) {
        const answer = await send(url, line, [...fromPage, cookie, `X-Forwarded-Proto: ${proto}`])
        const isRefused = answer.status === 403 && answer.headers.get('coatcheck-error') === 'forbidden'
        if (!isRefused || answer.setCookie.length > 0) wrong.push(`${line} by "${proto}" -> ${answer.status}`)
      }
    }
    expectNone(wrong)
    expect(api.requests.length).toBe(before)
    expect((await user.fetch('/auth/session')).json().authenticated).toBe(true)
  })

  test('documents start again by https, at publicUrl and nowhere else', async () => {
    const { url } = behind()
    const targets = ['/', '/orders?page=2', '/auth/login?returnTo=/x', '/%61', '/?u=//evil.test']
    for (const target of targets) {
      const answer = await send(url, `GET ${target}`, [...navigation, 'X-Forwarded-Proto: http'], 'evil.test')
      expect([301, 302, 303, 307, 308], target).toContain(answer.status)
      const location = new URL(answer.headers.get('location') ?? '')
      expect(location.origin, target).toBe(publicUrl)
      expect(answer.setCookie, target).toEqual([])
    }
    for (const target of ['//evil.test/x', '/\\evil.test', 'http://evil.test/x', '/.evil.test', '/@evil.test']) {
      const { status, headers } = await send(
        url,
        `GET ${target}`,
        [...navigation, 'X-Forwarded-Proto: http'],
        'evil.test',
      )
      const location = headers.get('location')
      expect(location === null ? 'none' : new URL(location, publicUrl).origin, `${target} ${status}`).toMatch(
        /^(?:none|https:\/\/app\.example)$/,
      )
    }
  })

  test('forms do not start again: what they carried would be lost or sent twice', async () => {
    const { url } = behind()
    const answer = await send(url, 'POST /orders', [...navigation, 'X-Forwarded-Proto: http'])
    expect(answer.status).toBe(403)
  })

  test('by https, or not saying so, they pass', async () => {
    const { url } = behind()
    for (const headers of [['X-Forwarded-Proto: https'], ['X-Forwarded-Proto: HTTPS'], []]) {
      expect((await send(url, 'GET /api/open/x', [...fromPage, ...headers])).status, String(headers)).toBe(200)
    }
  })
})

describe('R526 Nobody that is trusted says so', () => {
  const direct = sharedWorld(() => ({ publicUrl }))

  test('and X-Forwarded-Proto changes nothing', async () => {
    const { url, api } = direct()
    for (const proto of ['http', 'https', 'gopher']) {
      expect((await send(url, 'GET /api/open/x', [...fromPage, `X-Forwarded-Proto: ${proto}`])).status, proto).toBe(200)
      expect(api.last().headers['x-forwarded-proto'], proto).toBe('https')
    }
  })
})

describe('R620 What a browser may do with an answer of ours', () => {
  const shared = sharedWorld()

  test('is as little as possible, whatever kind of answer it is', async () => {
    const { url, browser } = shared()
    const user = browser()
    await user.signIn()
    const page = [...fromPage, `Cookie: ${user.cookieHeader()}`]
    const kinds: Record<string, [line: string, headers: string[]]> = {
      JSON: ['GET /auth/session', page],
      problem: ['GET /auth/nothing', page],
      'problem of a route': ['GET /api/x', ['Sec-Fetch-Site: cross-site']],
      'problem before routing': ['GET /api/%00', page],
      'nothing there': ['GET /nothing', page],
      redirect: ['GET /auth/login', navigation],
      'page that asks': ['GET /auth/login', [...navigation.slice(0, 3), 'Sec-Fetch-Site: cross-site']],
      'page that refuses': ['GET /auth/callback', navigation],
      'page of an error': ['GET /auth/login?provider=x', navigation],
    }
    const wrong: string[] = []
    for (const [kind, [line, headers]] of Object.entries(kinds)) {
      const answer = await send(url, line, headers, 'app.localhost')
      const isDocument = (answer.headers.get('content-type') ?? '').startsWith('text/html')
      const policy = answer.headers.get('content-security-policy') ?? ''
      const directives = ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
      for (const directive of directives)
        if (!policy.includes(directive)) wrong.push(`${kind}: CSP without ${directive}`)
      if (/unsafe|\*|https?:|data:/.test(policy)) wrong.push(`${kind}: CSP ${policy}`)
      const expected = {
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
        'cache-control': 'no-store',
        ...(isDocument ? { 'cross-origin-opener-policy': 'same-origin' } : {}),
      }
      for (const [name, value] of Object.entries(expected)) {
        if (answer.headers.get(name) !== value)
          wrong.push(`${kind} (${answer.status}): ${name}: ${answer.headers.get(name)}`)
      }
      if (isDocument !== kind.startsWith('page')) wrong.push(`${kind}: ${answer.headers.get('content-type')}`)
    }
    expectNone(wrong)
  })
})

// Attack: a method that the route does not have, spelled in another way, tunnelled in a header, or made up.
// R016
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

describe('R016 Methods', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'none' },
      { path: '/api/read', upstream: `${api.url}/read`, token: 'none', methods: ['GET'] },
    ],
  }))

  test('that the route does not list are 405 with Allow, and the upstream hears nothing', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const wrong: string[] = []
    for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']) {
      const answer = await ask(url, `${method} /api/read/x`, ['X-CSRF: 1'])
      const { status, headers } = answer
      if (status !== 405 || headers.get('allow') !== 'GET') wrong.push(`${method} -> ${status} ${headers.get('allow')}`)
      if (headers.get('coatcheck-error') !== 'method_not_allowed')
        wrong.push(`${method} -> ${headers.get('coatcheck-error')}`)
    }
    expectNone(wrong)
    expect(api.requests.length).toBe(before)
  })

  test('that no API has are never forwarded', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const wrong: string[] = []
    const methods = [
      'TRACE',
      'PROPFIND',
      'MKCOL',
      'COPY',
      'MOVE',
      'LOCK',
      'SEARCH',
      'PURGE',
      'REPORT',
      'LINK',
      'QUERY',
      'M-SEARCH',
    ]
    for (const method of methods) {
      const { status, text } = await ask(url, `${method} /api/x`, ['X-CSRF: 1'])
      const expected = runtime === 'node' ? [400, 405] : [400, 405, 501]
      if (!expected.includes(status)) wrong.push(`${method} -> ${status}`)
      if (text.includes('X-CSRF')) wrong.push(`${method} -> echoes the request`)
    }
    expectNone(wrong)
    expect(api.requests.slice(before).map(({ method }) => method)).toEqual([])
  })

  test('cannot be overridden by a header', async () => {
    const { url, api } = shared()
    const names = ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'X-Original-Method']
    for (const name of names) {
      const { status } = await ask(url, 'GET /api/read/x', [`${name}: DELETE`])
      expect(status, name).toBe(200)
      expect(api.last().method, name).toBe('GET')
      expect(Object.keys(api.last().headers), name).not.toContain(name.toLowerCase())
    }
    const { status } = await ask(url, 'POST /api/read/x', [
      'X-CSRF: 1',
      'X-HTTP-Method-Override: GET',
      'Content-Length: 0',
    ])
    expect(status).toBe(405)
  })

  test('of our own endpoints are fixed too: 405 with Allow, nobody signed in or out', async () => {
    const { url, browser } = shared()
    const user = browser()
    await user.signIn()
    const cookie = `Cookie: ${user.cookieHeader()}`
    const wrong: string[] = []
    const endpoints: [path: string, methods: string[], allow: string][] = [
      ['/auth/login', ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH'], 'GET'],
      ['/auth/callback', ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'], 'GET'],
      ['/auth/session', ['PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH'], 'GET, HEAD, POST'],
      ['/auth/logout', ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'], 'POST'],
    ]
    for (const [path, methods, allow] of endpoints) {
      for (const method of methods) {
        const { status, headers, setCookie } = await ask(url, `${method} ${path}`, [
          cookie,
          'X-HTTP-Method-Override: POST',
        ])
        if (status !== 405 || headers.get('allow') !== allow)
          wrong.push(`${method} ${path} -> ${status} ${headers.get('allow')}`)
        if (setCookie.length > 0) wrong.push(`${method} ${path} -> sets a cookie`)
      }
    }
    expectNone(wrong)
    expect((await user.fetch('/auth/session')).json().authenticated).toBe(true)
  })
})

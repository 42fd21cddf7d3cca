// Attack: another site learns from side effects of its own requests whether a visitor is signed in, and as whom.
// R211 R313 R314 R521
import { describe, expect, test } from 'vitest'
import { expectNone } from '../support/corpus.ts'
import { ask, converse, head } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

describe('R313 Embedding', () => {
  const shared = sharedWorld()

  test('is ruled out by nosniff and Cross-Origin-Resource-Policy on every answer that could depend on a session', async () => {
    const { url, api, browser } = shared()
    const user = browser()
    await user.signIn()
    api.answer = (_, response) => {
      response.writeHead(200, { 'cross-origin-resource-policy': 'cross-origin', 'x-content-type-options': 'sniff' })
      response.end('{}')
    }
    const cookie = `Cookie: ${user.cookieHeader()}`
    const wrong: string[] = []
    const lines = [
      ...[
        'GET /api/x',
        'GET /api/open/x',
        'HEAD /api/x',
        'GET /api/%00',
        'GET /auth/session',
        'GET /auth/login',
        'GET /auth/callback',
      ],
      ...[
        'GET /auth/logout',
        'POST /auth/logout',
        'GET /auth/nothing',
        'GET /nothing',
        'TRACE /api/x',
        'GET /auth/logout/callback',
      ],
    ]
    for (const line of lines) {
      for (const more of [[cookie], []]) {
        const { headers, status } = await ask(url, line, [...more, 'Content-Length: 0'])
        const has = [headers.get('cross-origin-resource-policy'), headers.get('x-content-type-options')]
        if (has.join() !== 'same-origin,nosniff') wrong.push(`${line} (${status}): ${has}`)
      }
    }
    expectNone(wrong)
  })
})

describe('R314 What another site can observe', () => {
  const shared = sharedWorld()

  /** All that differs for a page that loads this from elsewhere: status, headers but for what is random, length. */
  async function observed(line: string, headers: readonly string[]): Promise<string> {
    const [answer] = await converse(shared().url, head(line, [...headers, 'Connection: close']))
    const visible = [...(answer?.headers ?? [])].filter(([name]) => name !== 'date')
    const text = JSON.stringify([answer?.status, visible, answer?.text])
    return text.replaceAll(/nonce-[\w-]+|nonce=\\"[\w-]+\\"/g, 'nonce')
  }

  const loads: Record<string, readonly string[]> = {
    'an image': ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image', 'Accept: image/*'],
    'a script': ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: script', 'Accept: */*'],
    'a frame': [
      'Sec-Fetch-Site: cross-site',
      'Sec-Fetch-Mode: navigate',
      'Sec-Fetch-Dest: iframe',
      'Accept: text/html',
    ],
    'a window': [
      'Sec-Fetch-Site: cross-site',
      'Sec-Fetch-Mode: navigate',
      'Sec-Fetch-Dest: document',
      'Accept: text/html',
    ],
    'a fetch': [
      'Sec-Fetch-Site: cross-site',
      'Sec-Fetch-Mode: cors',
      'Sec-Fetch-Dest: empty',
      'Origin: https://evil.test',
    ],
    'a sibling': ['Sec-Fetch-Site: same-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image'],
  }
  for (const line of [
    'GET /auth/session',
    'GET /auth/login',
    'GET /api/x',
    'GET /api/maybe/x',
    'POST /auth/logout',
    'GET /auth/logout/callback',
  ]) {
    test(`${line} loaded by another site is the same with and without a session`, async () => {
      const user = shared().browser()
      await user.signIn()
      // Sent although cookies are SameSite=Strict: a browser with Lax-by-mistake, or an operator who chose None.
      const cookie = `Cookie: ${user.cookieHeader()}`
      const wrong: string[] = []
      for (const [what, headers] of Object.entries(loads)) {
        const [signedIn, signedOut] = [await observed(line, [...headers, cookie]), await observed(line, headers)]
        if (signedIn !== signedOut) wrong.push(`${what}:\n${signedIn}\n${signedOut}`)
        if (signedIn.includes('alice')) wrong.push(`${what}: names the user`)
      }
      expectNone(wrong)
    })
  }

  test('GET /auth/callback loaded by another site as anything but a page is the same with and without a session', async () => {
    const user = shared().browser()
    await user.signIn()
    const cookie = `Cookie: ${user.cookieHeader()}`
    const wrong: string[] = []
    for (const what of ['an image', 'a script', 'a frame', 'a fetch', 'a sibling']) {
      const headers = loads[what] ?? []
      const line = 'GET /auth/callback?code=x&state=y'
      const [signedIn, signedOut] = [await observed(line, [...headers, cookie]), await observed(line, headers)]
      if (signedIn !== signedOut) wrong.push(`${what}:\n${signedIn}\n${signedOut}`)
    }
    expectNone(wrong)
  })

  test('R211 the first page after a sign-in works without the Strict cookie: it asks /auth/session, and is told', async () => {
    const user = shared().browser()
    await user.signIn()
    // The document after the callback is still a cross-site navigation: the browser keeps the Strict cookie back.
    const [document] = await converse(
      shared().url,
      head('GET /', ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Connection: close']),
    )
    expect(document?.status).not.toBe(303)
    expect(document?.setCookie).toEqual([])
    expect((await user.fetch('/auth/session')).json().authenticated).toBe(true)
  })
})

describe('R521 API data as a document', () => {
  const shared = sharedWorld()

  test('is refused for every destination that renders or runs it', async () => {
    const { url, api, browser } = shared()
    const user = browser()
    await user.signIn()
    const before = api.requests.length
    const destinations = [
      ...[
        'document',
        'iframe',
        'frame',
        'embed',
        'object',
        'fencedframe',
        'script',
        'worker',
        'sharedworker',
        'serviceworker',
      ],
      ...['audioworklet', 'paintworklet', 'style', 'xslt'],
    ]
    const wrong: string[] = []
    for (const path of ['/api/x.html', '/api/open/x.js', '/api/maybe/x']) {
      for (const destination of destinations) {
        const mode = destination === 'document' || destination.endsWith('frame') ? 'navigate' : 'no-cors'
        const headers = [`Cookie: ${user.cookieHeader()}`, 'Sec-Fetch-Site: same-origin', `Sec-Fetch-Mode: ${mode}`]
        const bytes = head(`GET ${path}`, [...headers, `Sec-Fetch-Dest: ${destination}`, 'Connection: close'])
        const [answer] = await converse(url, bytes)
        if (answer?.status !== 403) wrong.push(`${path} as ${destination} -> ${answer?.status}`)
      }
    }
    expectNone(wrong)
    expect(api.requests.length).toBe(before)
  })

  test('does not run even where a browser does not say what it wants it for', async () => {
    const { api, browser } = shared()
    api.answer = (_, response) => {
      const script = { 'content-type': 'text/html', 'content-security-policy': "script-src * 'unsafe-inline'" }
      response.writeHead(200, { ...script, 'x-content-type-options': '', 'x-frame-options': 'ALLOWALL' })
      response.end('<script>alert(1)</script>')
    }
    const answer = await browser().fetch('/api/open/x')
    const policies = answer.headers.get('content-security-policy') ?? ''
    expect(policies).toContain('sandbox')
    expect(policies).toContain("default-src 'none'")
    expect(policies).toContain("frame-ancestors 'none'")
    expect(policies).not.toMatch(/allow-scripts|unsafe-inline|script-src \*/)
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    expect(answer.headers.get('x-frame-options')).toBeNull()
  })
})

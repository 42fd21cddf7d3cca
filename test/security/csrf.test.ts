// Attack: another site, a sibling host or a sandboxed frame makes the browser of a signed-in user call the API.
// R012 R013 R026 R300 R301 R302 R303 R311
import { describe, expect, test } from 'vitest'
import { runtime, startWorld } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask, converse, head, type RawAnswer } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

/** Requests as they differ for a careless guard: with and without a body, simple or not, safe or not. */
const shapes: readonly [line: string, headers: readonly string[], body: string][] = [
  ['GET', [], ''],
  ['HEAD', [], ''],
  ['POST', ['Content-Length: 0'], ''],
  ['POST', ['Content-Type: text/plain', 'Content-Length: 2'], '{}'],
  ['POST', ['Content-Type: application/x-www-form-urlencoded', 'Content-Length: 3'], 'a=b'],
  ['POST', ['Content-Type: multipart/form-data; boundary=x', 'Content-Length: 5'], '--x--'],
  ['POST', ['Content-Type: application/json', 'Content-Length: 2'], '{}'],
  ['POST', ['Content-Type: application/csp-report', 'Content-Length: 2'], '{}'],
  ['POST', ['Content-Type: text/plain;application/json', 'Content-Length: 2'], '{}'],
  ['PUT', ['Content-Type: application/json', 'Content-Length: 2'], '{}'],
  ['PATCH', ['Content-Type: application/json', 'Content-Length: 2'], '{}'],
  ['DELETE', [], ''],
  ['OPTIONS', [], ''],
]

interface Row {
  from: string
  /** `Sec-Fetch-Site` */
  site?: string
  origin?: string
  /** `X-CSRF` */
  header?: string
  passes: boolean
}

/** The table of the checklist, section 9, and its neighbours. `self` is the origin of the application. */
const matrix = (self: string): Row[] => {
  const { port } = new URL(self)
  const sibling = `http://sibling.localhost:${port}`
  return [
    { from: 'the application', site: 'same-origin', origin: self, header: '1', passes: true },
    { from: 'the application, GET without Origin', site: 'same-origin', header: '1', passes: true },
    { from: 'the application, without the header', site: 'same-origin', passes: true },
    { from: 'an old browser', origin: self, header: '1', passes: true },
    { from: 'an old browser, without the header', origin: self, passes: true },
    { from: 'an old browser, GET without Origin', header: '1', passes: true },
    { from: 'a browser with a value of tomorrow', site: 'same-app', origin: self, passes: true },
    { from: 'a sibling host', site: 'same-site', origin: sibling, passes: false },
    { from: 'a sibling host, with the header', site: 'same-site', origin: sibling, header: '1', passes: false },
    { from: 'a sibling host, no-cors GET', site: 'same-site', passes: false },
    { from: 'another site', site: 'cross-site', origin: 'https://evil.test', passes: false },
    {
      from: 'another site, with the header',
      site: 'cross-site',
      origin: 'https://evil.test',
      header: '1',
      passes: false,
    },
    { from: 'another site, no-cors GET', site: 'cross-site', passes: false },
    { from: 'a sandboxed frame', site: 'cross-site', origin: 'null', passes: false },
    { from: 'a sandboxed frame, with the header', origin: 'null', header: '1', passes: false },
    { from: 'the address bar', site: 'none', passes: false },
    { from: 'the address bar, with the header', site: 'none', header: '1', passes: false },
    { from: 'a cookie thief with nothing else', passes: false },
    {
      from: 'another site that claims to be the same',
      site: 'same-origin',
      origin: 'https://evil.test',
      passes: false,
    },
    { from: 'the same, with the header', site: 'same-origin', origin: 'https://evil.test', header: '1', passes: false },
    { from: 'the right Origin, but the wrong site', site: 'cross-site', origin: self, header: '1', passes: false },
    { from: 'a value of tomorrow and nothing else', site: 'same-app', passes: false },
    { from: 'an empty Sec-Fetch-Site', site: '', passes: false },
    // workerd drops a header without a value. No browser sends one.
    ...(runtime === 'node' ? [{ from: 'an empty Origin', origin: '', header: '1', passes: false }] : []),
    ...['0', 'true', '', '1, 1', '2', '11'].map((header) => ({
      from: `the header with "${header}"`,
      header,
      passes: false,
    })),
    ...[
      ...[
        `${self}.evil`,
        `${self}/`,
        `${self}#`,
        `http://app.localhost`,
        self.replace('http:', 'https:'),
        `${self} `.trim().toUpperCase(),
      ],
      ...[
        `http://app.localhost:1${port}`,
        `http://app.localhost.:${port}`,
        `http://evil@app.localhost:${port}`,
        `${self}, ${self}`,
      ],
      ...[
        `http://xapp.localhost:${port}`,
        `http://sub.app.localhost:${port}`,
        'http://localhost',
        `file://`,
        `${self} https://evil.test`,
      ],
    ].map((origin) => ({ from: `Origin: ${origin}`, origin, header: '1', passes: false })),
  ]
}

function headersOf({ site, origin, header }: Row): string[] {
  return [
    ...(site === undefined ? [] : [`Sec-Fetch-Site: ${site}`]),
    ...(origin === undefined ? [] : [`Origin: ${origin}`]),
    ...(header === undefined ? [] : [`X-CSRF: ${header}`]),
  ]
}

async function send(url: string, line: string, headers: readonly string[], body = ''): Promise<RawAnswer> {
  const [answer] = await converse(url, head(line, [...headers, 'Connection: close']) + body)
  if (!answer) throw new Error(`${line}: no answer`)
  return answer
}

describe('R012 R300 The table of who may call', () => {
  const shared = sharedWorld()

  test('R013 R301 R302 R303 holds for every method and every content type', async () => {
    const { url, api, publicUrl, browser } = shared()
    const user = browser()
    await user.signIn()
    const cookie = `Cookie: ${user.cookieHeader()}`
    const wrong: string[] = []
    for (const row of matrix(publicUrl)) {
      for (const [method, headers, body] of shapes) {
        const before = api.requests.length
        const answer = await send(url, `${method} /api/x`, [cookie, ...headersOf(row), ...headers], body)
        const calls = api.requests.length - before
        const isRefused =
          answer.status === 403 && answer.headers.get('coatcheck-error') === 'csrf_rejected' && calls === 0
        const isServed = answer.status === 200 && calls === 1
        if (row.passes ? !isServed : !isRefused) {
          wrong.push(`${row.from}: ${method} ${headers[0] ?? ''} -> ${answer.status}, ${calls} upstream calls`)
        }
      }
    }
    expectNone(wrong)
  })

  test('R026 holds on a route without sessions too, where an address inside the network is the credential', async () => {
    const { url, api, publicUrl } = shared()
    const wrong: string[] = []
    for (const row of matrix(publicUrl)) {
      const before = api.requests.length
      const { status } = await send(url, 'GET /api/open/x', headersOf(row))
      if (status !== (row.passes ? 200 : 403) || api.requests.length - before !== (row.passes ? 1 : 0)) {
        wrong.push(`${row.from} -> ${status}`)
      }
    }
    expectNone(wrong)
  })

  test('R311 holds for signing out: nobody else can do it, and the session lives on', async () => {
    const { url, publicUrl, browser } = shared()
    const user = browser()
    await user.signIn()
    const cookie = `Cookie: ${user.cookieHeader()}`
    const wrong: string[] = []
    for (const row of matrix(publicUrl).filter(({ passes }) => !passes)) {
      for (const [method, headers, body] of shapes.filter(([method]) => method === 'POST')) {
        const answer = await send(url, `${method} /auth/logout`, [cookie, ...headersOf(row), ...headers], body)
        if (answer.status !== 403 || answer.setCookie.length > 0) wrong.push(`${row.from} -> ${answer.status}`)
      }
    }
    for (const method of ['GET', 'HEAD']) {
      const answer = await send(url, `${method} /auth/logout`, [cookie, 'Sec-Fetch-Site: cross-site'])
      if (answer.status !== 405 || answer.setCookie.length > 0) wrong.push(`${method} -> ${answer.status}`)
    }
    expectNone(wrong)
    expect((await user.fetch('/auth/session')).json().authenticated).toBe(true)
  })

  test('R300 holds for extending a session: nobody else can keep it alive', async () => {
    const { url, publicUrl, browser } = shared()
    const user = browser()
    await user.signIn()
    const wrong: string[] = []
    for (const row of matrix(publicUrl).filter(({ passes }) => !passes)) {
      const headers = [`Cookie: ${user.cookieHeader()}`, ...headersOf(row), 'Content-Length: 0']
      const answer = await send(url, 'POST /auth/session', headers)
      if (answer.status !== 403 || answer.setCookie.length > 0) wrong.push(`${row.from} -> ${answer.status}`)
    }
    expectNone(wrong)
  })

  test('R013 R300 holds for asking who is signed in: what can be seen to come from elsewhere learns nothing', async () => {
    const { url, publicUrl, browser } = shared()
    const user = browser()
    await user.signIn()
    const wrong: string[] = []
    const foreign = matrix(publicUrl).filter(({ passes, site, origin }) => {
      const isElsewhere =
        site === 'same-site' || site === 'cross-site' || (origin !== undefined && origin !== publicUrl)
      return !passes && isElsewhere
    })
    for (const row of foreign) {
      const answer = await send(url, 'GET /auth/session', [`Cookie: ${user.cookieHeader()}`, ...headersOf(row)])
      if (answer.status !== 403 || answer.text.includes('alice')) wrong.push(`${row.from} -> ${answer.status}`)
    }
    expectNone(wrong)
  })
})

describe('R013 A route with csrf "header"', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [{ path: '/api', upstream: `${api.url}/v1`, token: 'none', csrf: 'header' }],
  }))

  test('asks for X-CSRF: 1 on every request, whoever sends it', async () => {
    const { url, api, publicUrl } = shared()
    const wrong: string[] = []
    for (const row of matrix(publicUrl)) {
      const passes = row.passes && row.header === '1'
      for (const [method, headers, body] of shapes) {
        const before = api.requests.length
        const { status } = await send(url, `${method} /api/x`, [...headersOf(row), ...headers], body)
        const calls = api.requests.length - before
        if (status !== (passes ? 200 : 403) || calls !== (passes ? 1 : 0))
          wrong.push(`${row.from}: ${method} -> ${status}`)
      }
    }
    expectNone(wrong)
  })

  test('never tells the upstream of the header', async () => {
    const { url, api } = shared()
    await ask(url, 'GET /api/x', ['X-CSRF: 1'])
    expect(api.last().headers).not.toHaveProperty('x-csrf')
  })
})

describe('R303 Behind a TLS proxy', () => {
  test('the origin that counts is publicUrl and not the address the request came to', async () => {
    const world = await startWorld({ publicUrl: 'https://app.example' })
    const statuses: Record<string, number> = {}
    const origins = [
      'https://app.example',
      'http://app.example',
      'https://app.example:443',
      'https://app.example.',
      world.url,
    ]
    for (const origin of origins) {
      for (const host of ['app.example', new URL(world.url).host]) {
        const bytes = head('POST /api/open/x', [`Origin: ${origin}`, 'Content-Length: 0', 'Connection: close'], host)
        const [answer] = await converse(world.url, bytes)
        statuses[`${origin} at ${host}`] = answer?.status ?? 0
      }
    }
    const served = Object.entries(statuses).filter(([, status]) => status !== 403)
    expect(served.map(([name, status]) => `${name.split(' ')[0]} ${status}`)).toEqual([
      'https://app.example 200',
      'https://app.example 200',
    ])
  })
})

// Attack: a client that invents the address it comes from, to get round rate limits and address rules.
// R023 R051 R515
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const self = '127.0.0.1'
/** How the other end of the connection is known: in front of a Worker is Cloudflare, and says it in a header of its own. */
const edge = runtime === 'workerd' ? [`CF-Connecting-IP: ${self}`] : []
const call = (url: string, path: string, ...headers: string[]) => ask(url, `GET ${path}`, [...edge, ...headers])

describe('R023 R515 The client address without a trusted proxy', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none' },
      { path: '/api/inside', upstream: `${api.url}/inside`, token: 'none', allowIps: ['10.0.0.0/8', '::1'] },
      { path: '/api/outside', upstream: `${api.url}/outside`, token: 'none', denyIps: ['127.0.0.0/8'] },
      {
        path: '/api/rare',
        upstream: `${api.url}/rare`,
        token: 'none',
        rateLimit: { per: 'address', requests: 3, window: '10m' },
      },
    ],
  }))
  const lies = [
    ...[
      'X-Forwarded-For: 10.0.0.1',
      'X-Forwarded-For: 10.0.0.1, 10.0.0.2',
      'X-Real-IP: 10.0.0.1',
      'Forwarded: for=10.0.0.1',
    ],
    ...['X-Client-IP: 10.0.0.1', 'True-Client-IP: 10.0.0.1', 'X-Forwarded-For: ::1', 'X-Cluster-Client-IP: 10.0.0.1'],
  ]

  test('is the other end of the connection, whatever the request says', async () => {
    const { url, api } = shared()
    for (const lie of lies) {
      await call(url, '/api/open/x', lie)
      expect(api.last().headers['x-forwarded-for'], lie).toBe(self)
    }
  })

  test('cannot be talked into a network that a route allows, nor out of one that it denies', async () => {
    const { url, api } = shared()
    const before = api.requests.length
    const wrong: string[] = []
    for (const path of ['/api/inside/x', '/api/outside/x']) {
      for (const lie of ['X: y', ...lies]) {
        const { status, headers } = await call(url, path, lie)
        if (status !== 403 || headers.get('coatcheck-error') !== 'forbidden') wrong.push(`${path}, ${lie} -> ${status}`)
      }
    }
    expectNone(wrong)
    expect(api.requests.length).toBe(before)
  })

  test('is one and the same for the rate limit, whatever the request says', async () => {
    const { url } = shared()
    const statuses: number[] = []
    for (const lie of lies) statuses.push((await call(url, '/api/rare/x', lie)).status)
    expect(statuses).toEqual([200, 200, 200, ...lies.slice(3).map(() => 429)])
  })
})

describe('R515 The client address behind trusted proxies', () => {
  const shared = sharedWorld(({ api }) => ({
    trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'],
    routes: [
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none' },
      { path: '/api/inside', upstream: `${api.url}/inside`, token: 'none', allowIps: ['127.0.0.0/8', '10.0.0.0/8'] },
      { path: '/api/outside', upstream: `${api.url}/outside`, token: 'none', denyIps: ['203.0.113.0/24'] },
      {
        path: '/api/rare',
        upstream: `${api.url}/rare`,
        token: 'none',
        rateLimit: { per: 'address', requests: 3, window: '10m' },
      },
    ],
  }))
  /** What trusted proxies write about somebody whose address they do not tell, or tell as nobody can read it. */
  const unreadable = [
    ...[
      'unknown',
      '_hidden',
      '"203.0.113.9"',
      '203.0.113.9:x',
      '203.0.113.9:123456',
      '[203.0.113.9]:80',
      '[::1',
      ':80',
    ],
    ...['203.0.113.9, unknown', '10.1.1.1, _hidden, 10.0.0.2', '2001:db8::1]:80', '3405803785', '0xcb007109', '127.1'],
    'unknown, 10.0.0.2:80',
  ]

  test('is the last address that no trusted proxy is answerable for', async () => {
    const { url, api } = shared()
    const reports: [forwarded: string, expected: string][] = [
      ['203.0.113.9', '203.0.113.9'],
      ['1.2.3.4, 203.0.113.9', '203.0.113.9'],
      ['10.9.9.9, 203.0.113.9, 10.0.0.1', '203.0.113.9'],
      ['203.0.113.9, 10.0.0.1, 10.0.0.2', '203.0.113.9'],
      ['127.0.0.1, 203.0.113.9', '203.0.113.9'],
      ['<script>, 203.0.113.9', '203.0.113.9'],
      ['2001:db8::1', '2001:db8::1'],
      ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
      ['203.0.113.9:4711', '203.0.113.9'],
      ['203.0.113.9:4711, 10.0.0.2:80', '203.0.113.9'],
      ['[2001:db8::1]:443', '2001:db8::1'],
      ['[2001:db8::1], 10.0.0.2', '2001:db8::1'],
      ['evil, 203.0.113.9,', '203.0.113.9'],
    ]
    for (const [forwarded, expected] of reports) {
      await call(url, '/api/open/x', `X-Forwarded-For: ${forwarded}`)
      expect(api.last().headers['x-forwarded-for'], forwarded).toBe(expected)
    }
  })

  test('is nobody that a list lets in where it cannot be read, and never that of the proxy', async () => {
    const { url, api } = shared()
    const wrong: string[] = []
    for (const forwarded of unreadable) {
      for (const path of ['/api/inside/x', '/api/outside/x']) {
        const { status } = await call(url, path, `X-Forwarded-For: ${forwarded}`)
        if (status !== 403) wrong.push(`${path}, ${forwarded} -> ${status}`)
      }
      await call(url, '/api/open/x', `X-Forwarded-For: ${forwarded}`)
      const told = api.last().headers['x-forwarded-for']
      if (told !== undefined) wrong.push(`${forwarded} is told to the upstream as ${told}`)
    }
    for (const forwarded of ['203.0.113.9:4711', '203.0.113.9:4711, 10.0.0.2']) {
      for (const path of ['/api/inside/x', '/api/outside/x']) {
        const { status } = await call(url, path, `X-Forwarded-For: ${forwarded}`)
        if (status !== 403) wrong.push(`${path}, ${forwarded} -> ${status}`)
      }
    }
    expectNone(wrong)
  })

  test('is one for all whose address cannot be read, where addresses are counted', async () => {
    const { url } = shared()
    const statuses: number[] = []
    for (const lie of unreadable) statuses.push((await call(url, '/api/rare/x', `X-Forwarded-For: ${lie}`)).status)
    expect(statuses).toEqual([200, 200, 200, ...unreadable.slice(3).map(() => 429)])
    expect((await call(url, '/api/rare/x', 'X-Forwarded-For: 203.0.113.9:1')).status).toBe(200)
  })

  test('is never text that is no address', async () => {
    const { url, api } = shared()
    for (const forwarded of [
      'unknown',
      '203.0.113.9:443',
      "' OR 1=1",
      '999.1.1.1',
      '203.0.113.9, evil',
      '',
      ' , ,',
      '_hidden',
      '"::1"',
    ]) {
      await call(url, '/api/open/x', `X-Forwarded-For: ${forwarded}`)
      expect(api.last().headers['x-forwarded-for'] ?? '127.0.0.1', forwarded).toMatch(
        /^(?:127\.0\.0\.1|203\.0\.113\.9)$/,
      )
    }
  })

  test('survives four thousand hops', async () => {
    const { url, api } = shared()
    const hops = Array.from({ length: 4_000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`)
    const { status } = await call(url, '/api/open/x', `X-Forwarded-For: ${hops.join(',')}`)
    expect(status).toBe(200)
    expect(api.last().headers['x-forwarded-for'] ?? '').toMatch(/^$|^[\d.]+$/)
  })
})

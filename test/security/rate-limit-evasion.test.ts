// Attack: a client that wants more calls than the limit of a route lets it have: by other addresses, sessions, spellings.
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { from, statusesOf, tally } from '../support/callers.ts'
import { runtime } from '../support/coatcheck.ts'
import { ask } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

/** How the other end of the connection is known: in front of a Worker is Cloudflare, and says it in a header of its own. */
const edge = runtime === 'workerd' ? ['CF-Connecting-IP: 127.0.0.1'] : []

type RouteInput = NonNullable<ConfigInput['routes']>[number]
type Per = NonNullable<RouteInput['rateLimit']>['per']

/** Three calls an hour; every test has a route of its own, so that none counts for another. */
const limited = (path: string, token: 'none' | 'user' | 'user-or-none', per: Per, upstream: string) =>
  ({ path, upstream, token, rateLimit: { per, requests: 3, window: '1h' } }) satisfies RouteInput

describe('R615 R515 The limit of a route per address', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: ['/rotate', '/maybe', '/Case', '/enc-oded', '/methods', '/after'].map((path) =>
      limited(`/api${path}`, path === '/maybe' ? 'user-or-none' : 'none', 'address', `${api.url}${path}`),
    ),
  }))

  /** Names by which some server or other learns whom it serves. */
  const names =
    'X-Forwarded-For X-Real-IP X-Client-IP True-Client-IP X-Cluster-Client-IP X-Originating-IP Forwarded-For'.split(' ')

  test('is not widened by another forged address for every call', async () => {
    const { url, api } = shared()
    for (const path of ['/api/rotate', '/api/maybe']) {
      const before = api.requests.length
      const statuses = await statusesOf(30, (at) =>
        ask(url, `GET ${path}`, [
          ...edge,
          ...names.map((name) => `${name}: 203.0.113.${at}`),
          `Forwarded: for=203.0.113.${at}`,
        ]),
      )
      expect(tally(statuses)).toEqual({ 200: 3, 429: 27 })
      expect(api.requests.length).toBe(before + 3)
    }
  })

  test.each([
    [
      'the case of letters, a slash at the end, or what comes after',
      '/api/Case',
      ['', '/', '/x', '/X', '/y/z', '?a', '?b=1', '/x?c'],
    ],
    ['encoding what needs no encoding', '/api/enc-oded', ['', '/%78', '/x%2dy', '/%41', '?%61', '/~', '/%7E', '/%7e']],
  ])('is not widened by %s', async (_, path, endings) => {
    const { url, api } = shared()
    const before = api.requests.length
    const encoded = [...path].map((char) => `%${char.charCodeAt(0).toString(16)}`)
    const spellings = [
      ...endings.map((ending) => path + ending),
      // Each letter in turn, and in the case of letters that the hexadecimal digits have.
      ...[...path].flatMap((char, at) =>
        char === '/'
          ? []
          : [
              path.slice(0, at) + encoded[at] + path.slice(at + 1),
              path.slice(0, at) + encoded[at]?.toUpperCase() + path.slice(at + 1),
            ],
      ),
      `http://elsewhere.example${path}`,
    ]
    const statuses = await statusesOf(spellings.length, (at) => ask(url, `GET ${spellings[at]}`, edge))
    expect(tally(statuses)).toEqual({ 200: 3, 429: spellings.length - 3 })
    // Other letters are another path, and no way to the same upstream.
    const others = [path.toUpperCase(), path.toLowerCase()].filter((other) => other !== path)
    for (const other of [...others, `/${path}`, `${path}//x`, `/x/..${path}`, `${path};a=1`]) {
      expect((await ask(url, `GET ${other}`, edge)).status, other).toBeGreaterThanOrEqual(400)
    }
    expect(api.requests.length).toBe(before + 3)
  })

  test('is for all methods together', async () => {
    const { url } = shared()
    const methods = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'GET']
    const headers = [...edge, 'Content-Length: 0', 'X-CSRF: 1']
    const statuses = await statusesOf(7, (at) => ask(url, `${methods[at]} /api/methods`, headers))
    expect(tally(statuses)).toEqual({ 200: 3, 429: 4 })
  })

  test('is not put off by those who go on calling: what is left of it only gets less', async () => {
    const { url } = shared()
    const waits: number[] = []
    for (let at = 0; at < 20; at++) {
      const { status, headers } = await ask(url, 'GET /api/after', edge)
      if (status === 429) waits.push(Number(headers.get('retry-after')))
    }
    expect(waits).toHaveLength(17)
    expect(waits).toEqual([...waits].sort((one, other) => other - one))
  })
})

describe('R615 The limit of a route per address, where addresses are of IPv6', () => {
  const shared = sharedWorld(({ api }) => ({
    trustedProxies: ['127.0.0.0/8'],
    routes: ['/hop', '/spelled', '/mapped', '/neighbours'].map((path) =>
      limited(`/api${path}`, 'none', 'address', `${api.url}${path}`),
    ),
  }))
  const call = (path: string, address: string) => from(shared().browser(), address)(path)
  const statusesFrom = (path: string, addresses: readonly string[]) =>
    statusesOf(addresses.length, (at) => call(path, addresses[at] ?? ''))

  test('is not widened by another address of the same /64 for every call', async () => {
    const random = () => Math.floor(Math.random() * 0x1_0000).toString(16)
    const addresses = Array.from({ length: 30 }, () => `2001:db8:1:2:${random()}:${random()}:${random()}:${random()}`)
    expect(tally(await statusesFrom('/api/hop', addresses))).toEqual({ 200: 3, 429: 27 })
  })

  test('is not widened by writing an address in other ways', async () => {
    const spellings = [
      '2001:db8:a::1',
      '2001:DB8:A::1',
      '2001:0db8:000a:0000:0000:0000:0000:0001',
      '2001:db8:a:0::1',
      '2001:db8:a::0.0.0.1',
    ]
    expect(await statusesFrom('/api/spelled', spellings)).toEqual([200, 200, 200, 429, 429])
  })

  test('is one for an IPv4 address, however it is wrapped in IPv6', async () => {
    const wrapped = [
      '203.0.113.7',
      '::ffff:203.0.113.7',
      '::ffff:cb00:7107',
      '64:ff9b::203.0.113.7',
      '64:ff9b::cb00:7107',
    ]
    expect(await statusesFrom('/api/mapped', wrapped)).toEqual([200, 200, 200, 429, 429])
  })

  test('is not used up by neighbours: of another /64, or behind the same translator', async () => {
    const callers = ['2001:db8:1:1::1', '2001:db8:1:2::1', '2001:db8:2:1::1', '203.0.113.1', '64:ff9b::203.0.113.2']
    for (const caller of callers) {
      expect(await statusesFrom('/api/neighbours', Array(4).fill(caller)), caller).toEqual([200, 200, 200, 429])
    }
  })
})

describe('R615 The limit of a route per session or user', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      limited('/api/dropped', 'user-or-none', 'session', `${api.url}/dropped`),
      limited('/api/garbled', 'user-or-none', 'session', `${api.url}/garbled`),
      limited('/api/user', 'user', 'user', `${api.url}/user`),
      limited('/api/signed-out', 'user', 'user', `${api.url}/signed-out`),
    ],
  }))

  test('is that of the address for those who drop their cookies', async () => {
    const browser = shared().browser()
    await browser.signIn()
    const cookies = new Map(browser.cookies)
    expect(await statusesOf(4, () => browser.fetch('/api/dropped'))).toEqual([200, 200, 200, 429])
    browser.cookies.clear()
    expect(await statusesOf(4, () => browser.fetch('/api/dropped'))).toEqual([200, 200, 200, 429])
    // Neither a new browser nor the cookies once more are worth anything.
    expect((await shared().browser().fetch('/api/dropped')).status).toBe(429)
    for (const [name, value] of cookies) browser.cookies.set(name, value)
    expect((await browser.fetch('/api/dropped')).status).toBe(429)
  })

  test('is that of the address for those who send other garbage as cookies each time', async () => {
    const { url } = shared()
    const garbage = (at: number) => [
      ...edge,
      `Cookie: coatcheck=garbage${at}; coatcheck.1=Fe26.2*1*${at}; session=${at}`,
    ]
    const statuses = await statusesOf(10, (at) => ask(url, 'GET /api/garbled', garbage(at)))
    expect(tally(statuses)).toEqual({ 200: 3, 429: 7 })
  })

  test('is one for all sessions of a user, each with a new sign-in', async () => {
    const { api, browser } = shared()
    const before = api.requests.length
    const statuses = await statusesOf(6, async () => {
      const one = browser()
      await one.signIn()
      return one.fetch('/api/user')
    })
    expect(statuses).toEqual([200, 200, 200, 429, 429, 429])
    expect(api.requests.length).toBe(before + 3)
  })

  test('does not begin anew by signing out and in again', async () => {
    const browser = shared().browser()
    const statuses = await statusesOf(5, async () => {
      await browser.signIn()
      const answer = await browser.fetch('/api/signed-out')
      await browser.fetch('/auth/logout', { method: 'POST' })
      return answer
    })
    expect(statuses).toEqual([200, 200, 200, 429, 429])
  })
})

// Attack: what one public address was given is brought to another: sessions, sign-ins, providers, the right to ask.
// R027 R031 R303 R312 R526 R602
import { describe, expect, test } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { providerFor, runtime, startWorld } from '../support/coatcheck.ts'
import { type Hosts, startHosts } from '../support/hosts.ts'
import { expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'
import { converse, head, openConnection } from '../support/raw.ts'
import { takeWebSockets } from '../support/websocket.ts'
import { handshakeLines } from '../support/websocket-frames.ts'

/** Another browser at `at`, with a copy of all the cookies. */
function copied(world: Hosts, at: string, from: Browser): Browser {
  const copy = world.browser(at)
  for (const [name, value] of from.cookies) copy.cookies.set(name, value)
  return copy
}

const ways = [
  ['the main address', 'another', 'here', 'there'],
  ['another address', 'the main one', 'there', 'here'],
] as const

describe('R602 cookies of', () => {
  test.each(['cookie', 'store'] as const)(
    'a session open nothing at the other address, tokens in the %s',
    async (storage) => {
      const world = await startHosts(({ config }) => ({ session: { ...config.session, storage } }))
      for (const [, , from, to] of ways) {
        const owner = world.browser(world[from])
        await owner.signIn('?provider=main')
        const before = world.api.requests.length
        const tokens = world.as.to('/token').length
        expectRefusal(await copied(world, world[to], owner).fetch('/api/x'), 401, 'session_required')
        await expectSignedOut(copied(world, world[to], owner))
        const listed = await copied(world, world[to], owner).fetch('/auth/sessions')
        expect(listed.status).toBe(401)
        expect(world.api.requests).toHaveLength(before)
        await copied(world, world[to], owner).fetch('/auth/logout', { method: 'POST' })
        expect(world.as.to('/token')).toHaveLength(tokens)
        expect((await owner.fetch('/api/x')).status).toBe(200)
        expectNoCanary(world, owner)
      }
    },
  )

  test.each(ways)('a sign-in that began at %s finish none at %s', async (_, __, from, to) => {
    const world = await startHosts()
    const victim = world.browser(world[from])
    const callback = await victim.untilCallback('?provider=main')
    const elsewhere = copied(world, world[to], victim)
    const answer = await elsewhere.navigate(callback)
    expect(answer.setCookie).toEqual([])
    await expectSignedOut(elsewhere, answer)
    expectSilent(world.as, '/token')
    // What was not finished there can be finished where it began.
    expect((await victim.navigate(callback)).status).toBe(303)
    expect((await victim.fetch('/api/x')).status).toBe(200)
  })
})

describe('R031 a code', () => {
  test.each(ways)(
    'that was asked for at %s signs nobody in at %s, with the state of a sign-in there',
    async (_, __, from, to) => {
      const world = await startHosts()
      world.as.behaviour.checksVerifier = true
      const attacker = world.browser(world[from])
      const [path, search] = (await attacker.untilCallback('?provider=main')).split('?')
      const victim = world.browser(world[to])
      const begun = await victim.navigate('/auth/login?provider=main')
      const state = new URL(begun.headers.get('location') ?? '').searchParams.get('state') ?? ''
      const parameters = new URLSearchParams(search)
      parameters.set('state', state)
      const answer = await victim.navigate(`${path}?${parameters}`)
      expectRefusal(answer, 400, 'login_failed')
      await expectSignedOut(victim, answer)
      // Only the address that it was issued for would be believed, and this one is honest about itself.
      for (const { body } of world.as.to('/token'))
        expect(body.get('redirect_uri')).toBe(`${world[to]}/auth/callback/main`)
    },
  )
})

describe('a provider', () => {
  test.each([
    ['partners', 'here'],
    ['staff', 'there'],
  ] as const)('%s is unknown where it is not offered', async (provider, at) => {
    const world = await startHosts()
    const browser = world.browser(world[at])
    const answer = await browser.navigate(`/auth/login?provider=${provider}`)
    expectRefusal(answer, 400, 'bad_request')
    expect(browser.cookies.size).toBe(0)
    const callback = provider === 'staff' ? '/auth/callback' : '/auth/callback/partners'
    await expectSignedOut(browser, await browser.navigate(`${callback}?state=x&code=y`))
    expectSilent(world[provider], '/authorize', '/token', '/par')
  })
})

describe('R303 a page of one address', () => {
  test.each(ways)('at %s asks for nothing at %s', async (_, __, from, to) => {
    const world = await startHosts()
    const browser = world.browser(world[to])
    await browser.signIn('?provider=main')
    const before = world.api.requests.length
    for (const site of [{ 'sec-fetch-site': 'same-site' }, { 'sec-fetch-site': 'same-origin' }]) {
      const headers = { origin: world[from], ...site }
      for (const path of ['/api/x', '/auth/logout', '/auth/session']) {
        expectRefusal(await browser.fetch(path, { method: 'POST', headers }), 403, 'csrf_rejected')
      }
      expectRefusal(await browser.fetch('/api/x', { headers }), 403, 'csrf_rejected')
    }
    expect(world.api.requests).toHaveLength(before)
    expect((await browser.fetch('/api/x')).status).toBe(200)
  })
})

describe('R312 a WebSocket', () => {
  test.each(ways)('is not opened by a page of %s at %s, and is by one of its own', async (_, __, from, to) => {
    const world = await startHosts(({ api }) => ({
      routes: [{ path: '/api', upstream: `${api.url}/v1`, token: 'user', websocket: true }],
    }))
    const { handshakes } = takeWebSockets(world.api)
    const browser = world.browser(world[to])
    await browser.signIn('?provider=main')
    const handshake = async (origin: string) => {
      const connection = openConnection(world.url)
      const lines = [...handshakeLines, `Origin: ${origin}`, `Cookie: ${browser.cookieHeader()}`]
      connection.send(head('GET /api/x', lines, new URL(world[to]).host))
      await expect.poll(() => connection.received()).toContain('HTTP/1.1 ')
      connection.close()
      return connection.received().slice('HTTP/1.1 '.length, 'HTTP/1.1 101'.length)
    }
    expect(await handshake(world[from])).toBe('403')
    expect(handshakes).toHaveLength(0)
    expect(await handshake(world[to])).toBe('101')
  })
})

describe('several https addresses', () => {
  const [main, other] = ['https://app.example', 'https://partners.example']
  const start = () =>
    startWorld(({ as }) => ({
      publicUrl: main,
      trustedProxies: ['127.0.0.1'],
      providers: [{ ...providerFor(as), publicUrls: [main, other] }],
    }))

  test('R027 are told apart with the default port in Host and without it, and by no other port', async () => {
    const world = await start()
    const hosts = { 'partners.example': other, 'partners.example:443': other, 'partners.example:80': main }
    for (const [host, expected] of Object.entries(hosts)) {
      const answer = await world.browser().navigate('/auth/login', { headers: { host } })
      const login = new URL(answer.headers.get('location') ?? 'none:')
      expect(login.searchParams.get('redirect_uri'), host).toBe(`${expected}/auth/callback`)
      expect(answer.setCookie[0]).toMatch(/^__Host-Http-coatcheck-login=.*; Secure/)
    }
  })

  test('R526 each send what came by http to themselves', async () => {
    const world = await start()
    // How the proxy in front is known: on Node by its address, on Workers by what Cloudflare says.
    const headers = { 'x-forwarded-proto': 'http', 'cf-connecting-ip': '127.0.0.1' }
    for (const at of [main, other]) {
      const answer = await world.browser(at).navigate('/orders?a=1', { headers })
      expect([answer.status, answer.headers.get('location')]).toEqual([303, `${at}/orders?a=1`])
    }
  })
})

describe('R027 which address a request is for', () => {
  const login = (world: Hosts, headers: Record<string, string>) =>
    world.browser().navigate('/auth/login?provider=main', { headers })
  const addressOf = (answer: { headers: Headers }) =>
    new URL(new URL(answer.headers.get('location') ?? 'none:').searchParams.get('redirect_uri') ?? 'none:').origin

  test('is said by Host alone, whoever says otherwise', async () => {
    const world = await startHosts({ trustedProxies: ['127.0.0.0/8', '::1'] })
    const { host } = new URL(world.there)
    const others: Record<string, string>[] = [
      { 'x-forwarded-host': host },
      { forwarded: `host=${host}` },
      { 'x-original-host': host, 'x-host': host },
    ]
    for (const headers of others) {
      expect(addressOf(await login(world, headers))).toBe(world.here)
      const swapped = Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name, value.replace(host, new URL(world.here).host)]),
      )
      expect(addressOf(await login(world, { ...swapped, host }))).toBe(world.there)
    }
  })

  test('is the same in capitals, and the main one for what is only like it', async () => {
    const world = await startHosts()
    const { host, hostname, port } = new URL(world.there)
    expect(addressOf(await login(world, { host: host.toUpperCase() }))).toBe(world.there)
    const alike = [
      hostname,
      `${hostname}.:${port}`,
      `${hostname}:1`,
      `${hostname}:0${port}`,
      `x.${host}`,
      `${hostname}.evil.test`,
      `xn--${host}`,
    ]
    for (const one of alike) {
      const answer = await login(world, { host: one })
      // Some are refused before anybody looks at them.
      if (answer.status === 303) expect(addressOf(answer), one).toBe(world.here)
      else expect(answer.setCookie, one).toEqual([])
    }
  })

  test.each([
    ['two hosts', (host: string) => head('GET /auth/login?provider=partners', [`Host: ${host}`, ...navigation])],
    [
      'two hosts, the other way round',
      (host: string) => head('GET /auth/login?provider=partners', ['Host: app.localhost', ...navigation], host),
    ],
    ['a list of hosts', (host: string) => head('GET /auth/login?provider=partners', navigation, `${host}, ${host}`)],
    [
      'user information before the host',
      (host: string) => head('GET /auth/login?provider=partners', navigation, `app@${host}`),
    ],
    ['a path behind the host', (host: string) => head('GET /auth/login?provider=partners', navigation, `${host}/`)],
    [
      'the host in the target, and another in Host',
      (host: string) => head(`GET http://${host}/auth/login?provider=partners`, navigation),
    ],
  ])('is not the other one for %s', async (_, bytes) => {
    const world = await startHosts()
    const [answer] = await converse(world.url, bytes(new URL(world.there).host))
    expect([400, 404]).toContain(answer?.status)
    expect(answer?.setCookie).toEqual([])
    expectSilent(world.partners, '/authorize')
  })

  test('is not changed by a target with another host in it', async () => {
    const world = await startHosts()
    const { host } = new URL(world.there)
    const bytes = head(`GET ${world.here}/auth/login?provider=main`, navigation, host)
    const [answer] = await converse(world.url, bytes)
    if (runtime === 'node' || answer?.status === 303) expect(addressOf(answer as never)).toBe(world.there)
    else expect(answer?.setCookie).toEqual([])
  })
})

const navigation = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Sec-Fetch-Site: none', 'Connection: close']

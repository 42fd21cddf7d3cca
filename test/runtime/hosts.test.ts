import { describe, expect, test } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { providerFor } from '../support/coatcheck.ts'
import { type Hosts, startHosts } from '../support/hosts.ts'
import { expectSilent } from '../support/oracles.ts'

const asked = (answer: { headers: Headers }) => new URL(answer.headers.get('location') ?? 'none:')
const session = async (browser: Browser) => (await browser.fetch('/auth/session')).json()

/** `sid` of the ID tokens that the server for both addresses issues, all the same: one sign-on. */
function oneSid(world: Hosts): string {
  world.as.behaviour.idToken = (claims) => {
    claims.sid = 'single-sign-on'
  }
  return 'single-sign-on'
}

/** Two browsers with a session of the same user, one at each address. */
async function signedInAtBoth(world: Hosts): Promise<[here: Browser, there: Browser]> {
  const both: [Browser, Browser] = [world.browser(world.here), world.browser(world.there)]
  for (const browser of both) expect((await browser.signIn('?provider=main')).status).toBe(303)
  for (const browser of both) expect((await browser.fetch('/api/x')).status).toBe(200)
  return both
}

describe('a sign-in with several public addresses', () => {
  test('goes to the first provider that is offered where it begins', async () => {
    const world = await startHosts()
    expect(asked(await world.browser(world.here).navigate('/auth/login')).origin).toBe(world.staff.issuer)
    expect(asked(await world.browser(world.there).navigate('/auth/login')).origin).toBe(world.as.issuer)
  })

  test('goes to the provider of its host, where there is one for each', async () => {
    const world = await startHosts(({ as, config }) => {
      const there = config.publicUrl.replace('//app.', '//partners.')
      const [staff] = [providerFor(as, 'staff')]
      return { providers: [staff, { ...staff, id: 'other', issuer: `${as.issuer}/other`, publicUrls: [there] }] }
    })
    const here = world.browser(world.here)
    expect((await here.signIn()).status).toBe(303)
    expect((await session(here)).provider).toBe('staff')
    // Nobody is there: what counts is who was asked.
    expect((await world.browser(world.there).navigate('/auth/login')).status).toBe(503)
    expect(world.as.to('/other/.well-known/openid-configuration').length).toBeGreaterThan(0)
  })

  test('comes back to the address it began at, and so does the sign-out', async () => {
    const world = await startHosts({ logout: { returnTo: '/bye' } })
    const browser = world.browser(world.there)
    const login = asked(await browser.navigate('/auth/login?provider=partners'))
    expect(login.searchParams.get('redirect_uri')).toBe(`${world.there}/auth/callback/partners`)
    const back = await browser.signIn('?provider=partners&returnTo=/orders')
    expect([back.status, back.headers.get('location')]).toEqual([303, '/orders'])
    expect(world.partners.to('/token')[0]?.body.get('redirect_uri')).toBe(`${world.there}/auth/callback/partners`)
    expect((await session(browser)).provider).toBe('partners')
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.api.requests.at(-1)?.headers['x-forwarded-host']).toBe(new URL(world.there).host)
    const end = asked(await browser.fetch('/auth/logout', { method: 'POST' }))
    expect(end.origin).toBe(world.partners.issuer)
    expect(end.searchParams.get('post_logout_redirect_uri')).toBe(`${world.there}/auth/logout/callback`)
  })

  test('has one path for the callback of a provider, wherever it is offered', async () => {
    const world = await startHosts()
    for (const at of [world.here, world.there]) {
      const login = asked(await world.browser(at).navigate('/auth/login?provider=main'))
      expect(login.searchParams.get('redirect_uri')).toBe(`${at}/auth/callback/main`)
    }
  })

  test('asks the user to choose among those of the address', async () => {
    const world = await startHosts({ login: { chooser: true } })
    const offered = async (at: string) =>
      [...(await world.browser(at).navigate('/auth/login')).text.matchAll(/provider=(\w+)/g)].map(([, id]) => id)
    expect(await offered(world.here)).toEqual(['staff', 'main'])
    expect(await offered(world.there)).toEqual(['main', 'partners'])
  })

  test('that another site asks for leads to a provider and a page of that address', async () => {
    const world = await startHosts({ login: { thirdPartyInitiated: true } })
    const initiate = (at: string, query: Record<string, string>) =>
      world.browser(at).navigate(`/auth/initiate-login?${new URLSearchParams(query)}`)
    const [partners, main] = [{ iss: world.partners.issuer }, { iss: world.as.issuer }]
    expect((await initiate(world.there, { ...partners, target_link_uri: `${world.there}/orders` })).status).toBe(200)
    expect((await initiate(world.here, partners)).status).toBe(400)
    expect((await initiate(world.there, { ...main, target_link_uri: `${world.here}/orders` })).status).toBe(400)
    expect((await initiate(world.here, { ...main, target_link_uri: `${world.here}/orders` })).status).toBe(200)
  })
})

describe('with several public addresses', () => {
  test('a host that is none of them is served as the main one', async () => {
    const world = await startHosts()
    for (const host of ['10.0.0.1:8080', 'localhost', 'elsewhere.example']) {
      const browser = world.browser()
      const answer = await browser.navigate('/auth/login', { headers: { host } })
      expect(asked(answer).searchParams.get('redirect_uri'), host).toBe(`${world.here}/auth/callback`)
      expect((await browser.fetch('/healthz', { headers: { host } })).status).toBe(200)
    }
  })

  test('/readyz says the same at each, and what one learned of a provider the others know', async () => {
    const world = await startHosts()
    const ready = async (at: string) => (await world.browser(at).fetch('/readyz')).json()
    expect(await ready(world.here)).toEqual({ status: 'ready', missing: [] })
    await world.browser(world.here).signIn('?provider=main')
    const servers = [world.as, world.staff, world.partners]
    for (const server of servers) server.requests.length = 0
    expect(await ready(world.there)).toEqual({ status: 'ready', missing: [] })
    await world.browser(world.there).signIn('?provider=main')
    for (const server of servers) expectSilent(server, '/.well-known/openid-configuration', '/jwks')
  })

  test('every API is at each, also with a token of a provider that is not offered there', async () => {
    const world = await startHosts(({ api, config }) => ({
      routes: [
        ...(config.routes ?? []),
        { path: '/api/client', upstream: `${api.url}/client`, token: { kind: 'client', provider: 'staff' } },
      ],
    }))
    for (const at of [world.here, world.there]) {
      expect((await world.browser(at).fetch('/api/client/x')).status).toBe(200)
      expect(world.api.requests.at(-1)?.headers.authorization).toMatch(/^Bearer /)
    }
  })

  test('requests with a body, HEAD and streams find their address as others do', async () => {
    const world = await startHosts()
    const browser = world.browser(world.there)
    await browser.signIn()
    expect((await browser.fetch('/api/x', { method: 'POST', body: '{"a":1}' })).status).toBe(200)
    expect((await browser.fetch('/api/x', { method: 'HEAD' })).status).toBe(200)
    for (const { headers } of world.api.requests) expect(headers['x-forwarded-host']).toBe(new URL(world.there).host)
  })
})

describe('what ends a session at every public address', () => {
  const send = (world: Hosts, at: string, token: string) =>
    world.browser(at).send('/auth/backchannel-logout', {
      method: 'POST',
      body: new URLSearchParams({ logout_token: token }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })

  test.each(['here', 'there'] as const)('R149 is a logout token with a sid that arrives %s', async (where) => {
    const world = await startHosts()
    const sid = oneSid(world)
    const both = await signedInAtBoth(world)
    expect((await send(world, world[where], await world.as.logoutToken({ sid }))).status).toBe(200)
    for (const browser of both) expect((await browser.fetch('/api/x')).json().code).toBe('session_expired')
  })

  test.each(['here', 'there'] as const)('R149 is a logout token of a user that arrives %s', async (where) => {
    const world = await startHosts()
    const both = await signedInAtBoth(world)
    expect((await send(world, world[where], await world.as.logoutToken({ sub: 'alice' }))).status).toBe(200)
    for (const browser of both) expect((await browser.fetch('/api/x')).json().code).toBe('session_expired')
  })

  test('is not a logout token that was used at another address', async () => {
    const world = await startHosts()
    const token = await world.as.logoutToken({ sub: 'alice' })
    expect((await send(world, world.here, token)).status).toBe(200)
    const both = await signedInAtBoth(world)
    expect((await send(world, world.there, token)).status).toBe(400)
    for (const browser of both) expect((await browser.fetch('/api/x')).status).toBe(200)
  })

  test.each(['here', 'there'] as const)('is a front-channel logout that arrives %s', async (where) => {
    const world = await startHosts({}, { frontchannelLogout: true })
    const sid = oneSid(world)
    const both = await signedInAtBoth(world)
    const query = new URLSearchParams({ iss: world.as.issuer, sid })
    expect((await world.browser(world[where]).send(`/auth/frontchannel-logout?${query}`)).status).toBe(200)
    for (const browser of both) expect((await browser.fetch('/api/x')).status).toBe(401)
  })

  test('is the user, who sees the sessions of all of them', async () => {
    const world = await startHosts()
    const [here, there] = await signedInAtBoth(world)
    const listed = async (browser: Browser) => (await browser.fetch('/auth/sessions')).json().sessions
    await expect.poll(() => listed(here)).toHaveLength(2)
    expect((await listed(there)).map(({ current }: { current: boolean }) => current)).toEqual([true, false])
    const { id } = (await session(there)).session
    expect((await here.fetch(`/auth/sessions/${id}`, { method: 'DELETE' })).status).toBe(200)
    expect((await there.fetch('/api/x')).json().code).toBe('session_expired')
    await there.signIn('?provider=main')
    expect((await there.fetch('/auth/sessions', { method: 'DELETE' })).status).toBe(200)
    for (const browser of [here, there]) expect((await browser.fetch('/api/x')).status).toBe(401)
  })

  test('is not a sign-out, which ends the session of its own address', async () => {
    const world = await startHosts()
    const [here, there] = await signedInAtBoth(world)
    await here.fetch('/auth/logout', { method: 'POST' })
    expect((await here.fetch('/api/x')).status).toBe(401)
    expect((await there.fetch('/api/x')).status).toBe(200)
  })
})

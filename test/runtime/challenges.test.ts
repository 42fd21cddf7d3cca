import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import type { Browser } from '../support/browser.ts'
import { providerFor, startWorld, type World } from '../support/coatcheck.ts'

type RouteInput = NonNullable<ConfigInput['routes']>[number]

const worldWith = (more: Partial<RouteInput> = {}, optionalScope?: string) =>
  startWorld(({ api, as }) => ({
    providers: [{ ...providerFor(as), ...(optionalScope !== undefined && { optionalScope }) }],
    routes: [
      { path: '/api', upstream: `${api.url}/v1`, token: 'user' },
      { path: '/api/strict', upstream: api.url, token: 'user', ...more },
    ],
  }))

async function signedIn(world: World): Promise<Browser> {
  const browser = world.browser()
  await browser.signIn()
  return browser
}

/** Follows the address that a refusal brought. */
const signInAt = (browser: Browser, loginUrl: string) => browser.signIn(loginUrl.replace('/auth/login', ''))

function challenging({ api }: World, status: number, challenge: string) {
  api.answer = (_, response) => response.writeHead(status, { 'www-authenticate': challenge }).end('CANARY')
}

/** What the authorization server was asked for last. */
const asked = ({ as }: World) => as.to('/authorize').at(-1)?.query ?? new URLSearchParams()

describe('an upstream that asks for more scope (insufficient_scope)', () => {
  const wantsWrite = 'Bearer error="insufficient_scope", scope="orders:write", error_description="CANARY"'

  test('is 403 with the address of a sign-in that asks for it, on top of what was granted', async () => {
    const world = await worldWith({}, 'orders:read orders:write')
    world.as.behaviour.scope = 'openid orders:read'
    const browser = await signedIn(world)
    challenging(world, 403, wantsWrite)
    const answer = await browser.fetch('/api/orders', { method: 'POST', body: 'x' })
    expect(answer.status).toBe(403)
    expect(answer.json()).toMatchObject({ code: 'insufficient_scope' })
    expect(answer.json().loginUrl).toMatch(/^\/auth\/login\?scope=orders%3Awrite&prompt=consent&scope_proof=[\w-]{22}$/)
    expect(answer.text).not.toContain('CANARY')
    expect(world.api.requests).toHaveLength(1)
    await signInAt(browser, answer.json().loginUrl)
    expect(asked(world).get('scope')?.split(' ')).toEqual(
      expect.arrayContaining(['openid', 'orders:read', 'orders:write']),
    )
  })

  test('needs no configuration: what an upstream asks for may be asked for, and only as it stands there', async () => {
    const world = await worldWith()
    const browser = await signedIn(world)
    challenging(world, 403, wantsWrite)
    const { loginUrl } = (await browser.fetch('/api/orders')).json()
    await signInAt(browser, loginUrl.replace('orders%3Awrite', 'admin'))
    expect(asked(world).get('scope')?.split(' ')).not.toContain('admin')
    const again = (await browser.fetch('/api/orders')).json()
    await signInAt(browser, again.loginUrl)
    expect(asked(world).get('scope')?.split(' ')).toContain('orders:write')
  })

  test('is asked of the user whose call it was, and of no other', async () => {
    const world = await worldWith()
    const browser = await signedIn(world)
    challenging(world, 403, wantsWrite)
    const { loginUrl } = (await browser.fetch('/api/orders')).json()
    for (const other of [await signedIn(world), world.browser()]) {
      await signInAt(other, loginUrl)
      expect(asked(world).get('scope')?.split(' ')).not.toContain('orders:write')
    }
  })

  test.each<[string, RouteInput['token']]>([
    ['a token for an API', { kind: 'user', resource: 'https://a.test', scope: 'orders:read' }],
    ['a token in exchange', { kind: 'exchange', audience: 'a', scope: 'orders:read' }],
    ['an API key', { kind: 'static', value: 'K3Y' }],
  ])('offers no consent that could not help: %s has the scopes that the configuration says', async (_, token) => {
    const world = await worldWith({ token })
    const browser = await signedIn(world)
    challenging(world, 403, wantsWrite)
    const answer = await browser.fetch('/api/strict/x')
    expect(answer.status).toBe(403)
    expect(answer.json()).toMatchObject({ code: 'insufficient_scope' })
    expect(answer.json()).not.toHaveProperty('loginUrl')
  })

  test('offers one where the route asks for that scope, and where it names none', async () => {
    for (const scope of ['orders:write', undefined]) {
      const world = await worldWith({ token: { kind: 'user', resource: 'https://a.test', ...(scope && { scope }) } })
      world.as.behaviour.scope = 'openid'
      const browser = await signedIn(world)
      challenging(world, 403, wantsWrite)
      expect((await browser.fetch('/api/strict/x')).json().loginUrl).toContain('scope=orders%3Awrite')
    }
  })

  test('is 403 without an address when the upstream names no scope', async () => {
    const world = await worldWith()
    const browser = await signedIn(world)
    challenging(world, 403, 'Bearer error="insufficient_scope"')
    const answer = await browser.fetch('/api/orders')
    expect(answer.json()).toMatchObject({ code: 'insufficient_scope' })
    expect(answer.json()).not.toHaveProperty('loginUrl')
  })

  test('cannot make a loop: what was asked for and not granted is not offered again', async () => {
    const world = await worldWith({}, 'orders:write')
    world.as.behaviour.scope = 'openid'
    const browser = await signedIn(world)
    challenging(world, 403, wantsWrite)
    const first = await browser.fetch('/api/orders')
    await signInAt(browser, first.json().loginUrl)
    const second = await browser.fetch('/api/orders')
    expect(second.status).toBe(403)
    expect(second.json()).not.toHaveProperty('loginUrl')
  })
})

describe('a route that requires a scope the session lacks', () => {
  test('is 403 before the upstream, and its loginUrl asks for just that', async () => {
    const world = await worldWith({ require: { scope: ['openid', 'admin'] } })
    world.as.behaviour.scope = 'openid profile'
    const browser = await signedIn(world)
    const answer = await browser.fetch('/api/strict/x')
    expect(answer.status).toBe(403)
    expect(answer.json()).toMatchObject({
      code: 'insufficient_scope',
      loginUrl: '/auth/login?scope=admin&prompt=consent',
    })
    expect(world.api.requests).toEqual([])
    world.as.behaviour.scope = undefined
    await signInAt(browser, answer.json().loginUrl)
    expect((await browser.fetch('/api/strict/x')).status).toBe(200)
  })

  test('offers no consent where the token for that API would not have it either', async () => {
    const token = { kind: 'user', resource: 'https://a.test', scope: 'orders:read' } as const
    const world = await worldWith({ token, require: { scope: ['admin'] } })
    const answer = await (await signedIn(world)).fetch('/api/strict/x')
    expect(answer.json()).toMatchObject({ code: 'insufficient_scope' })
    expect(answer.json()).not.toHaveProperty('loginUrl')
  })

  test('a page cannot have the user asked for scopes that the configuration does not name', async () => {
    const world = await worldWith({ require: { scope: ['admin'] } })
    await world.browser().signIn('?scope=admin%20root%20everything')
    const scope = asked(world).get('scope')?.split(' ')
    expect(scope).toContain('admin')
    expect(scope).not.toContain('root')
    expect(scope).not.toContain('everything')
  })
})

describe('an upstream that asks for a stronger sign-in (RFC 9470)', () => {
  const wants = (parameters: string) => `Bearer error="insufficient_user_authentication"${parameters}`

  test('is satisfied by the sign-in it asked for', async () => {
    const world = await worldWith()
    const browser = await signedIn(world)
    challenging(world, 401, wants(', acr_values="gold"'))
    const answer = await browser.fetch('/api/orders')
    expect(answer.json()).toMatchObject({ code: 'step_up_required' })
    world.as.behaviour.user = { ...world.as.behaviour.user, acr: 'gold' }
    await signInAt(browser, answer.json().loginUrl)
    world.api.answer = (_, response) => response.end('{}')
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test.each([['a class that the sign-in had', ', acr_values="silver gold"', { acr: 'gold' }]])(
    'cannot make a loop by asking for %s: then it is 403, with nowhere to go',
    async (_, parameters, claims) => {
      const world = await worldWith()
      world.as.behaviour.user = { ...world.as.behaviour.user, ...claims }
      const browser = await signedIn(world)
      challenging(world, 401, wants(parameters))
      const answer = await browser.fetch('/api/orders')
      expect(answer.status).toBe(403)
      expect(answer.json()).toMatchObject({ code: 'forbidden' })
      expect(answer.json()).not.toHaveProperty('loginUrl')
    },
  )

  test.each([
    ['nothing in particular', ''],
    ['an age of nothing', ', max_age="0"'],
    ['an age that the sign-in has', ', max_age="300"'],
  ])('gets one more sign-in when it asks for %s, and no other right after that', async (_, parameters) => {
    const world = await worldWith()
    const browser = await signedIn(world)
    challenging(world, 401, wants(parameters))
    const first = await browser.fetch('/api/orders')
    expect(first.status).toBe(401)
    expect(first.json().loginUrl).toMatch(/^\/auth\/login\?max_age=(0|300)$/)
    await signInAt(browser, first.json().loginUrl)
    expect((await browser.fetch('/api/orders')).status).toBe(403)
  })
})

describe('a challenge that is written in another way (RFC 9110, section 11.2)', () => {
  const stepUp = 'insufficient_user_authentication'
  test.each([
    ['without quotes', `Bearer error="${stepUp}", acr_values=gold, max_age=5`, 'acr_values=gold&max_age=5'],
    ['with none at all', `Bearer error=${stepUp},acr_values=urn:mace:gold`, 'acr_values=urn%3Amace%3Agold'],
    ['with spaces and capitals', `BEARER Error = "${stepUp}" , ACR_Values\t= "gold"`, 'acr_values=gold'],
    [
      'behind another',
      `Basic realm="acr_values=\\"x\\"", Bearer error="${stepUp}", acr_values=gold`,
      'acr_values=gold',
    ],
    [
      'with the name in a text',
      `Bearer error="${stepUp}", realm="acr_values=x, y", acr_values=gold`,
      'acr_values=gold',
    ],
  ])('says the same %s', async (_, challenge, query) => {
    const world = await worldWith()
    const browser = await signedIn(world)
    challenging(world, 401, challenge)
    const answer = await browser.fetch('/api/orders')
    expect(answer.json()).toMatchObject({ code: 'step_up_required', loginUrl: `/auth/login?${query}` })
  })

  test('names its scope', async () => {
    const world = await worldWith({}, 'write')
    const browser = await signedIn(world)
    challenging(world, 403, 'Bearer error=insufficient_scope, scope=write')
    expect((await browser.fetch('/api/orders')).json().loginUrl).toMatch(/^\/auth\/login\?scope=write&/)
  })

  test('is none where it belongs to something else, or is a text', async () => {
    const world = await worldWith()
    const browser = await signedIn(world)
    for (const other of [`Basic realm="Bearer error=\\"${stepUp}\\""`, `Basic realm=x, error="${stepUp}"`]) {
      challenging(world, 401, other)
      expect((await browser.fetch('/api/orders')).headers.get('coatcheck-error'), other).toBeNull()
    }
  })
})

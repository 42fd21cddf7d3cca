// Attack: a request for authorization that somebody on the way reads, changes, swaps for his own, or has sent unsigned.
// R055 R060 R062 R064 R086
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import type { AuthorizationServer } from '../support/authorization-server.ts'
import { type ClientKeyAlgorithm, newClientKey } from '../support/client-key.ts'
import { startWorld, type World } from '../support/coatcheck.ts'
import { expectLoginRefused, expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'

type Settings = Partial<ConfigInput['providers'][number]>

function startWith(settings: Settings, metadata: Record<string, unknown> | ((as: AuthorizationServer) => object) = {}) {
  return startWorld(({ as, config }) => {
    const more = typeof metadata === 'function' ? metadata(as) : metadata
    as.behaviour.metadata = (own) => Object.assign(own, more)
    return { providers: config.providers.map((one) => ({ ...one, ...settings })) }
  })
}

const offersPar = (as: AuthorizationServer) => ({ pushed_authorization_request_endpoint: `${as.issuer}/par` })

async function authorizationUrl(world: World, query = ''): Promise<URL> {
  const answer = await world.browser().navigate(`/auth/login${query}`)
  return new URL(answer.headers.get('location') ?? '')
}

/** The claims of a request object, verified with what the client publishes, as a server would. */
async function verified(world: World, jwt: string | null): Promise<JWTPayload> {
  const keys = createRemoteJWKSet(new URL('/auth/jwks.json', world.url))
  const expected = { issuer: world.as.clientId, audience: world.as.issuer, typ: 'oauth-authz-req+jwt' }
  return (await jwtVerify(jwt ?? '', keys, expected)).payload
}

describe('R064 a signed request object', () => {
  test.each<ClientKeyAlgorithm>(['ES256', 'PS256', 'EdDSA'])(
    'holds the whole request, signed with %s, and nothing stands beside it',
    async (alg) => {
      const world = await startWith({ jar: true, keys: [await newClientKey(alg)] })
      const url = await authorizationUrl(world, '?max_age=300&login_hint=alice')
      expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request'])
      expect(url.searchParams.get('client_id')).toBe(world.as.clientId)
      const jwt = url.searchParams.get('request') ?? ''
      expect(decodeProtectedHeader(jwt).alg).toBe(alg)
      const { iat = 0, exp = 0, nbf = 0, ...claims } = await verified(world, jwt)
      expect(exp - iat).toBeLessThanOrEqual(300)
      expect(exp - nbf).toBeLessThanOrEqual(3_600)
      expect(claims).toMatchObject({
        iss: world.as.clientId,
        client_id: world.as.clientId,
        aud: world.as.issuer,
        response_type: 'code',
        code_challenge_method: 'S256',
        redirect_uri: `${world.publicUrl}/auth/callback`,
        max_age: 300,
        login_hint: 'alice',
      })
      // A subject would make it an assertion that authenticates the client (RFC 9101, section 10.8).
      expect(claims.sub).toBeUndefined()
      expect((await world.browser().signIn()).status).toBe(303)
    },
  )

  test('is another each time', async () => {
    const world = await startWith({ jar: true, keys: [await newClientKey('ES256')] })
    const urls = await Promise.all(Array.from({ length: 20 }, () => authorizationUrl(world)))
    const ids = urls.map((url) => decodeJwt(url.searchParams.get('request') ?? '').jti)
    expect(new Set(ids).size).toBe(20)
  })

  test('is pushed where the server takes pushed requests: the browser sees none of it', async () => {
    const world = await startWith({ jar: true, keys: [await newClientKey('ES256')] }, offersPar)
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    const [asked] = world.as.to('/authorize')
    expect([...(asked?.query.keys() ?? [])].sort()).toEqual(['client_id', 'request_uri'])
    const [pushed] = world.as.to('/par')
    expect([...(pushed?.body.keys() ?? [])].sort()).toEqual(['client_id', 'request'])
    await verified(world, pushed?.body.get('request') ?? null)
    expect(pushed?.headers.authorization).toMatch(/^Basic /)
    expectNoCanary(world, browser)
  })

  test('is signed by a client that authenticates with the same key, and is no assertion', async () => {
    const { key, alg } = await newClientKey('ES256')
    const world = await startWith({ jar: true, clientAuth: { method: 'private_key_jwt', key, alg } }, offersPar)
    world.as.behaviour.clientKey = createRemoteJWKSet(new URL('/auth/jwks.json', world.url))
    expect((await world.browser().signIn()).status).toBe(303)
    const { body } = world.as.to('/par')[0] ?? {}
    const [object, assertion] = [body?.get('request') ?? '', body?.get('client_assertion') ?? '']
    expect(decodeProtectedHeader(object).typ).toBe('oauth-authz-req+jwt')
    expect(decodeProtectedHeader(assertion).typ).toBe('client-authentication+jwt')
    expect(decodeJwt(object).jti).not.toBe(decodeJwt(assertion).jti)
  })
})

describe('R064 a downgrade of request objects', () => {
  test.each<[string, Record<string, unknown>]>([
    ['says that it takes none', { request_parameter_supported: false }],
    ['says that it wants them unsigned', { request_object_signing_alg_values_supported: ['none'] }],
    ['says that it does not require them', { require_signed_request_object: false }],
  ])('by metadata that %s does not work: the request is signed all the same', async (_, metadata) => {
    const world = await startWith({ jar: true, keys: [await newClientKey('ES256')] }, metadata)
    const url = await authorizationUrl(world)
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request'])
    await verified(world, url.searchParams.get('request'))
  })

  test('of a server that requires them does not work either: they are sent without being configured', async () => {
    const world = await startWith({ keys: [await newClientKey('ES256')] }, { require_signed_request_object: true })
    await verified(world, (await authorizationUrl(world)).searchParams.get('request'))
  })

  test('by a client without keys does not begin', async () => {
    const world = await startWith({}, { require_signed_request_object: true })
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login')
    expectRefusal(answer, 503, 'authorization_server_unavailable')
    expect(answer.setCookie).toEqual([])
    expect(world.logged('request.refused')).toMatchObject([{ reason: 'request_object_required' }])
    await expectSignedOut(browser)
  })
})

describe('R062 a pushed request', () => {
  test('is another for each sign-in', async () => {
    const world = await startWith({}, offersPar)
    const urls = await Promise.all(Array.from({ length: 5 }, () => authorizationUrl(world)))
    expect(new Set(urls.map((url) => url.searchParams.get('request_uri'))).size).toBe(5)
    expect(world.as.to('/par')).toHaveLength(5)
    for (const { body } of world.as.to('/par')) expect(body.has('request_uri')).toBe(false)
  })

  test('R055 that was swapped for that of an attacker signs nobody in: its answer belongs to another browser', async () => {
    const world = await startWith({}, offersPar)
    const attacker = await world.browser().untilCallback()
    const victim = world.browser()
    await victim.navigate('/auth/login')
    const answer = await victim.navigate(attacker, { headers: { 'sec-fetch-site': 'cross-site' } })
    expect(answer.status).toBe(400)
    expectSilent(world.as, '/token')
    await expectSignedOut(victim, answer)
  })

  test("R055 that was swapped signs nobody in, although the answer names the victim's own state", async () => {
    const world = await startWith({}, offersPar)
    const attacker = new URL(await world.browser().untilCallback(), world.url)
    const victim = world.browser()
    const own = new URL(await victim.untilCallback(), world.url)
    own.searchParams.set('code', attacker.searchParams.get('code') ?? '')
    const answer = await victim.navigate(own.pathname + own.search, { headers: { 'sec-fetch-site': 'cross-site' } })
    await expectLoginRefused(world, victim, answer, 'invalid_grant')
  })
})

describe('R086 authorization_details', () => {
  const payment = { type: 'payment', actions: ['initiate'], amount: { currency: 'EUR', value: '12.50' } }

  test.each([false, true])('come from the configuration, not from the page (signed: %s)', async (jar) => {
    const world = await startWith({ authorizationDetails: [payment], jar, keys: [await newClientKey('ES256')] })
    const evil = encodeURIComponent(JSON.stringify([{ type: 'admin' }]))
    const url = await authorizationUrl(world, `?authorization_details=${evil}`)
    const asked = jar
      ? (await verified(world, url.searchParams.get('request'))).authorization_details
      : JSON.parse(url.searchParams.get('authorization_details') ?? '')
    expect(asked).toEqual([payment])
  })

  test('are not asked for where none are configured', async () => {
    const world = await startWith({})
    const url = await authorizationUrl(world, '?authorization_details=%5B%7B%22type%22%3A%22admin%22%7D%5D')
    expect(url.searchParams.has('authorization_details')).toBe(false)
  })

  test('that were granted take no room in cookies, however many there are', async () => {
    const world = await startWith({ authorizationDetails: [payment] })
    world.as.behaviour.tokenResponse = (response) => {
      response.authorization_details = Array.from({ length: 200 }, () => ({ ...payment, note: 'CANARY'.repeat(8) }))
    }
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect([...browser.cookies.values()].join('').length).toBeLessThan(4_000)
    expectNoCanary(world, browser)
  })

  test.each<[string, unknown]>([
    ['of a type that nobody asked for', [payment, { type: 'admin' }]],
    ['of no type', [{ actions: ['initiate'] }]],
    ['that are nothing', [null]],
  ])('%s end the sign-in, and the tokens are revoked', async (_, granted) => {
    const world = await startWith({ authorizationDetails: [payment] })
    world.as.behaviour.tokenResponse = (response) => {
      response.authorization_details = granted
    }
    const browser = world.browser()
    await expectLoginRefused(world, browser, await browser.signIn(), [
      'authorization_details_mismatch',
      'response_malformed',
    ])
  })

  test('that nobody asked for are not taken without a configuration', async () => {
    const world = await startWith({})
    world.as.behaviour.tokenResponse = (response) => {
      response.authorization_details = [payment]
    }
    const browser = world.browser()
    await expectLoginRefused(world, browser, await browser.signIn(), 'authorization_details_mismatch')
    await expect.poll(() => world.as.to('/revoke').length).toBe(2)
  })
})

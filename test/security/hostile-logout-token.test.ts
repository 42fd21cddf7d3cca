// Attack: logout tokens that are forged, borrowed, stale or by the thousand, to sign people out or to tire the server.
// R146 R147 R148 R150 R152
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { startWorld, type World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { passed } from '../support/time.ts'

const now = () => Math.floor(Date.now() / 1_000)
const event = 'http://schemas.openid.net/event/backchannel-logout'
const attacker = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey

describe('R147 a logout token', () => {
  const world = faultWorld()

  const send = (body: string, headers: Record<string, string> = {}) =>
    world.browser().send('/auth/backchannel-logout', {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    })

  async function refuses(token: string): Promise<void> {
    const browser = world.browser()
    await browser.signIn()
    const answer = await send(new URLSearchParams({ logout_token: token }).toString())
    expect(answer.status).toBe(400)
    expect(answer.json()).toMatchObject({ code: 'bad_request', error: 'invalid_request' })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.text).not.toContain('CANARY')
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  }

  test.each<[string, Record<string, unknown>]>([
    ['of another issuer', { iss: 'https://other.example' }],
    ['for another client', { aud: 'other' }],
    ['for others too', { aud: ['test-client', 'other'] }],
    ['without an audience', { aud: undefined }],
    ['that is over', { iat: now() - 1_000, exp: now() - 500 }],
    ['that never ends to be old', { iat: now() - 1_000, exp: now() + 1_000_000 }],
    ['from the future', { iat: now() + 1_000, exp: now() + 2_000 }],
    ['without iat', { iat: undefined }],
    ['without exp', { exp: undefined }],
    ['without jti', { jti: undefined }],
    ['with an empty jti', { jti: '' }],
    ['with a nonce', { nonce: 'n' }],
    ['without events', { events: undefined }],
    ['with other events', { events: { 'http://schemas.openid.net/event/other': {} } }],
    ['with an event that is no object', { events: { [event]: 'yes' } }],
    ['with an event that is a list', { events: { [event]: [] } }],
    ['with events that are a list', { events: [event] }],
    ['about nobody', { sub: undefined }],
    ['about a subject that is no text', { sub: 7 }],
    ['about a session that is no text', { sid: { a: 1 } }],
    ['about a subject without end', { sub: 'x'.repeat(300) }],
  ])('%s ends nothing', async (_, claims) => {
    await refuses(await world.as.logoutToken({ sub: 'alice', ...claims }))
  })

  test.each<[string, Record<string, unknown>]>([
    ['of no type (R148)', { typ: undefined }],
    ['of the type of an ID token (R148)', { typ: 'JWT' }],
    ['of the type of an access token (R148)', { typ: 'at+jwt' }],
    ['with a key nobody has', { kid: 'unknown' }],
  ])('%s ends nothing', async (_, header) => {
    await refuses(await world.as.logoutToken({ sub: 'alice' }, header))
  })

  test('that is an ID token ends nothing', async () => {
    let idToken = ''
    world.as.behaviour.signedIdToken = (signed) => {
      idToken = signed
      return signed
    }
    await world.browser().signIn()
    await refuses(idToken)
  })

  test.each([
    ['signed by the attacker', rs256(attacker)],
    ['not signed', unsigned],
  ])('%s ends nothing', async (_, signature) => {
    const { header, claims } = readJwt(await world.as.logoutToken({ sub: 'alice' }))
    await refuses(jwt(header, claims, signature))
    await refuses(jwt({ ...header, alg: 'none' }, claims, signature))
  })

  test.each([
    ['nothing', ''],
    ['an empty token', 'logout_token='],
    ['two tokens', 'logout_token=a&logout_token=b'],
    ['no token', 'other=x'],
    ['garbage', 'logout_token=%00%ff..'],
    ['three dots', 'logout_token=...'],
    ['a token without end', `logout_token=${'x'.repeat(20_000)}`],
    ['a body without end', `logout_token=x&pad=${'x'.repeat(200_000)}`],
  ])('R150 %s is 400', async (_, body) => {
    expect((await send(body)).status).toBe(400)
  })

  test('R146 as JSON, as text or in the query is none', async () => {
    const token = await world.as.logoutToken({ sub: 'alice' })
    expect((await send(JSON.stringify({ logout_token: token }), { 'content-type': 'application/json' })).status).toBe(
      400,
    )
    expect((await send(`logout_token=${token}`, { 'content-type': 'text/plain' })).status).toBe(400)
    const inQuery = await world.browser().send(`/auth/backchannel-logout?logout_token=${token}`, { method: 'POST' })
    expect(inQuery.status).toBe(400)
  })

  test('R152 by the thousand, each with a key of its own invention, fetches the keys a few times', async () => {
    const { header, claims } = readJwt(await world.as.logoutToken({ sub: 'alice' }))
    const before = world.as.to('/jwks').length
    for (let round = 0; round < 20; round++) {
      const sent = Array.from({ length: 50 }, (_, index) => {
        const forged = jwt({ ...header, kid: `k${round}-${index}` }, claims, rs256(attacker))
        return send(new URLSearchParams({ logout_token: forged }).toString())
      })
      for (const answer of await Promise.all(sent)) expect(answer.status).toBe(400)
    }
    expect(world.as.to('/jwks').length - before).toBeLessThanOrEqual(5)
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
  })
  test('R152 by the dozen, before the authorization server changes its keys, keep nobody from signing in or from a refresh', async () => {
    world.as.behaviour.expiresIn = 0.1
    const browser = world.browser()
    await browser.signIn()
    await passed(120)
    const { header, claims } = readJwt(await world.as.logoutToken({ sub: 'alice' }))
    for (let round = 0; round < 12; round++) {
      const forged = jwt({ ...header, kid: `r${round}` }, claims, rs256(attacker))
      expect((await send(new URLSearchParams({ logout_token: forged }).toString())).status).toBe(400)
    }
    await world.as.rotateKeys()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect((await world.browser().signIn()).headers.get('location')).toBe('/')
    expect(world.logged('session.ended')).toEqual([])
  })
})

describe('R152 forged logout tokens by the dozen', () => {
  const forgedAt = (world: World, kid: string) => {
    const header = { alg: 'RS256', kid, typ: 'logout+jwt' }
    const token = jwt(header, { iss: world.as.issuer, aud: world.as.clientId }, rs256(attacker))
    return world.browser().send('/auth/backchannel-logout', {
      method: 'POST',
      body: new URLSearchParams({ logout_token: token }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
  }

  test('fetch the keys a few times while these cannot be had, and keep nobody from signing in afterwards', async () => {
    const world = await startWorld()
    world.as.behaviour.faults['/jwks'] = () => ({ status: 500, body: 'CANARY' })
    for (let round = 0; round < 40; round++) expect((await forgedAt(world, `k${round}`)).status).toBe(503)
    const atOnce = await Promise.all(Array.from({ length: 40 }, (_, round) => forgedAt(world, `a${round}`)))
    expect(new Set(atOnce.map(({ status }) => status))).toEqual(new Set([503]))
    expect(world.as.to('/jwks').length).toBeLessThanOrEqual(5)
    world.as.behaviour.faults = {}
    expect((await world.browser().signIn()).status).toBe(303)
  })

  test('ask a server that takes its time for its metadata once at a time, as sign-ins do', async () => {
    let [now, most] = [0, 0]
    const world = await startWorld(({ as }) => {
      as.behaviour.faults['/.well-known/openid-configuration'] = async () => {
        now += 1
        most = Math.max(most, now)
        await passed(1_500)
        now -= 1
        return { status: 503, body: 'CANARY' }
      }
      return {}
    })
    const asked = [
      ...Array.from({ length: 50 }, (_, round) => forgedAt(world, `k${round}`)),
      ...Array.from({ length: 20 }, () => world.browser().navigate('/auth/login')),
    ]
    const answers = await Promise.all(asked)
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]))
    expect(most).toBe(1)
    expect(world.as.requests.length).toBeLessThanOrEqual(3)
  })
})

test('two hundred sign-ins at a server nobody knew yet have it introduce itself once', async () => {
  let asked = 0
  const world = await startWorld(({ as }) => {
    as.behaviour.faults['/.well-known/openid-configuration'] = async () => {
      asked += 1
      await passed(200)
      return undefined
    }
    return {}
  })
  const logins = await Promise.all(Array.from({ length: 200 }, () => world.browser().navigate('/auth/login')))
  expect(new Set(logins.map(({ status }) => status))).toEqual(new Set([303]))
  expect(asked).toBe(1)
})

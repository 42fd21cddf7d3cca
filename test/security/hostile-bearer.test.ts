// Attack: callers that bring forged, borrowed, stale or foreign access tokens to a route that takes them, or two identities at
// once, or tokens by the thousand; and a server that lies when it is asked about them.
// R085 R531 R532 R533
import { generateKeyPairSync, KeyObject } from 'node:crypto'
import { exportJWK, exportSPKI, importJWK } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { type Overrides, startWorld, type World } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { hs256, jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { openConnection } from '../support/raw.ts'

const now = () => Math.floor(Date.now() / 1_000)
const attacker = generateKeyPairSync('rsa', { modulusLength: 2048 })

type Bearer = NonNullable<NonNullable<ConfigInput['routes']>[number]['bearer']>

/** A route for each way to check tokens. */
const routes: Overrides = ({ api }) => {
  const route = (name: string, bearer: Bearer) =>
    ({ path: `/api/${name}`, upstream: `${api.url}/${name}`, token: 'user', bearer }) as const
  return {
    routes: [
      route('jwt', { audience: 'api' }),
      route('other', { audience: 'other' }),
      route('any-type', { audience: 'api', anyType: true }),
      route('asked', { audience: 'api', introspection: true }),
      route('asked-other', { audience: 'other', introspection: true }),
      route('narrow', { audience: 'api', algs: ['ES256'] }),
      { ...route('socket', { audience: 'api' }), websocket: true },
      { path: '/api/pages', upstream: `${api.url}/pages`, token: 'user' },
    ],
  }
}

const send = (world: World, headers: Record<string, string>, path = '/api/jwt/1') =>
  world.browser().send(path, { headers })
const call = (world: World, token: string, path?: string) => send(world, { authorization: `Bearer ${token}` }, path)

async function refuses(world: World, token: string, path?: string): Promise<void> {
  const answer = await call(world, token, path)
  expect(answer.status).toBe(401)
  expect(answer.json().code).toBe('invalid_token')
  expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
  expect(answer.text).not.toContain('CANARY')
  expect(answer.setCookie).toEqual([])
  expect(world.api.requests).toHaveLength(0)
}

describe('R531 an access token', () => {
  const world = faultWorld(routes)

  test.each<[string, Record<string, unknown>]>([
    ['of another issuer', { iss: 'https://other.example' }],
    ['of almost the issuer', { iss: 'ISSUER/' }],
    ['of no issuer', { iss: undefined }],
    ['for another API', { aud: 'other' }],
    ['for the client', { aud: 'test-client' }],
    ['for nobody', { aud: undefined }],
    ['for an empty list', { aud: [] }],
    ['for a list in a list', { aud: [['api']] }],
    ['for almost the API', { aud: 'api ' }],
    ['that is over', { exp: now() - 60 }],
    ['that never ends', { exp: undefined }],
    ['that ends with a word', { exp: 'never' }],
    ['that is not valid yet', { nbf: now() + 600 }],
    ['from the future', { iat: now() + 600 }],
    ['of nobody', { sub: undefined, client_id: undefined }],
    ['of an empty subject', { sub: '' }],
    ['of a subject that is no text', { sub: ['alice'] }],
    ['of a subject without end', { sub: 'x'.repeat(300) }],
    ['that is bound to a DPoP key', { cnf: { jkt: 'x' } }],
    ['that is bound to a certificate', { cnf: { 'x5t#S256': 'x' } }],
  ])('%s opens nothing', async (_, claims) => {
    const iss = claims.iss === 'ISSUER/' ? { iss: `${world.as.issuer}/` } : {}
    await refuses(world, await world.as.accessToken({ ...claims, ...iss }))
  })

  test.each<[string, Record<string, unknown>]>([
    ['of no type', { typ: undefined }],
    ['of the type of anything', { typ: 'JWT' }],
    ['of the type of a logout token', { typ: 'logout+jwt' }],
    ['of a type that is no text', { typ: ['at+jwt'] }],
    ['with a key that nobody has', { kid: 'unknown' }],
  ])('%s opens nothing', async (_, header) => {
    await refuses(world, await world.as.accessToken({}, header))
  })

  test.each<[string, (header: Record<string, unknown>, jwk: object) => Record<string, unknown>]>([
    ['its own key', (header, jwk) => ({ ...header, jwk })],
    ['its own key and no other', ({ kid, ...header }, jwk) => ({ ...header, jwk })],
    ['an address of keys', (header) => ({ ...header, jku: 'http://127.0.0.1:1/jwks' })],
    ['an address of certificates', (header) => ({ ...header, x5u: 'http://127.0.0.1:1/x5u' })],
    ['extensions that nobody understands', (header) => ({ ...header, crit: ['exp'] })],
    ['an unencoded payload', (header) => ({ ...header, crit: ['b64'], b64: false })],
    ['another way to read its payload', (header) => ({ ...header, b64: false })],
  ])('that brings %s opens nothing, whoever signed it', async (_, change) => {
    const { header, claims } = readJwt(await world.as.accessToken())
    const jwk = await exportJWK(attacker.publicKey)
    const changed = change(header, jwk)
    await refuses(world, jwt(changed, claims, rs256(attacker.privateKey)))
    await refuses(world, jwt(changed, claims, rs256(KeyObject.from(world.as.signingKey()))))
  })

  test('without a signature opens nothing', async () => {
    const { header, claims } = readJwt(await world.as.accessToken())
    for (const alg of ['none', 'None', 'NONE', '', undefined, 'RS256']) {
      await refuses(world, jwt({ ...header, alg }, claims, unsigned))
    }
  })

  test('signed with the public key as if it were a secret opens nothing', async () => {
    const { header, claims } = readJwt(await world.as.accessToken())
    const [jwk] = world.as.publicKeys
    const key = await importJWK(jwk ?? {}, 'RS256', { extractable: true })
    const secrets = [await exportSPKI(key as CryptoKey), JSON.stringify(jwk), String(jwk?.n)]
    for (const secret of secrets) await refuses(world, jwt({ ...header, alg: 'HS256' }, claims, hs256(secret)))
  })

  test('signed by the attacker, or changed afterwards, opens nothing', async () => {
    const token = await world.as.accessToken()
    const { header, claims } = readJwt(token)
    await refuses(world, jwt(header, claims, rs256(attacker.privateKey)))
    const [head, , signature] = token.split('.')
    const other = Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url')
    await refuses(world, `${head}.${other}.${signature}`)
    // Refused again, by what is remembered; and the good one is not taken for it.
    await refuses(world, `${head}.${other}.${signature}`)
    expect((await call(world, token)).status).toBe(200)
  })

  test('with another algorithm than the route names opens nothing', async () => {
    await refuses(world, await world.as.accessToken(), '/api/narrow/1')
  })

  test.each([
    ['dots', '..'],
    ['dots and letters', 'a.b.c'],
    ['no JSON', `${Buffer.from('x').toString('base64url')}.e30.AA`],
    ['a list', `${Buffer.from('[]').toString('base64url')}.e30.AA`],
    ['five parts', 'a.b.c.d.e'],
    ['a claim set that is a list', jwt({ alg: 'RS256', typ: 'at+jwt' }, [], unsigned)],
    ['a claim set that is null', jwt({ alg: 'RS256', typ: 'at+jwt' }, 'null', unsigned)],
    ['one that is opaque', 'opaque'],
  ])('of %s opens nothing', async (_, token) => {
    await refuses(world, token)
    expect(world.as.requests).toHaveLength(0)
  })

  test('without end is not even read', async () => {
    const answer = await call(world, `${await world.as.accessToken({ padding: 'x'.repeat(20_000) })}`)
    expect(answer.status).toBe(401)
    expect(world.api.requests).toHaveLength(0)
  })

  test('of one route opens no other that asks for another audience, however often it was used', async () => {
    const token = await world.as.accessToken()
    for (let n = 0; n < 3; n++) {
      expect((await call(world, token, '/api/jwt/1')).status).toBe(200)
      expect((await call(world, token, '/api/other/1')).status).toBe(401)
      expect((await call(world, token, '/api/narrow/1')).status).toBe(401)
    }
    expect(world.api.requests).toHaveLength(3)
  })

  test('that was refused on one route is still good on its own', async () => {
    const token = await world.as.accessToken()
    await refuses(world, token, '/api/other/1')
    expect((await call(world, token)).status).toBe(200)
  })
})

describe('R532 what is no access token', () => {
  const world = faultWorld(routes)

  /** Both tokens of a sign-in. */
  async function signedIn(): Promise<{ idToken: string; refreshToken: string }> {
    let issued: Record<string, unknown> = {}
    world.as.behaviour.tokenResponse = (response) => {
      issued = response
    }
    await world.browser().signIn()
    world.as.behaviour.tokenResponse = () => {}
    return { idToken: String(issued.id_token), refreshToken: String(issued.refresh_token) }
  }

  test.each(['jwt', 'any-type', 'asked'])('an ID token opens nothing (%s)', async (route) => {
    await refuses(world, (await signedIn()).idToken, `/api/${route}/1`)
  })

  test.each<[string, Record<string, unknown>]>([
    ['with a nonce', { nonce: 'n' }],
    ['with the hash of an access token', { at_hash: 'x' }],
    ['with the hash of a code', { c_hash: 'x' }],
    ['that calls itself one (Keycloak)', { typ: 'ID' }],
    ['that calls itself one (Cognito)', { token_use: 'id' }],
    ['for the client too', { aud: ['api', 'test-client'] }],
    ['that says nothing else', { client_id: undefined }],
  ])('an ID token for a client of the name of the API, %s, opens nothing', async (_, claims) => {
    for (const typ of ['JWT', undefined]) {
      await refuses(world, await world.as.accessToken(claims, { typ }), '/api/any-type/1')
    }
  })

  test.each<[string, Record<string, unknown>, string | undefined]>([
    ['a refresh token of Keycloak', { typ: 'Refresh' }, 'JWT'],
    ['a logout token by its type', { events: {} }, 'logout+jwt'],
    ['a logout token by its claims', { events: {} }, 'JWT'],
    ['a client assertion', {}, 'client-authentication+jwt'],
    ['a DPoP proof', {}, 'dpop+jwt'],
  ])('%s opens nothing', async (_, claims, typ) => {
    await refuses(world, await world.as.accessToken(claims, { typ }), '/api/any-type/1')
  })

  test('a refresh token opens nothing, active though it is', async () => {
    const { refreshToken } = await signedIn()
    const honest = { active: true, client_id: 'mobile', sub: 'alice', exp: now() + 300 }
    for (const said of [
      honest,
      { ...honest, aud: 'api', typ: 'Refresh' },
      { ...honest, aud: 'api', token_use: 'refresh_token' },
      { ...honest, aud: 'api', token_type: 'N_A' },
    ]) {
      const token = `${refreshToken}-${Math.random()}`
      world.as.behaviour.introspected[token] = said
      await refuses(world, token, '/api/asked/1')
    }
  })
})

describe('R533 two identities in one request', () => {
  const world = faultWorld(routes)

  test('a session and a token are refused, whatever either is worth', async () => {
    const browser = world.browser()
    await browser.signIn()
    const good = await world.as.accessToken()
    const page = { 'sec-fetch-site': 'same-origin' }
    for (const authorization of [`Bearer ${good}`, 'Bearer x', 'Basic YTpi']) {
      const answer = await browser.send('/api/jwt/1', { headers: { ...page, authorization } })
      expect([authorization, answer.status]).toEqual([authorization, 400])
      expect(answer.json().code).toBe('bad_request')
    }
    for (const cookie of ['coatcheck=x', 'coatcheck.1=x', 'a=b; coatcheck=']) {
      expect((await send(world, { authorization: `Bearer ${good}`, cookie })).status).toBe(400)
    }
    expect(world.api.requests).toHaveLength(0)
    // Other cookies are nobody's identity here.
    expect((await send(world, { authorization: `Bearer ${good}`, cookie: 'theme=dark' })).status).toBe(200)
    expect(world.api.last().headers.cookie).toBeUndefined()
    // The session is none the worse.
    expect((await browser.fetch('/api/jwt/1')).status).toBe(200)
  })

  test('where a route takes no tokens the session alone counts', async () => {
    const browser = world.browser()
    await browser.signIn()
    const good = await world.as.accessToken()
    expect((await browser.fetch('/api/pages/1', { headers: { authorization: `Bearer ${good}` } })).status).toBe(200)
    expect(world.api.last().headers.authorization).not.toContain(good)
  })

  test('two Authorization headers are refused, in any order', async () => {
    const good = `Authorization: Bearer ${await world.as.accessToken()}`
    const { host } = new URL(world.url)
    for (const other of ['Authorization: Bearer x', 'authorization: Basic YTpi', good]) {
      for (const [first, second] of [
        [good, other],
        [other, good],
      ]) {
        const connection = openConnection(world.url)
        connection.send(
          `GET /api/jwt/1 HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${first}\r\n${second}\r\n\r\n`,
        )
        expect((await connection.answer())?.status).toSatisfy((status) => status === 400 || status === 401)
        connection.close()
      }
    }
    expect(world.api.requests).toHaveLength(0)
  })

  test.each<[string, (token: string) => string, number]>([
    ['two tokens with a comma', (token) => `Bearer ${token}, Bearer x`, 400],
    ['a comma at the end', (token) => `Bearer ${token},`, 400],
    ['parameters', (token) => `Bearer realm="x", token="${token}"`, 400],
    ['two words', (token) => `Bearer ${token} x`, 400],
    ['no token', () => 'Bearer', 400],
    ['a tab', (token) => `Bearer\t${token}`, 400],
    ['padding in the middle', (token) => `Bearer a=${token}`, 400],
    ['a token that is quoted', (token) => `Bearer "${token}"`, 400],
    ['Basic', () => 'Basic YWxpY2U6c2VjcmV0', 401],
    ['DPoP', (token) => `DPoP ${token}`, 401],
    ['another scheme that begins alike', (token) => `BearerX ${token}`, 401],
    ['a scheme before it', (token) => `X-Bearer ${token}`, 401],
    ['the token alone', (token) => token, 401],
  ])('an Authorization header of %s is refused', async (_, authorization, status) => {
    const answer = await send(world, { authorization: authorization(await world.as.accessToken()) })
    expect(answer.status).toBe(status)
    const challenge = status === 400 ? 'Bearer error="invalid_request"' : 'Bearer'
    expect(answer.headers.get('www-authenticate')).toBe(challenge)
    expect(world.api.requests).toHaveLength(0)
    expect(world.as.to('/introspect')).toHaveLength(0)
  })

  test('a token in the query is nobody, and beside another it is one too many', async () => {
    const token = await world.as.accessToken()
    const inQuery = await world.browser().fetch(`/api/jwt/1?access_token=${token}`)
    expect(inQuery.json().code).toBe('session_required')
    for (const name of ['access_token', 'access%5Ftoken']) {
      expect((await call(world, token, `/api/jwt/1?x=1&${name}=${token}`)).status).toBe(400)
    }
    expect(world.api.requests).toHaveLength(0)
  })

  test.each<[string, Record<string, string>]>([
    ['another site', { 'sec-fetch-site': 'cross-site' }],
    ['a sibling site', { 'sec-fetch-site': 'same-site' }],
    ['another origin', { origin: 'https://evil.example' }],
    ['an origin that nobody may know', { origin: 'null' }],
  ])('a browser says that it is from %s, and is believed', async (_, headers) => {
    const answer = await send(world, { authorization: `Bearer ${await world.as.accessToken()}`, ...headers })
    expect(answer.status).toBe(403)
    expect(answer.json().code).toBe('csrf_rejected')
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    expect(world.api.requests).toHaveLength(0)
  })

  test('R312 a token opens no WebSocket from elsewhere, or from nobody knows where', async () => {
    const authorization = `Bearer ${await world.as.accessToken()}`
    const key = { 'sec-websocket-version': '13', 'sec-websocket-key': 'AQIDBAUGBwgJCgsMDQ4PEC==' }
    const handshake = { authorization, connection: 'Upgrade', upgrade: 'websocket', ...key }
    for (const path of ['/api/jwt/1', '/api/socket/1']) {
      for (const origin of [{}, { origin: 'null' }, { origin: 'https://evil.example' }]) {
        const answer = await send(world, { ...handshake, ...origin }, path)
        expect([answer.status, answer.json().code]).toEqual([403, 'csrf_rejected'])
      }
    }
    expect(world.api.requests).toHaveLength(0)
  })

  test('a token opens no WebSocket that it would not open a call with', async () => {
    const key = { 'sec-websocket-version': '13', 'sec-websocket-key': 'AQIDBAUGBwgJCgsMDQ4PEC==' }
    const handshake = { connection: 'Upgrade', upgrade: 'websocket', origin: world.publicUrl, ...key }
    const open = (authorization: string, more = {}) =>
      send(world, { ...handshake, authorization, ...more }, '/api/socket/1')
    const bad = await open(`Bearer ${await world.as.accessToken({ aud: 'other' })}`)
    expect([bad.status, bad.headers.get('www-authenticate')]).toEqual([401, 'Bearer error="invalid_token"'])
    const browser = world.browser()
    await browser.signIn()
    const mixed = await open(`Bearer ${await world.as.accessToken()}`, { cookie: browser.cookieHeader() })
    expect([mixed.status, mixed.json().code]).toEqual([400, 'bad_request'])
    expect(world.api.requests).toHaveLength(0)
  })

  test('a token opens no document or script', async () => {
    const authorization = `Bearer ${await world.as.accessToken()}`
    for (const destination of ['document', 'script', 'iframe']) {
      expect((await send(world, { authorization, 'sec-fetch-dest': destination })).status).toBe(403)
    }
    expect(world.api.requests).toHaveLength(0)
  })

  test('a token says nothing beside the routes that take it', async () => {
    const headers = { authorization: `Bearer ${await world.as.accessToken()}` }
    expect((await send(world, headers, '/auth/session')).json()).toEqual({ authenticated: false })
    expect((await send(world, headers, '/auth/sessions')).status).toBe(403)
    expect((await send(world, headers, '/api/pages/1')).status).toBe(403)
  })

  test('nothing of a token is in any log line', async () => {
    const token = await world.as.accessToken({ sub: 'CANARY-subject' })
    await call(world, token)
    await call(world, token, '/api/other/1')
    await call(world, 'CANARY-opaque', '/api/asked/1')
    await expect.poll(() => world.logged('request.refused').length).toBe(2)
    const lines = JSON.stringify(world.events())
    expect(lines).not.toContain('CANARY')
    expect(lines).not.toContain(token.split('.')[2])
  })
})

describe('R085 a server that is asked about a token', () => {
  const world = faultWorld(routes)
  const asked = '/api/asked/1'
  let count = 0
  const fresh = () => `opaque-${count++}`
  const honest = () => ({ active: true, aud: 'api', sub: 'alice', token_type: 'Bearer', exp: now() + 300 })

  test.each<[string, Record<string, unknown>]>([
    ['is not active', { active: false }],
    ['is over', { exp: now() - 60 }],
    ['ends with a word', { exp: 'never' }],
    ['is not valid yet', { nbf: now() + 600 }],
    ['is for another API', { aud: 'other' }],
    ['is for nobody', { aud: undefined }],
    ['is of another issuer', { iss: 'https://other.example' }],
    ['is of no issuer that can be', { iss: null }],
    ['is of another kind', { token_type: 'DPoP' }],
    ['is bound to a key', { cnf: { jkt: 'x' } }],
    ['is of nobody', { sub: undefined }],
    ['is of a subject that is no text', { sub: 7 }],
  ])('says that it %s, and it opens nothing', async (_, said) => {
    const token = fresh()
    world.as.behaviour.introspected[token] = { ...honest(), ...said }
    await refuses(world, token, asked)
  })

  test.each<[string, { status?: number; headers?: Record<string, string>; body: string | object }]>([
    ['a page', { headers: { 'content-type': 'text/html' }, body: '<p>CANARY</p>' }],
    ['no JSON', { headers: { 'content-type': 'application/json' }, body: '{"active":true' }],
    ['a list', { body: [true] }],
    ['nothing of what was asked', { body: {} }],
    ['a word where yes or no should be', { body: { active: 'true' } }],
    ['a number where yes or no should be', { body: { active: 1 } }],
    ['a redirect', { status: 302, headers: { location: 'https://evil.example' }, body: '' }],
    ['that we are nobody', { status: 401, body: { error: 'invalid_client' } }],
    ['without end', { body: { active: true, padding: 'x'.repeat(600_000) } }],
  ])('says %s, and nothing is passed on', async (_, answer) => {
    world.as.behaviour.faults['/introspect'] = () => answer
    const told = await call(world, fresh(), asked)
    expect(told.status).toBe(503)
    expect(told.json().code).toBe('authorization_server_unavailable')
    expect(told.text).not.toContain('CANARY')
    expect(world.api.requests).toHaveLength(0)
    await expect.poll(() => world.logged('bearer.unchecked').length).toBe(1)
  })

  test('says yes for one API, and no other believes it', async () => {
    const token = fresh()
    world.as.behaviour.introspected[token] = honest()
    for (let n = 0; n < 3; n++) {
      expect((await call(world, token, asked)).status).toBe(200)
      expect((await call(world, token, '/api/asked-other/1')).status).toBe(401)
      expect((await call(world, token, '/api/jwt/1')).status).toBe(401)
    }
    expect(world.api.requests).toHaveLength(3)
  })

  test('says yes of a JWT that is forged, and is not even asked', async () => {
    const { header, claims } = readJwt(await world.as.accessToken())
    const forged = jwt(header, claims, rs256(attacker.privateKey))
    world.as.behaviour.introspected[forged] = honest()
    await refuses(world, forged, asked)
    expect(world.as.to('/introspect')).toHaveLength(0)
  })

  test('says yes until a certain time, and is believed no longer', async () => {
    const token = fresh()
    world.as.behaviour.introspected[token] = { ...honest(), exp: now() + 2 }
    expect((await call(world, token, asked)).status).toBe(200)
    world.as.behaviour.introspected = {}
    await expect.poll(async () => (await call(world, token, asked)).status, { interval: 200 }).toBe(401)
  })
})

describe('R531 tokens by the thousand', () => {
  test('each with a key of its own invention, fetch the keys a few times and keep nobody out', async () => {
    const world = await startWorld(routes)
    const good = await world.as.accessToken()
    expect((await call(world, good)).status).toBe(200)
    const { header, claims } = readJwt(good)
    const before = world.as.to('/jwks').length
    for (let round = 0; round < 20; round++) {
      const sent = Array.from({ length: 50 }, (_, index) =>
        call(
          world,
          jwt({ ...header, kid: `k${round}-${index}` }, claims, () => 'forged'),
        ),
      )
      for (const { status } of await Promise.all(sent)) expect(status).toBe(401)
    }
    expect(world.as.to('/jwks').length - before).toBeLessThanOrEqual(5)
    expect((await call(world, await world.as.accessToken({ sub: 'bob' }))).status).toBe(200)
    // Sign-ins have keys of their own to fetch.
    expect((await world.browser().signIn()).status).toBe(303)
    expect(world.api.requests).toHaveLength(2)
  })

  test('that nobody knows reach the authorization server a bounded number at a time', async () => {
    const world = await startWorld(routes)
    let most = 0
    let open = 0
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    world.as.behaviour.faults['/introspect'] = async () => {
      most = Math.max(most, ++open)
      await released
      open--
      return undefined
    }
    await call(world, await world.as.accessToken())
    // Those that there is no room for are told at once, whichever they are; the others wait for an answer.
    const early: number[] = []
    let sent: Promise<number>[] = []
    await new Promise<void>((resolve) => {
      sent = Array.from({ length: 100 }, async (_, n) => {
        const { status } = await call(world, `opaque-${n}`, '/api/asked/1')
        if (early.push(status) === 36) resolve()
        return status
      })
    })
    expect(early).toEqual(early.map(() => 503))
    expect((await call(world, await world.as.accessToken())).status).toBe(200)
    release()
    expect((await Promise.all(sent)).filter((status) => status === 401)).toHaveLength(64)
    expect(most).toBe(64)
    expect((await call(world, 'opaque-later', '/api/asked/1')).status).toBe(401)
  })
})

test('R085 a server that is slow is waited for as long as the configuration says, and no longer', async () => {
  const world = await startWorld((parts) => ({
    ...(typeof routes === 'function' ? routes(parts) : routes),
    refresh: { timeout: '300ms' },
  }))
  world.as.behaviour.faults['/introspect'] = () => new Promise(() => {})
  const answers = await Promise.all([1, 2, 3].map(() => call(world, 'opaque', '/api/asked/1')))
  expect(answers.map(({ status }) => status)).toEqual([503, 503, 503])
  expect(world.as.to('/introspect')).toHaveLength(1)
  expect(world.api.requests).toHaveLength(0)
})

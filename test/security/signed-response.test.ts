// Attack: authorization responses that should be signed (JARM) and are not, or by the wrong one, or for the wrong one.
// R065 R152
import { createPublicKey, KeyObject } from 'node:crypto'
import { exportJWK, generateKeyPair } from 'jose'
import { describe, expect, test } from 'vitest'
import { createCoatcheck } from '../../src/app.ts'
import type { Browser, BrowserResponse } from '../support/browser.ts'
import { faultWorld } from '../support/fault-world.ts'
import { hs256, jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { expectLoginRefused, expectNoCanary, expectSignedOut, expectSilent } from '../support/oracles.ts'
import { passed } from '../support/time.ts'

const world = faultWorld(({ config }) => ({
  providers: config.providers.map((one) => ({ ...one, responseMode: 'jwt' as const })),
}))
const crossSite = { headers: { 'sec-fetch-site': 'cross-site' } }

/** The signed response of a sign-in that is under way in `browser`. */
async function responseIn(browser: Browser): Promise<string> {
  const callback = new URL(await browser.untilCallback(), world.url)
  expect([...callback.searchParams.keys()]).toEqual(['response'])
  return callback.searchParams.get('response') ?? ''
}

const deliver = (browser: Browser, parameters: Record<string, string>): Promise<BrowserResponse> =>
  browser.navigate(`/auth/callback?${new URLSearchParams(parameters)}`, crossSite)

const privateKey = () => KeyObject.from(world.as.signingKey())
const unixTime = () => Math.floor(Date.now() / 1_000)

describe('R065 a signed response', () => {
  test('is asked for, and signs in', async () => {
    const browser = world.browser()
    expect((await browser.signIn('?returnTo=/orders')).headers.get('location')).toMatch(/\/orders$/)
    expect(world.as.to('/authorize')[0]?.query.get('response_mode')).toBe('jwt')
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
    expectNoCanary(world, browser)
  })

  test('that says no is an answer to who asked without a page', async () => {
    world.as.behaviour.callback = (answer) => {
      answer.delete('code')
      answer.set('error', 'login_required')
    }
    const browser = world.browser()
    const answer = await browser.signIn('?prompt=none&returnTo=/orders')
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/orders'])
    expectSilent(world.as, '/token')
    await expectSignedOut(browser, answer)
  })

  test('works once', async () => {
    const browser = world.browser()
    const response = await responseIn(browser)
    expect((await deliver(browser, { response })).status).toBe(303)
    await deliver(browser, { response })
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('in another browser signs nobody in', async () => {
    const response = await responseIn(world.browser())
    const other = world.browser()
    expect((await deliver(other, { response })).status).toBe(400)
    expectSilent(world.as, '/token')
    await expectSignedOut(other)
  })
})

describe('R065 a response that is not signed as it should be', () => {
  test('is refused when it is plain', async () => {
    const browser = world.browser()
    const { claims } = readJwt(await responseIn(browser))
    const answer = await deliver(browser, { code: `${claims.code}`, state: `${claims.state}`, iss: world.as.issuer })
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'authorization_response_unsigned')
  })

  test('is refused when it is a plain error', async () => {
    const browser = world.browser()
    const { claims } = readJwt(await responseIn(browser))
    const answer = await deliver(browser, { error: 'access_denied', state: `${claims.state}`, iss: world.as.issuer })
    await expectLoginRefused(world, browser, answer, 'authorization_response_unsigned')
  })

  test.each([
    ['a code', 'code'],
    ['a state', 'state'],
    ['an issuer', 'iss'],
    ['an error', 'error'],
  ])('is refused when %s stands beside it', async (_, name) => {
    const browser = world.browser()
    const response = await responseIn(browser)
    const { claims } = readJwt(response)
    const answer = await deliver(browser, { response, [name]: `${claims[name] ?? 'access_denied'}` })
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'authorization_response_malformed')
  })

  type Forgery = (header: Record<string, unknown>, claims: Record<string, unknown>) => string | Promise<string>
  const forgeries: [string, Forgery][] = [
    ['alg none', (header, claims) => jwt({ ...header, alg: 'none' }, claims, unsigned)],
    ['its signature cut off', (header, claims) => jwt(header, claims, unsigned)],
    [
      'the public key as a shared secret',
      async (header, claims) => {
        const pem = createPublicKey(privateKey()).export({ type: 'spki', format: 'pem' })
        return jwt({ ...header, alg: 'HS256' }, claims, hs256(pem as string))
      },
    ],
    [
      'a key of its own under the kid of the server',
      async (header, claims) => jwt(header, claims, rs256(await strangersKey())),
    ],
    [
      'a key that it brings along',
      async (header, claims) => {
        const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
        const brought = { ...header, kid: undefined, jwk: await exportJWK(publicKey) }
        return jwt(brought, claims, rs256(KeyObject.from(privateKey)))
      },
    ],
    [
      'a claim changed behind its signature',
      (header, claims) => {
        const [, , signature] = jwt(header, claims, rs256(privateKey())).split('.')
        return jwt(header, { ...claims, code: 'evil' }, () => Buffer.from(signature ?? '', 'base64url'))
      },
    ],
    [
      'the type of a logout token',
      (header, claims) => jwt({ ...header, typ: 'logout+jwt' }, claims, rs256(privateKey())),
    ],
    [
      'an algorithm that the server does not use',
      (header, claims) => jwt({ ...header, alg: 'PS256' }, claims, rs256(privateKey())),
    ],
  ]
  test.each(forgeries)('is refused with %s', async (_, forge) => {
    const browser = world.browser()
    const { header, claims } = readJwt(await responseIn(browser))
    const answer = await deliver(browser, { response: await forge(header, claims) })
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'authorization_response_signature')
  })

  const claim = 'authorization_response_claim'
  const time = 'authorization_response_time'
  test.each<[string, (claims: Record<string, unknown>) => void, typeof claim | typeof time]>([
    ['comes from another issuer', (claims) => (claims.iss = 'https://evil.example'), claim],
    ['comes from an issuer that is almost the same', (claims) => (claims.iss += '/'), claim],
    ['names no issuer', (claims) => delete claims.iss, claim],
    ['is for another client', (claims) => (claims.aud = 'other'), claim],
    ['is for others too', (claims) => (claims.aud = [claims.aud, 'other']), claim],
    ['is for nobody', (claims) => delete claims.aud, claim],
    ['has run out', (claims) => (claims.exp = unixTime() - 120), time],
    ['runs out never', (claims) => delete claims.exp, claim],
    ['is not valid yet', (claims) => (claims.nbf = unixTime() + 120), time],
  ])('is refused when it %s', async (_, change, reason) => {
    world.as.behaviour.signedCallback = change
    const browser = world.browser()
    const answer = await browser.signIn()
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, reason)
  })

  test.each<[string, unknown]>([
    ['a state that is none', 7],
    ['a state of nobody', 'someone-elses'],
    ['no state', undefined],
  ])('leads nowhere with %s', async (_, state) => {
    world.as.behaviour.signedCallback = (claims) => (claims.state = state)
    const browser = world.browser()
    const answer = await browser.signIn()
    expect(answer.status).toBe(400)
    expectSilent(world.as, '/token')
    await expectSignedOut(browser, answer)
  })

  test.each(['', 'x', '..', 'eyJhbGciOiJub25lIn0.e30.', `${'a.'.repeat(5_000)}`, 'e30.W10.', 'null.null.null'])(
    'leads nowhere when it is %j',
    async (response) => {
      const browser = world.browser()
      await browser.navigate('/auth/login')
      const answer = await deliver(browser, { response })
      expect(answer.status).toBe(400)
      expectSilent(world.as, '/token')
      await expectSignedOut(browser, answer)
      expectNoCanary(world, browser)
    },
  )
})

test('R152 forged responses before the server changes its keys keep nobody from a refresh, whose keys then serve sign-ins', async () => {
  world.as.behaviour.expiresIn = 0.1
  const user = world.browser()
  await user.signIn()
  await passed(120)
  world.as.requests.length = 0
  for (let round = 0; round < 6; round++) {
    const browser = world.browser()
    const { header, claims } = readJwt(await responseIn(browser))
    const response = jwt({ ...header, kid: `f${round}` }, claims, rs256(await strangersKey()))
    expect((await deliver(browser, { response })).status).toBe(400)
    await expectSignedOut(browser)
  }
  await expect
    .poll(() => world.logged('login.failed').map(({ reason }) => reason))
    .toEqual(Array(6).fill('authorization_response_key'))
  expect(world.as.to('/jwks').length).toBeLessThanOrEqual(5)
  await world.as.rotateKeys()
  expect((await user.fetch('/api/orders')).status).toBe(200)
  expect((await world.browser().signIn()).status).toBe(303)
})

describe('R065 a server that was not asked to sign', () => {
  test('cannot make responseMode up: the setting is the only way to it', () => {
    const providers = world.config.providers.map((one) => ({ ...one, authorizationParams: { response_mode: 'jwt' } }))
    expect(() => createCoatcheck({ ...world.config, providers })).toThrow(/authorizationParams: must not set/)
  })
})

async function strangersKey(): Promise<KeyObject> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  return KeyObject.from(privateKey)
}

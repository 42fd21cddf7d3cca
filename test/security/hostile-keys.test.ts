// Attack: keys and metadata that are data nobody expects: more keys than there are servers, one key as large as the answer
// may be, members twice, nesting without end, another content type (R058, R112, R114-R118; RFC 7517, ASVS 13.1.3).
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import type { Answer, AuthorizationServer } from '../support/authorization-server.ts'
import { startCoatcheck, startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, readJwt, rs256 } from '../support/forge.ts'
import { expectLoginFailed, expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'

const json = { 'content-type': 'application/json' }
const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
/** JSON text of an object, with more members in front of its own. */
const withText = (value: object, members: string) => `{${members},${JSON.stringify(value).slice(1)}`

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const jwk = (kid: string | undefined, more: object = {}) => ({
  ...rsa.publicKey.export({ format: 'jwk' }),
  ...(kid !== undefined && { kid }),
  ...more,
})

/** A world of its own whose keys were never fetched. */
async function withKeys(keys: (as: AuthorizationServer) => Answer) {
  const world = await startWorld({ refresh: { timeout: '2s' } })
  world.as.behaviour.faults['/jwks'] = () => keys(world.as)
  return world
}

describe('R117 a key set that the honest key is in', () => {
  const honest = (as: AuthorizationServer) => as.publicKeys
  test.each<[string, (as: AuthorizationServer) => Answer]>([
    [
      'with a thousand others',
      (as) => ({ body: { keys: [...Array.from({ length: 1_000 }, (_, n) => jwk(`k${n}`)), ...honest(as)] } }),
    ],
    [
      'with one for encryption under its name',
      (as) => ({ body: { keys: [jwk(as.publicKeys[0]?.kid, { use: 'enc' }), ...honest(as)] } }),
    ],
    [
      'with a symmetric one under its name',
      (as) => ({ body: { keys: [{ kty: 'oct', k: 'AAAA', kid: as.publicKeys[0]?.kid }, ...honest(as)] } }),
    ],
    [
      'with one of another algorithm under its name',
      (as) => ({ body: { keys: [jwk(as.publicKeys[0]?.kid, { alg: 'PS256' }), ...honest(as)] } }),
    ],
    ['with its members twice', (as) => ({ headers: json, body: withText({ keys: honest(as) }, '"keys":[]') })],
    [
      'as application/jwk-set+json',
      (as) => ({ headers: { 'content-type': 'application/jwk-set+json' }, body: JSON.stringify({ keys: honest(as) }) }),
    ],
    ['with a mark of byte order', (as) => ({ headers: json, body: `\uFEFF${JSON.stringify({ keys: honest(as) })}` })],
  ])('%s signs in', async (_, keys) => {
    const world = await withKeys(keys)
    expect((await world.browser().signIn()).status).toBe(303)
  })

  test.each<[string, (as: AuthorizationServer) => Answer]>([
    [
      'and calls itself a page',
      (as) => ({ headers: { 'content-type': 'text/html' }, body: JSON.stringify({ keys: honest(as) }) }),
    ],
    [
      'and calls itself text',
      (as) => ({ headers: { 'content-type': 'text/plain' }, body: JSON.stringify({ keys: honest(as) }) }),
    ],
    [
      'and a megabyte of others',
      (as) => ({ body: { keys: [...honest(as), ...Array.from({ length: 3_000 }, (_, n) => jwk(`k${n}`))] } }),
    ],
    [
      'under a name that only the prototype has',
      (as) => ({ headers: json, body: `{"__proto__":{"keys":${JSON.stringify(honest(as))}}}` }),
    ],
    ['in an object instead of a list', (as) => ({ body: { keys: { 0: honest(as)[0], length: 1 } } })],
    [
      'beside nesting without end',
      (as) => ({ headers: json, body: withText({ keys: honest(as) }, `"x":${deep(100_000)}`) }),
    ],
    ['among what is no key', (as) => ({ body: { keys: [null, ...honest(as)] } })],
  ])('R058 %s signs nobody in, and can be asked again', async (_, keys) => {
    const world = await withKeys(keys)
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 503, 'authorization_server_unavailable')
    await expectSignedOut(browser, answer)
    expectSilent(world.as, '/userinfo')
    await expectLoginFailed(world, ['response_malformed', 'response_too_large'])
    expectNoCanary(world, browser)
    world.as.behaviour.faults = {}
    expect((await browser.signIn()).status).toBe(303)
  })
})

describe('R112 a key that takes long to use', () => {
  test.each([
    ['a modulus of 16,000 bytes', { n: Buffer.alloc(16_000, 0xab).toString('base64url') }],
    ['a modulus of 300,000 bytes', { n: Buffer.alloc(300_000, 0xab).toString('base64url') }],
    ['an exponent as long as its modulus', { e: Buffer.alloc(256, 0xab).toString('base64url') }],
    ['an exponent of one', { e: 'AQ' }],
    ['a modulus of nothing', { n: '' }],
  ])('has %s: it verifies nothing, at once', async (_, more) => {
    const world = await withKeys(() => ({ body: { keys: [jwk('slow', { alg: 'RS256', ...more })] } }))
    world.as.behaviour.signedIdToken = (honest) =>
      jwt({ alg: 'RS256', kid: 'slow' }, readJwt(honest).claims, rs256(rsa.privateKey))
    const browser = world.browser()
    const start = Date.now()
    const answer = await browser.signIn()
    expect(Date.now() - start).toBeLessThan(2_000)
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    await expectLoginFailed(world, ['id_token_signature', 'id_token_key'])
    expectNoCanary(world, browser)
  })
})

describe('R044 metadata that is read in one way only', () => {
  const metadataOf = ({ issuer }: AuthorizationServer) => ({
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    code_challenge_methods_supported: ['S256'],
  })

  test.each<[string, string]>([
    [
      'with other endpoints in front of the same names',
      '"token_endpoint":"https://evil.test/token","issuer":"https://evil.test"',
    ],
    ['with five thousand members', Array.from({ length: 5_000 }, (_, n) => `"m${n}":${n}`).join(',')],
  ])('%s starts a login at the honest endpoints', async (_, members) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.faults['/.well-known/openid-configuration'] = () => ({
        headers: json,
        body: withText(metadataOf(as), members),
      })
      return {}
    })
    expect((await world.browser().signIn()).status).toBe(303)
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('with members that are null, and places where nobody goes, is as if it had none of them', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        const none = { registration_endpoint: null, userinfo_endpoint: null, revocation_endpoint: null }
        const nowhere = { device_authorization_endpoint: 'http://169.254.169.254/', service_documentation: null }
        const lists = { mtls_endpoint_aliases: null, code_challenge_methods_supported: null, scopes_supported: null }
        Object.assign(metadata, none, nowhere, lists)
      }
      return {}
    })
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const ended = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    expect(ended.status).toBe(200)
    expect(world.logged('userinfo.failed')).toEqual([])
    expectSilent(world.as, '/revoke')
  })

  test.each<[string, (honest: string) => string, Reason]>([
    [
      'with another issuer behind the honest one',
      (honest) => `${honest.slice(0, -1)},"issuer":"https://evil.test"}`,
      'metadata_mismatch',
    ],
    ['with nesting without end', (honest) => `{"x":${deep(100_000)},${honest.slice(1)}`, 'response_malformed'],
  ])('%s starts none', async (_, change, reason) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.faults['/.well-known/openid-configuration'] = () => ({
        headers: json,
        body: change(JSON.stringify(metadataOf(as))),
      })
      return {}
    })
    const browser = world.browser()
    expectRefusal(await browser.navigate('/auth/login'), 503, 'authorization_server_unavailable')
    await expect.poll(() => world.logged('provider.unavailable')[0]?.reason).toBe(reason)
    expectNoCanary(world, browser)
  })
})

describe('R128 an answer with nesting without end', () => {
  const world = faultWorld()

  test('instead of tokens signs nobody in', async () => {
    world.as.behaviour.faults['/token'] = () => ({ headers: json, body: deep(200_000) })
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    expectSilent(world.as, '/userinfo')
    await expectLoginFailed(world, 'response_malformed')
  })

  test('as userinfo leaves the login with what the ID token says', async () => {
    world.as.behaviour.faults['/userinfo'] = () => ({
      headers: json,
      body: withText({ sub: 'alice' }, `"picture":${deep(100_000)}`),
    })
    const browser = world.browser()
    const answer = await browser.signIn()
    expect(answer.status).toBeLessThan(504)
    const session = await browser.fetch('/auth/session')
    expect([true, false]).toContain(session.json().authenticated)
    expect((await browser.fetch('/auth/session')).status).toBe(200)
  })
})

describe('R116 a signing key that changes while sign-ins are under way', () => {
  test('fails none of them, and the keys are fetched a few times', async () => {
    const world = await startWorld()
    expect((await world.browser().signIn()).status).toBe(303)
    let signed = 0
    world.as.behaviour.faults['/token'] = async () => {
      signed += 1
      if (signed === 5) await world.as.rotateKeys()
      return undefined
    }
    // The keys of a sign-in may have changed between its token and its verification: the old one is published on.
    const [old] = world.as.publicKeys
    world.as.behaviour.faults['/jwks'] = () => ({ body: { keys: [...new Set([old, ...world.as.publicKeys])] } })
    const answers = await Promise.all(Array.from({ length: 10 }, () => world.browser().signIn()))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(303))
    expect(world.as.to('/jwks').length).toBeLessThanOrEqual(5)
  })
})

describe('R118 an authorization server that is away', () => {
  test('takes no session with it when coatcheck is started anew meanwhile', async () => {
    const first = await startWorld()
    const browser = first.browser()
    await browser.signIn()
    first.as.behaviour.away = true
    const next = await startCoatcheck(first.as, first.api, {
      publicUrl: first.publicUrl,
      session: first.config.session,
    })
    const again = next.browser()
    for (const [name, value] of browser.cookies) again.cookies.set(name, value)
    expect((await again.fetch('/api/orders')).status).toBe(200)
    expect((await again.fetch('/auth/session')).json().authenticated).toBe(true)
    expectRefusal(await next.browser().navigate('/auth/login'), 503, 'authorization_server_unavailable')
    first.as.behaviour.away = false
    await expect.poll(async () => (await next.browser().navigate('/auth/login')).status).toBe(303)
  })
})

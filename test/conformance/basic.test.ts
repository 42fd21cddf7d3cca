// The conformance suite's modules for the code flow: its certification plan and what it has besides. Titles begin with the
// module's name and go on with what coatcheck does; docs/conformance.md is made of them.
import { createPublicKey, generateKeyPairSync, KeyObject } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import type { Browser } from '../support/browser.ts'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { es256, hs256, jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { closeAfterTest, listen } from '../support/http-server.ts'
import {
  expectLoginFailed,
  expectLoginRefused,
  expectNoCanary,
  expectRefusal,
  expectSignedOut,
} from '../support/oracles.ts'

type Claims = Record<string, unknown>

const world = faultWorld()

const malformed: Reason = 'id_token_malformed'
const badSignature: Reason = 'id_token_signature'
const refusedAlgorithm: Reason = 'id_token_algorithm_refused'

async function rejects(reason: Reason | Reason[]): Promise<void> {
  const browser = world.browser()
  await expectLoginRefused(world, browser, await browser.signIn(), reason)
}

/** Signs in, calls an API, and gives what the page learns of the user. */
async function accepts(): Promise<Record<string, unknown>> {
  const browser = world.browser()
  const answer = await browser.signIn()
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
  expect((await browser.fetch('/api/orders')).status).toBe(200)
  expectNoCanary(world, browser)
  return userOf(browser)
}

async function userOf(browser: Browser): Promise<Record<string, unknown>> {
  return (await browser.fetch('/auth/session')).json().user
}

/** The honest ID token, changed before it is signed. */
function idToken(change: (claims: Claims) => unknown): void {
  world.as.behaviour.idToken = (claims) => void change(claims)
}

/** Another ID token, made of the honest one. */
function forged(make: (honest: ReturnType<typeof readJwt>) => string): void {
  world.as.behaviour.signedIdToken = (honest) => make(readJwt(honest))
}

const honestKey = () => rs256(KeyObject.from(world.as.signingKey()))

describe('oidcc-client-basic-certification-test-plan', () => {
  test('oidcc-client-test: signs in, with scope openid and the access token in no address', async () => {
    expect(await accepts()).toMatchObject({ sub: 'alice' })
    const [authorization] = world.as.to('/authorize')
    expect(authorization?.query.get('response_type')).toBe('code')
    expect(authorization?.query.get('scope')?.split(' ')).toContain('openid')
    expect(world.as.to('/userinfo')[0]?.headers.authorization).toMatch(/^Bearer /)
    expect(world.as.requests.filter(({ query }) => query.has('access_token'))).toEqual([])
  })

  test('oidcc-client-test-invalid-iss: rejects', async () => {
    idToken((claims) => Object.assign(claims, { iss: `${claims.iss}1` }))
    await rejects('id_token_claim')
  })

  test('oidcc-client-test-missing-sub: rejects', async () => {
    idToken((claims) => delete claims.sub)
    await rejects(malformed)
  })

  test('oidcc-client-test-invalid-aud: rejects', async () => {
    idToken((claims) => Object.assign(claims, { aud: `${claims.aud}1` }))
    await rejects('id_token_claim')
  })

  test('oidcc-client-test-missing-iat: rejects', async () => {
    idToken((claims) => delete claims.iat)
    await rejects(malformed)
  })

  test('oidcc-client-test-kid-absent-single-jwks: accepts', async () => {
    forged(({ header, claims }) => jwt({ ...header, kid: undefined }, claims, honestKey()))
    await accepts()
  })

  test('oidcc-client-test-kid-absent-multiple-jwks: rejects, because no key is named', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    world.as.behaviour.faults['/jwks'] = () => ({
      body: { keys: [...world.as.publicKeys, { ...publicKey.export({ format: 'jwk' }), kid: 'other', use: 'sig' }] },
    })
    // The keys are fetched anew because a token names one that nobody has.
    forged(({ header, claims }) => jwt({ ...header, kid: 'unknown' }, claims, honestKey()))
    expectRefusal(await world.browser().signIn(), 400, 'login_failed')
    forged(({ header, claims }) => jwt({ ...header, kid: undefined }, claims, honestKey()))
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    await expect
      .poll(() => world.logged('login.failed').map(({ reason }) => reason))
      .toEqual(['id_token_key', 'id_token_key'])
  })

  test('oidcc-client-test-idtoken-sig-rs256: accepts', async () => {
    forged(({ header, claims }) => jwt({ ...header, alg: 'RS256' }, claims, honestKey()))
    await accepts()
  })

  test('oidcc-client-test-idtoken-sig-none: rejects', async () => {
    forged(({ claims }) => jwt({ alg: 'none' }, claims, unsigned))
    await rejects(refusedAlgorithm)
  })

  test('oidcc-client-test-invalid-sig-rs256: rejects, in the code flow too', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    forged(({ header, claims }) => jwt(header, claims, rs256(privateKey)))
    await rejects(badSignature)
  })

  test('oidcc-client-test-userinfo-invalid-sub: rejects the sign-in', async () => {
    world.as.behaviour.userinfo = { sub: 'mallory', picture: 'evil.png' }
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    await expectLoginFailed(world, 'userinfo_mismatch')
    await expect.poll(() => world.as.to('/revoke').length).toBe(2)
    expectNoCanary(world, browser)
  })

  test('oidcc-client-test-nonce-invalid: rejects', async () => {
    idToken((claims) => Object.assign(claims, { nonce: `${claims.nonce}1` }))
    await rejects('id_token_claim')
  })

  test('oidcc-client-test-scope-userinfo-claims: asks for profile and email, and shows the claims that the page may see', async () => {
    const claims = { sub: 'alice', name: 'Alice L.', email: 'alice@example.org', picture: 'https://example.org/a.png' }
    world.as.behaviour.user = { sub: 'alice' }
    world.as.behaviour.userinfo = { ...claims, phone_number: '+44 1234' }
    expect(await accepts()).toEqual(claims)
    expect(world.as.to('/authorize')[0]?.query.get('scope')).toBe('openid profile email offline_access')
  })

  test('oidcc-client-test-client-secret-basic: authenticates so, and sends its secret in no body', async () => {
    await accepts()
    const [request] = world.as.to('/token')
    const { clientId, clientSecret } = world.as
    const [id, secret] = Buffer.from(request?.headers.authorization?.slice('Basic '.length) ?? '', 'base64')
      .toString()
      .split(':')
      .map(decodeURIComponent)
    expect([id, secret]).toEqual([clientId, clientSecret])
    expect([...(request?.body.keys() ?? [])].sort()).toEqual(['code', 'code_verifier', 'grant_type', 'redirect_uri'])
  })
})

describe('oidcc-client-test-plan', () => {
  test('oidcc-client-test-missing-aud: rejects', async () => {
    idToken((claims) => delete claims.aud)
    await rejects(malformed)
  })

  test('oidcc-client-test-invalid-sig-es256: rejects', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    forged(({ header, claims }) => jwt({ ...header, alg: 'ES256' }, claims, es256(privateKey)))
    await rejects('id_token_algorithm')
  })

  test('oidcc-client-test-invalid-sig-hs256: rejects, the client secret and the public key as the secret too', async () => {
    const { as } = world
    const pem = createPublicKey({ key: { ...as.publicKeys[0] }, format: 'jwk' }).export({ format: 'pem', type: 'spki' })
    for (const secret of ['wrong', as.clientSecret, String(pem)]) {
      forged(({ claims }) => jwt({ alg: 'HS256' }, claims, hs256(secret)))
      const browser = world.browser()
      const answer = await browser.signIn()
      expectRefusal(answer, 400, 'login_failed')
      await expectSignedOut(browser, answer)
    }
    expect(as.to('/userinfo')).toEqual([])
    await expect.poll(() => world.logged('login.failed')).toHaveLength(3)
    for (const { reason } of world.logged('login.failed')) expect(reason).toBe(refusedAlgorithm)
  })

  test('oidcc-client-test-invalid-athash: rejects', async () => {
    idToken((claims) => Object.assign(claims, { at_hash: 'A'.repeat(22) }))
    await rejects('id_token_claim')
  })

  test('oidcc-client-test-userinfo-bearer-header: sends the access token in the header, and nowhere else', async () => {
    await accepts()
    const [asked] = world.as.to('/userinfo')
    expect(asked?.headers.authorization).toMatch(/^Bearer ey[\w-]+\.[\w-]+\.[\w-]+$/)
    expect([asked?.method, asked?.query.size, asked?.body.size]).toEqual(['GET', 0, 0])
  })

  test('oidcc-client-test-userinfo-signed: verifies and uses it', async () => {
    const signing = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.userinfo_signing_alg_values_supported = ['RS256']
      }
      return {}
    })
    const { as } = signing
    const claims = { sub: 'alice', picture: 'signed.png', iss: as.issuer, aud: as.clientId }
    const pictureSignedBy = async (key: KeyObject) => {
      const body = jwt({ alg: 'RS256', kid: as.publicKeys[0]?.kid }, claims, rs256(key))
      as.behaviour.faults['/userinfo'] = () => ({ headers: { 'content-type': 'application/jwt' }, body })
      const browser = signing.browser()
      expect((await browser.signIn()).status).toBe(303)
      return (await userOf(browser)).picture
    }
    expect(await pictureSignedBy(KeyObject.from(as.signingKey()))).toBe('signed.png')
    const attacker = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    expect(await pictureSignedBy(attacker)).toBeUndefined()
  })

  test('oidcc-client-test-ignores-unparseable-key-in-jwks: takes no notice of them', async () => {
    await world.as.rotateKeys()
    const { publicKeys } = world.as
    publicKeys.unshift({ kty: 'AKP', alg: 'ML-DSA-1', pub: 'AAAA', kid: 'pq' }, { kty: 'made-up', kid: 'odd' })
    await accepts()
  })

  test('oidcc-client-test-aggregated-claims: signs in, and believes none of them', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    world.as.behaviour.userinfo = {
      sub: 'alice',
      _claim_names: { picture: 'src1', email: 'src1' },
      _claim_sources: {
        src1: { JWT: jwt({ alg: 'RS256' }, { picture: 'evil.png', email: 'evil@evil.test' }, rs256(privateKey)) },
      },
    }
    expect(await accepts()).toEqual({ sub: 'alice', name: 'Alice', email: 'alice@example.com' })
  })

  test('oidcc-client-test-distributed-claims: signs in, and goes to no address that userinfo names', async () => {
    const calls: unknown[] = []
    const source = closeAfterTest(
      await listen((request, response) => {
        calls.push(request.url)
        response.end()
      }),
    )
    world.as.behaviour.userinfo = {
      sub: 'alice',
      _claim_names: { picture: 'src1' },
      _claim_sources: { src1: { endpoint: `${source.url}/claims`, access_token: 'ksj3n283dke' } },
    }
    expect(await accepts()).toEqual({ sub: 'alice', name: 'Alice', email: 'alice@example.com' })
    expect(calls).toEqual([])
  })

  test('oidcc-client-test-3rd-party-init-login: asks the person first, where it is switched on, and signs in', async () => {
    const open = await startWorld({ login: { thirdPartyInitiated: true } })
    const browser = open.browser()
    const question = await browser.navigate(`/auth/initiate-login?${new URLSearchParams({ iss: open.as.issuer })}`, {
      headers: { 'sec-fetch-site': 'cross-site' },
    })
    expect([question.status, question.setCookie, open.as.to('/authorize')]).toEqual([200, [], []])
    const [, query = ''] = /href="\/auth\/login([^"]*)"/.exec(question.text.replaceAll('&amp;', '&')) ?? []
    expect((await browser.signIn(query)).status).toBe(303)
    expect(await userOf(browser)).toMatchObject({ sub: 'alice' })
    expectNoCanary(open, browser)
  })
})

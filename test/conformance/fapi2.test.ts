// The conformance suite's modules for clients of the FAPI 2.0 Security Profile: pushed requests, a client that signs, ID
// tokens with PS256, an issuer in every authorization response.
import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { exportPKCS8, generateKeyPair } from 'jose'
import { describe, expect, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import type { AuthorizationServer } from '../support/authorization-server.ts'
import type { Browser } from '../support/browser.ts'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { expectLoginRefused, expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'
import { passed } from '../support/time.ts'

type Claims = Record<string, unknown>

const idTokenKey = generateKeyPairSync('rsa', { modulusLength: 2048 })
const client = await generateKeyPair('ES256', { extractable: true })
const clientKey = await exportPKCS8(client.privateKey)

const ps256 = (key: KeyObject) => (input: string) =>
  sign('sha256', Buffer.from(input), {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  })

const header = { alg: 'PS256', kid: 'fapi' }

/** As the profile asks of a server: nothing but pushed requests of a client that signs, ID tokens signed with PS256. */
function asFapi(as: AuthorizationServer): void {
  const { behaviour } = as
  behaviour.clientKey = client.publicKey
  behaviour.metadata = (metadata) => {
    Object.assign(metadata, {
      pushed_authorization_request_endpoint: `${as.issuer}/par`,
      require_pushed_authorization_requests: true,
      token_endpoint_auth_methods_supported: ['private_key_jwt'],
      id_token_signing_alg_values_supported: ['PS256'],
    })
  }
  const published = { ...idTokenKey.publicKey.export({ format: 'jwk' }), kid: 'fapi', use: 'sig', alg: 'PS256' }
  behaviour.faults['/jwks'] = () => ({ body: { keys: [published, ...as.publicKeys] } })
  behaviour.signedIdToken = (honest) => jwt(header, readJwt(honest).claims, ps256(idTokenKey.privateKey))
}

const clientAuth = { method: 'private_key_jwt' as const, key: clientKey, alg: 'ES256' as const }

describe('fapi2-security-profile-final-client-test-plan', () => {
  const world = faultWorld(({ as, config }) => {
    asFapi(as)
    return { providers: config.providers.map((provider) => ({ ...provider, clientAuth })) }
  })

  /** The ID token, changed before it is signed. */
  function idToken(change: (claims: Claims) => unknown): void {
    world.as.behaviour.idToken = (claims) => void change(claims)
  }

  async function rejects(reason: Reason | Reason[]): Promise<void> {
    const browser = world.browser()
    await expectLoginRefused(world, browser, await browser.signIn(), reason)
    const [front] = world.as.to('/authorize')
    expect([...(front?.query.keys() ?? [])].sort()).toEqual(['client_id', 'request_uri'])
  }

  async function accepts(): Promise<Browser> {
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expectNoCanary(world, browser)
    return browser
  }

  /** An authorization response that is not the right one: nobody redeems its code. */
  async function refusesResponse(change: (response: URLSearchParams) => void, reason?: Reason): Promise<void> {
    world.as.behaviour.callback = change
    const browser = world.browser()
    const answer = await browser.signIn()
    expect(answer.status).toBe(400)
    expectRefusal(answer, 400, reason === undefined ? 'login_expired' : 'login_failed')
    await expectSignedOut(browser, answer)
    expectSilent(world.as, '/token', '/userinfo')
    if (reason) await expect.poll(() => world.logged('login.failed').map((event) => event.reason)).toEqual([reason])
    expectNoCanary(world, browser)
  }

  test('fapi2-security-profile-final-client-test-discovery-issuer-mismatch: pushes no request', async () => {
    const other = await startWorld(({ as, config }) => {
      asFapi(as)
      const { metadata } = as.behaviour
      as.behaviour.metadata = (all) => {
        metadata(all)
        all.issuer = `${as.issuer}/other`
      }
      return { providers: config.providers.map((provider) => ({ ...provider, clientAuth })) }
    })
    const browser = other.browser()
    expectRefusal(await browser.navigate('/auth/login'), 503, 'authorization_server_unavailable')
    expectSilent(other.as, '/par', '/authorize', '/token')
    await expect.poll(() => other.logged('provider.unavailable')[0]?.reason).toBe('metadata_mismatch')
  })

  test('fapi2-security-profile-final-client-test-invalid-iss: rejects', async () => {
    idToken((claims) => Object.assign(claims, { iss: `${claims.iss}1` }))
    await rejects('id_token_claim')
  })

  test('fapi2-security-profile-final-client-test-invalid-aud: rejects', async () => {
    idToken((claims) => Object.assign(claims, { aud: `${claims.aud}1` }))
    await rejects('id_token_claim')
  })

  test('fapi2-security-profile-final-client-test-invalid-secondary-aud: rejects', async () => {
    idToken((claims) => Object.assign(claims, { aud: [claims.aud, 'https://other.example'] }))
    await rejects('id_token_claim')
  })

  test('fapi2-security-profile-final-client-test-invalid-null-alg: rejects', async () => {
    world.as.behaviour.signedIdToken = (honest) => jwt({ ...header, alg: 'none' }, readJwt(honest).claims, unsigned)
    await rejects(['id_token_signature', 'response_malformed'])
  })

  test('fapi2-security-profile-final-client-test-invalid-alternate-alg: rejects', async () => {
    world.as.behaviour.signedIdToken = (honest) =>
      jwt({ ...header, alg: 'RS256' }, readJwt(honest).claims, rs256(idTokenKey.privateKey))
    await rejects(['id_token_signature', 'response_malformed'])
  })

  test('fapi2-security-profile-final-client-test-invalid-expired-exp: rejects', async () => {
    idToken((claims) => Object.assign(claims, { exp: Math.floor(Date.now() / 1_000) - 300 }))
    await rejects('id_token_time')
  })

  test('fapi2-security-profile-final-client-test-invalid-missing-exp: rejects', async () => {
    idToken((claims) => delete claims.exp)
    await rejects(['id_token_malformed', 'response_malformed'])
  })

  test('fapi2-security-profile-final-client-test-invalid-missing-aud: rejects', async () => {
    idToken((claims) => delete claims.aud)
    await rejects(['id_token_malformed', 'response_malformed'])
  })

  test('fapi2-security-profile-final-client-test-invalid-missing-iss: rejects', async () => {
    idToken((claims) => delete claims.iss)
    await rejects(['id_token_malformed', 'response_malformed'])
  })

  test('fapi2-security-profile-final-client-test-valid-aud-as-array: accepts', async () => {
    idToken((claims) => Object.assign(claims, { aud: [claims.aud] }))
    await accepts()
  })

  test('fapi2-security-profile-final-client-test-invalid-nonce: rejects', async () => {
    idToken((claims) => Object.assign(claims, { nonce: `${claims.nonce}1` }))
    await rejects('id_token_claim')
  })

  test('fapi2-security-profile-final-client-test-invalid-missing-nonce: rejects', async () => {
    idToken((claims) => delete claims.nonce)
    await rejects(['id_token_malformed', 'response_malformed'])
  })

  test('fapi2-security-profile-final-client-test-invalid-authorization-response-iss: redeems no code', async () => {
    await refusesResponse((response) => response.set('iss', `${world.as.issuer}1`), 'issuer_mismatch')
  })

  test('fapi2-security-profile-final-client-test-remove-authorization-response-iss: redeems no code', async () => {
    await refusesResponse((response) => response.delete('iss'), 'issuer_missing')
  })

  test('fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-state-fails: redeems no code', async () => {
    await refusesResponse((response) => response.set('state', `${response.get('state')}1`))
  })

  test('fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-missing-state-fails: redeems no code', async () => {
    await refusesResponse((response) => response.delete('state'))
  })

  test('fapi2-security-profile-final-client-test-token-endpoint-response-without-expires_in: signs in and calls the API', async () => {
    world.as.behaviour.expiresIn = undefined
    await accepts()
  })

  test('fapi2-security-profile-final-client-test-token-type-case-insensitivity: signs in and calls the API', async () => {
    for (const type of ['bEaReR', 'BEARER']) {
      world.as.behaviour.tokenResponse = (response) => {
        response.token_type = type
      }
      await accepts()
    }
  })

  test('fapi2-security-profile-final-client-refresh-token-test: refreshes once, authenticated by a new assertion, and calls again', async () => {
    const browser = await accepts()
    world.as.behaviour.expiresIn = 0.1
    const again = world.browser()
    await again.signIn()
    await passed(120)
    world.as.behaviour.expiresIn = 300
    world.as.requests.length = 0
    expect((await again.fetch('/api/orders')).status).toBe(200)
    const [refresh, ...more] = world.as.to('/token')
    expect(more).toEqual([])
    const { claims } = readJwt(refresh?.body.get('client_assertion') ?? '')
    expect(claims).toMatchObject({ iss: world.as.clientId, sub: world.as.clientId, aud: world.as.issuer })
    expectNoCanary(world, browser, again)
  })
})

// The conformance suite's modules for clients of the FAPI 2.0 Security Profile: pushed requests, a client that signs, tokens
// bound to a key, ID tokens with PS256, an issuer in every authorization response. All with `profile: "fapi2"`, which does it.
import { KeyObject } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import type { Browser } from '../support/browser.ts'
import { openCoatcheck } from '../support/coatcheck.ts'
import { openProof } from '../support/dpop.ts'
import { asFapi, fapiCertificate, withFapi } from '../support/fapi.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { closeAfterTest, trustUntilTheEnd } from '../support/http-server.ts'
import { expectLoginRefused, expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'
import { startUpstream } from '../support/upstream.ts'

type Claims = Record<string, unknown>

describe('fapi2-security-profile-final-client-test-plan', () => {
  const world = faultWorld(withFapi(), { tls: fapiCertificate, prepare: asFapi })

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

  /** The proof of the call that the API got last; it must fit that call and its token. */
  async function proofOfCall() {
    const { method, target, headers } = world.api.last()
    const [scheme, token = ''] = String(headers.authorization).split(' ')
    expect(scheme).toBe('DPoP')
    return openProof({ method, headers }, `${world.api.url}${target}`, token)
  }

  /** The API answers the first call with this challenge and a nonce, and later ones as usual. */
  function challengingOnce(challenge: string): void {
    const { answer } = world.api
    onTestFinished(() => {
      world.api.answer = answer
    })
    world.api.answer = (request, response) => {
      world.api.answer = answer
      response.writeHead(401, { 'www-authenticate': challenge, 'dpop-nonce': 'rs-nonce' }).end('{}')
      request.resume()
    }
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

  test('fapi2-security-profile-final-client-test-happy-path: pushes everything, proves itself and its key with the nonces of both servers', async () => {
    const browser = await accepts()
    const [pushed] = world.as.to('/par')
    const { body } = pushed ?? {}
    expect(body?.get('code_challenge_method')).toBe('S256')
    expect(readJwt(body?.get('client_assertion') ?? '').claims.aud).toBe(world.as.issuer)
    const [front] = world.as.to('/authorize')
    expect([...(front?.query.keys() ?? [])].sort()).toEqual(['client_id', 'request_uri'])
    challengingOnce('DPoP error="use_dpop_nonce"')
    expect((await browser.fetch('/api/orders', { method: 'POST', body: 'x' })).status).toBe(200)
    const { thumbprint, payload } = await proofOfCall()
    expect([payload.nonce, body?.get('dpop_jkt')]).toEqual(['rs-nonce', thumbprint])
    expectNoCanary(world, browser)
  })

  test('fapi2-security-profile-final-client-test-happy-path-no-dpop-nonce: signs in and calls the API', async () => {
    world.as.behaviour.dpop = {}
    await accepts()
    await proofOfCall()
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('fapi2-security-profile-final-client-test-discovery-issuer-mismatch: pushes no request', async () => {
    trustUntilTheEnd(fapiCertificate.cert)
    const as = closeAfterTest(await startAuthorizationServer(fapiCertificate))
    const api = closeAfterTest(await startUpstream())
    await asFapi(as)
    const { metadata } = as.behaviour
    as.behaviour.metadata = (all) => {
      metadata(all)
      all.issuer = `${as.issuer}/other`
    }
    const extras = { trusted: [fapiCertificate.cert] }
    const other = closeAfterTest(await openCoatcheck(as, api, withFapi(), extras))
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
    world.as.behaviour.signedIdToken = (honest) => {
      const { header, claims } = readJwt(honest)
      return jwt({ ...header, alg: 'none' }, claims, unsigned)
    }
    await rejects('id_token_algorithm_refused')
  })

  test('fapi2-security-profile-final-client-test-invalid-alternate-alg: rejects', async () => {
    world.as.behaviour.signedIdToken = (honest) => {
      const { header, claims } = readJwt(honest)
      return jwt({ ...header, alg: 'RS256' }, claims, rs256(KeyObject.from(world.as.signingKey())))
    }
    await rejects('id_token_algorithm_refused')
  })

  test('fapi2-security-profile-final-client-test-invalid-expired-exp: rejects', async () => {
    idToken((claims) => Object.assign(claims, { exp: Math.floor(Date.now() / 1_000) - 300 }))
    await rejects('id_token_time')
  })

  test('fapi2-security-profile-final-client-test-invalid-missing-exp: rejects', async () => {
    idToken((claims) => delete claims.exp)
    await rejects('id_token_malformed')
  })

  test('fapi2-security-profile-final-client-test-invalid-missing-aud: rejects', async () => {
    idToken((claims) => delete claims.aud)
    await rejects('id_token_malformed')
  })

  test('fapi2-security-profile-final-client-test-invalid-missing-iss: rejects', async () => {
    idToken((claims) => delete claims.iss)
    await rejects('id_token_malformed')
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
    await rejects('id_token_malformed')
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
    for (const type of ['dPoP', 'DPOP']) {
      world.as.behaviour.tokenResponse = (response) => {
        response.token_type = type
      }
      await accepts()
    }
  })

  test('fapi2-security-profile-final-client-test-rs-dpop-auth-scheme-case-insensitivity: calls again with the nonce', async () => {
    const browser = await accepts()
    for (const scheme of ['dpop', 'dPoP', 'DPOP']) {
      challengingOnce(`${scheme} error="use_dpop_nonce"`)
      expect((await browser.fetch('/api/orders')).status).toBe(200)
      expect((await proofOfCall()).payload.nonce).toBe('rs-nonce')
    }
  })

  test('fapi2-security-profile-final-client-refresh-token-test: refreshes once, authenticated by a new assertion, and calls again', async () => {
    const browser = await accepts()
    const { thumbprint } = await proofOfCall()
    const before = String(world.api.last().headers.authorization)
    world.as.requests.length = 0
    challengingOnce('DPoP error="invalid_token"')
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.api.last().headers.authorization).not.toBe(before)
    expect((await proofOfCall()).thumbprint).toBe(thumbprint)
    const refreshes = world.as.to('/token').filter(({ body }) => body.get('grant_type') === 'refresh_token')
    const assertions = refreshes.map(({ body }) => readJwt(body.get('client_assertion') ?? '').claims)
    const { clientId, issuer } = world.as
    for (const claims of assertions) expect(claims).toMatchObject({ iss: clientId, sub: clientId, aud: issuer })
    expect(new Set(assertions.map(({ jti }) => jti)).size).toBe(refreshes.length)
    expect(new Set(refreshes.map(({ body }) => body.get('refresh_token'))).size).toBe(1)
    expectNoCanary(world, browser)
  })
})

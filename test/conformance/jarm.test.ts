// The conformance suite's modules for signed authorization responses (JARM), with `profile: "fapi2"`.
import { generateKeyPairSync, KeyObject } from 'node:crypto'
import { describe, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import { asFapi, fapiCertificate, ps256, withFapi } from '../support/fapi.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, readJwt, unsigned } from '../support/forge.ts'
import { expectLoginRefused, expectSilent } from '../support/oracles.ts'

type Token = ReturnType<typeof readJwt>

describe('fapi2-message-signing-final-client-test-plan', () => {
  const world = faultWorld(withFapi({ responseMode: 'jwt' }), { tls: fapiCertificate, prepare: asFapi })

  /** Delivers another response than the one that the server signed: nobody redeems its code. */
  async function refuses(forge: (honest: Token) => string, reason: Reason): Promise<void> {
    const browser = world.browser()
    const callback = new URL(await browser.untilCallback(), world.url)
    const response = forge(readJwt(callback.searchParams.get('response') ?? ''))
    const answer = await browser.navigate(`/auth/callback?${new URLSearchParams({ response })}`, {
      headers: { 'sec-fetch-site': 'cross-site' },
    })
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, reason)
  }

  /** The honest response with other claims, signed by the server. */
  const saying = (claims: Record<string, unknown>) => (honest: Token) =>
    jwt(honest.header, { ...honest.claims, ...claims }, ps256(KeyObject.from(world.as.signingKey())))

  test('fapi2-security-profile-final-client-test-ensure-jarm-without-iss-fails: redeems no code', async () => {
    await refuses(saying({ iss: undefined }), 'authorization_response_claim')
  })

  test('fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-iss-fails: redeems no code', async () => {
    await refuses(saying({ iss: `${world.as.issuer}1` }), 'authorization_response_claim')
  })

  test('fapi2-security-profile-final-client-test-ensure-jarm-without-aud-fails: redeems no code', async () => {
    await refuses(saying({ aud: undefined }), 'authorization_response_claim')
  })

  test('fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-aud-fails: redeems no code', async () => {
    await refuses(saying({ aud: `${world.as.clientId}1` }), 'authorization_response_claim')
  })

  test('fapi2-security-profile-final-client-test-ensure-jarm-without-exp-fails: redeems no code', async () => {
    await refuses(saying({ exp: undefined }), 'authorization_response_claim')
  })

  test('fapi2-security-profile-final-client-test-ensure-jarm-with-expired-exp-fails: redeems no code', async () => {
    await refuses(saying({ exp: Math.floor(Date.now() / 1_000) - 300 }), 'authorization_response_time')
  })

  test('fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-sig-fails: redeems no code', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    await refuses(({ header, claims }) => jwt(header, claims, ps256(privateKey)), 'authorization_response_signature')
  })

  test('fapi2-security-profile-final-client-test-ensure-jarm-signature-is-not-none: redeems no code', async () => {
    await refuses(
      ({ header, claims }) => jwt({ ...header, alg: 'none' }, claims, unsigned),
      'authorization_response_signature',
    )
  })
})

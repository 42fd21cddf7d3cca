// Key confusion: keys that are too weak, symmetric, somebody else's or unknown, and rotations that must not look like them
// (R103, R112, R114-R117; RFC 8725 3.1 and 3.5, OpenID Connect Core 10.1).
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import { canary } from '../support/authorization-server.ts'
import { startWorld } from '../support/coatcheck.ts'
import { hs256, jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { expectLoginRefused, expectNoCanary, expectRefusal } from '../support/oracles.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
const refusedAlgorithm: Reason = 'id_token_algorithm_refused'

describe('keys', () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })

  test('R112 an RSA key of 1,024 bits verifies nothing', async () => {
    const world = await startWorld()
    world.as.publicKeys.push({
      ...weak.publicKey.export({ format: 'jwk' }),
      kty: 'RSA',
      kid: 'weak',
      use: 'sig',
      alg: 'RS256',
    })
    world.as.behaviour.signedIdToken = (honest) =>
      jwt({ alg: 'RS256', kid: 'weak' }, readJwt(honest).claims, rs256(weak.privateKey))
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, ['id_token_signature', 'id_token_key'])
  })

  test('R103 R117 a published symmetric key verifies nothing', async () => {
    const world = await startWorld()
    const k = Buffer.alloc(32, 7)
    world.as.publicKeys.push({ kty: 'oct', k: k.toString('base64url'), kid: 'oct', alg: 'HS256' })
    world.as.behaviour.signedIdToken = (honest) => jwt({ alg: 'HS256', kid: 'oct' }, readJwt(honest).claims, hs256(k))
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, refusedAlgorithm)
  })

  test('R103 metadata that announces none and HS256 only means that nothing is accepted', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.id_token_signing_alg_values_supported = ['none', 'HS256']
      }
      return {}
    })
    const { as } = world
    const browser = world.browser()
    as.behaviour.signedIdToken = (honest) => jwt({ alg: 'HS256' }, readJwt(honest).claims, hs256(as.clientSecret))
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, refusedAlgorithm)
    as.behaviour.signedIdToken = (honest) => jwt({ alg: 'none' }, readJwt(honest).claims, unsigned)
    expectRefusal(await browser.signIn(), 400, 'login_failed')
    as.behaviour.signedIdToken = (honest) => honest
    expectRefusal(await browser.signIn(), 400, 'login_failed')
  })

  test('R115 without a kid and with several keys nobody is signed in by chance (-kid-absent-multiple-jwks)', async () => {
    const world = await startWorld()
    world.as.publicKeys.unshift({
      ...rsa.publicKey.export({ format: 'jwk' }),
      kty: 'RSA',
      kid: 'evil',
      use: 'sig',
      alg: 'RS256',
    })
    world.as.behaviour.signedIdToken = (honest) =>
      jwt({ alg: 'RS256' }, readJwt(honest).claims, rs256(other.privateKey))
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, ['id_token_key', 'id_token_signature'])
  })

  test('R116 a rotation between two sign-ins, and one just before signing, are noticed at once', async () => {
    const world = await startWorld()
    expect((await world.browser().signIn()).status).toBe(303)
    await world.as.rotateKeys()
    expect((await world.browser().signIn()).status).toBe(303)
    world.as.behaviour.faults['/token'] = async () => {
      await world.as.rotateKeys()
      return undefined
    }
    expect((await world.browser().signIn()).status).toBe(303)
  })

  test('R114 tokens that name keys nobody has make the keys be fetched only so often', async () => {
    const world = await startWorld()
    let count = 0
    world.as.behaviour.signedIdToken = (honest) =>
      jwt({ alg: 'RS256', kid: `unknown-${count++}` }, readJwt(honest).claims, rs256(rsa.privateKey))
    for (let time = 0; time < 20; time++) expectRefusal(await world.browser().signIn(), 400, 'login_failed')
    expect(world.as.to('/jwks').length).toBeLessThanOrEqual(5)
  })

  test('R117 private parts of keys that the server published by mistake go nowhere', async () => {
    const world = await startWorld()
    const [published] = world.as.publicKeys
    Object.assign(published ?? {}, { d: `${canary}-private-exponent` })
    const browser = world.browser()
    await browser.signIn()
    expectNoCanary(world, browser)
  })
})

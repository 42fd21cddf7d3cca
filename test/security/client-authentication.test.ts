// Attack: whoever has a code or a refresh token but not the client, and servers that want an assertion meant for another.
// R001 R047 R053
import { decodeJwt, decodeProtectedHeader, exportPKCS8, generateKeyPair } from 'jose'
import { describe, expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { startWorld } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { passed } from '../support/time.ts'

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

async function withKey(alg: 'ES256' | 'PS256' | 'RS256' | 'EdDSA' | 'Ed25519') {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const pem = await exportPKCS8(privateKey)
  const world = await startWorld(({ as, config }) => {
    as.behaviour.clientKey = publicKey
    const clientAuth = { method: 'private_key_jwt' as const, key: pem, alg, kid: 'client-1' }
    return { providers: config.providers.map((provider) => ({ ...provider, clientAuth })) }
  })
  const assertions = () =>
    [...world.as.to('/token'), ...world.as.to('/revoke'), ...world.as.to('/par')].map(({ body }) => ({
      type: body.get('client_assertion_type'),
      jwt: body.get('client_assertion') ?? '',
    }))
  return { world, pem, assertions }
}

describe('R047 R078 a client that proves itself with a private key', () => {
  const algorithms = ['ES256', 'PS256', 'RS256', 'EdDSA', 'Ed25519'] as const
  test.each(algorithms)('signs with %s by that name, and sends no secret', async (alg) => {
    const { world, pem, assertions } = await withKey(alg)
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(assertions().map(({ jwt }) => decodeProtectedHeader(jwt).alg)).toEqual([alg])
    for (const { headers, body } of world.as.requests) {
      expect(headers.authorization?.startsWith('Basic')).not.toBe(true)
      expect(body.has('client_secret')).toBe(false)
      expect(body.toString()).not.toContain(pem.slice(40, 80))
    }
  })

  test('makes a new assertion for each request, to redeem, to refresh and to revoke', async () => {
    const { world, assertions } = await withKey('ES256')
    world.as.behaviour.expiresIn = 0.2
    const browser = world.browser()
    await browser.signIn()
    await passed(220)
    world.as.behaviour.expiresIn = 300
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    await expect.poll(() => world.as.to('/revoke').length).toBe(2)
    expect(assertions().map(({ type }) => type)).toEqual(Array(4).fill(assertionType))
    const claims = assertions().map(({ jwt }) => decodeJwt(jwt))
    expect(new Set(claims.map(({ jti }) => jti)).size).toBe(4)
    for (const { exp = 0, iat = 0 } of claims) expect(exp - iat).toBeLessThanOrEqual(300)
    for (const { jwt } of assertions()) {
      expect(decodeProtectedHeader(jwt)).toEqual({ alg: 'ES256', kid: 'client-1', typ: 'client-authentication+jwt' })
    }
  })
})

describe('R047 a client with a secret', () => {
  test('that is to be in the form sends it there, and nowhere else', async () => {
    const world = await startWorld(({ as, config }) => {
      const clientAuth = { method: 'client_secret_post' as const, secret: as.clientSecret }
      return { providers: config.providers.map((provider) => ({ ...provider, clientAuth })) }
    })
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    const [redeemed] = world.as.to('/token')
    expect(redeemed?.body.get('client_secret')).toBe(world.as.clientSecret)
    expect(redeemed?.headers.authorization).toBeUndefined()
  })

  test.each([
    ['form-encoded, as RFC 6749 has it', true, 'team%3Aapp+1:p%C3%A4ss%3A%2B+-_.*'],
    ['as it is, for servers that do not decode', false, 'team:app 1:päss:+ -_.*'],
  ])('that is to be in the header sends it %s', async (_, formEncoded, expected) => {
    const world = await startWorld(({ config }) => {
      const clientAuth = { method: 'client_secret_basic' as const, secret: 'päss:+ -_.*', formEncoded }
      return { providers: config.providers.map((one) => ({ ...one, clientId: 'team:app 1', clientAuth })) }
    })
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(400)
    const [redeemed] = world.as.to('/token')
    const [scheme, credentials = ''] = (redeemed?.headers.authorization ?? '').split(' ')
    expect([scheme, Buffer.from(credentials, 'base64').toString()]).toEqual(['Basic', expected])
    expect(redeemed?.body.has('client_secret')).toBe(false)
    // Refused, it is told to nobody.
    expect(JSON.stringify([browser.seen, world.events()])).not.toMatch(/p(ä|%C3%A4)ss/)
    expect(world.logged('login.failed')).toMatchObject([{ reason: 'client_rejected' }])
  })
})

describe('R053 an assertion', () => {
  test('is for the issuer alone, as a single string', async () => {
    const { world, assertions } = await withKey('ES256')
    await world.browser().signIn()
    const { iss, sub, aud } = decodeJwt(assertions()[0]?.jwt ?? '')
    expect({ iss, sub, aud }).toEqual({ iss: world.as.clientId, sub: world.as.clientId, aud: world.as.issuer })
  })

  test('that an attacking server has sent to an honest one is not for the honest one', async () => {
    const honest = closeAfterTest(await startAuthorizationServer())
    const { world, assertions } = await withKey('ES256')
    world.as.behaviour.metadata = (metadata) => {
      metadata.token_endpoint = `${honest.issuer}/token`
    }
    expect((await world.browser().signIn()).status).toBe(400)
    expect(assertions()).toEqual([])
    const [sent] = honest.to('/token')
    expect(decodeJwt(sent?.body.get('client_assertion') ?? '').aud).toBe(world.as.issuer)
  })

  test('that names the honest server as its issuer does not begin at all', async () => {
    const honest = closeAfterTest(await startAuthorizationServer())
    const { world } = await withKey('ES256')
    world.as.behaviour.metadata = (metadata) => {
      metadata.issuer = honest.issuer
      metadata.token_endpoint = `${honest.issuer}/token`
    }
    expect((await world.browser().navigate('/auth/login')).status).toBe(503)
    expect(honest.requests).toEqual([])
  })
})

describe('R001 a code that was stolen on its way', () => {
  test('is worth nothing without the credentials of the client', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const login = await browser.navigate('/auth/login')
    const answer = await fetch(login.headers.get('location') ?? '', { redirect: 'manual' })
    const code = new URL(answer.headers.get('location') ?? '').searchParams.get('code') ?? ''
    const body = new URLSearchParams({ grant_type: 'authorization_code', code, client_id: world.as.clientId })
    const redeemed = await fetch(`${world.as.issuer}/token`, { method: 'POST', body })
    expect(redeemed.status).toBe(401)
  })
})

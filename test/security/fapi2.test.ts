// Attack: a deployment that says FAPI 2.0 and is none, because a setting, the server or somebody in between talked it down.
// R170 R171 R182 R183 R185
import { createRemoteJWKSet, decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import { createCoatcheck } from '../../src/app.ts'
import type { ConfigInput } from '../../src/config.ts'
import { ConfigError } from '../../src/config-reader.ts'
import { type AuthorizationServer, startAuthorizationServer } from '../support/authorization-server.ts'
import { selfSigned } from '../support/certificate.ts'
import { newClientKey } from '../support/client-key.ts'
import { openCoatcheck, sessionKey } from '../support/coatcheck.ts'
import { closeAfterTest, trustUntilTheEnd } from '../support/http-server.ts'
import { openMutualTls } from '../support/mutual-tls.ts'
import { expectLoginRefused, expectNoCanary, expectRefusal, expectSilent } from '../support/oracles.ts'
import { startUpstream } from '../support/upstream.ts'

type Provider = ConfigInput['providers'][number]
const publicUrl = 'https://app.example'

/** An authorization server over TLS that is all a FAPI 2.0 server has to be, and a client with the one word. */
async function startFapi(prepare: (as: AuthorizationServer) => unknown = () => {}, settings: Partial<Provider> = {}) {
  const certificate = selfSigned('localhost')
  trustUntilTheEnd(certificate.cert)
  const as = closeAfterTest(await startAuthorizationServer(certificate))
  const api = closeAfterTest(await startUpstream())
  await as.rotateKeys('PS256')
  as.behaviour.dpop = {}
  as.behaviour.metadata = (metadata) => {
    metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
  }
  const { key, alg } = await newClientKey('PS256')
  await prepare(as)
  const clientAuth = { method: 'private_key_jwt' as const, key, alg }
  const overrides = withProfile({ clientAuth, ...settings })
  const world = closeAfterTest(await openCoatcheck(as, api, overrides, { trusted: [certificate.cert] }))
  as.behaviour.clientKey = createRemoteJWKSet(new URL('/auth/jwks.json', world.url))
  return world
}

function withProfile(settings: Partial<Provider>) {
  return ({ config }: { config: ConfigInput }) => ({
    publicUrl,
    providers: config.providers.map(({ allowInsecureRequests, ...one }) => ({
      ...one,
      profile: 'fapi2' as const,
      ...settings,
    })),
  })
}

/** As a server that does not bind by DPoP has it. */
const unbound = (as: AuthorizationServer) => {
  as.behaviour.dpop = undefined
}

describe('R170 R171 R183 profile "fapi2"', () => {
  test('signs in with a pushed request, an assertion, and tokens bound to a key', async () => {
    const world = await startFapi()
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.api.last().headers.authorization).toMatch(/^DPoP /)
    const [asked] = world.as.to('/authorize')
    expect([...(asked?.query.keys() ?? [])].sort()).toEqual(['client_id', 'request_uri'])
    const [pushed] = world.as.to('/par')
    expect(pushed?.body.get('code_challenge_method')).toBe('S256')
    expect(pushed?.body.get('nonce')?.length).toBeLessThanOrEqual(64)
    for (const { body } of [...world.as.to('/par'), ...world.as.to('/token')]) {
      expect(decodeJwt(body.get('client_assertion') ?? '').aud).toBe(world.as.issuer)
    }
    expectNoCanary(world, browser)
  })

  test.each(['ES256', 'EdDSA', 'Ed25519'])('takes ID tokens signed with %s', async (alg) => {
    const world = await startFapi((as) => as.rotateKeys(alg))
    expect((await world.browser().signIn()).status).toBe(303)
  })

  test('takes a certificate in the place of key and proof, where the server binds tokens to it', async () => {
    const certificate = selfSigned('localhost')
    trustUntilTheEnd(certificate.cert)
    const as = closeAfterTest(await startAuthorizationServer(certificate))
    const api = closeAfterTest(await startUpstream())
    await as.rotateKeys('ES256')
    const door = await openMutualTls(as, selfSigned('client'), certificate)
    as.behaviour.metadata = (metadata) => {
      const at = (path: string) => door.url + path
      Object.assign(metadata, {
        pushed_authorization_request_endpoint: `${as.issuer}/par`,
        tls_client_certificate_bound_access_tokens: true,
        mtls_endpoint_aliases: {
          token_endpoint: at('/token'),
          revocation_endpoint: at('/revoke'),
          pushed_authorization_request_endpoint: at('/par'),
          userinfo_endpoint: at('/userinfo'),
        },
      })
    }
    const overrides = withProfile({ clientAuth: { method: 'self_signed_tls_client_auth', ...door.clientAuth } })
    const extras = { ...door.workerd, trusted: [certificate.cert] }
    const world = closeAfterTest(await openCoatcheck(as, api, overrides, extras))
    expect((await world.browser().signIn()).status).toBe(303)
    expect(door.asked.map(({ path }) => path)).toEqual(['/par', '/token', '/userinfo'])
  })
})

describe('R185 R182 a server that is not up to the profile', () => {
  test.each<[string, (as: AuthorizationServer) => unknown, 'id_token_algorithm_refused' | 'issuer_missing']>([
    ['signs ID tokens with RS256', (as) => as.rotateKeys('RS256'), 'id_token_algorithm_refused'],
    ['signs ID tokens with PS512', (as) => as.rotateKeys('PS512'), 'id_token_algorithm_refused'],
    [
      'does not say whose its answers are, and never said it would',
      (as) => {
        const { metadata } = as.behaviour
        as.behaviour.metadata = (own) => {
          metadata(own)
          delete own.authorization_response_iss_parameter_supported
        }
        as.behaviour.callback = (answer) => answer.delete('iss')
      },
      'issuer_missing',
    ],
  ])('signs nobody in when it %s', async (_, prepare, reason) => {
    const world = await startFapi(prepare)
    const browser = world.browser()
    const answer = await browser.signIn()
    if (reason === 'issuer_missing') expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, reason)
  })

  test('R170 signs nobody in with a bearer token', async () => {
    const world = await startFapi(unbound)
    const browser = world.browser()
    const answer = await browser.signIn()
    expect(answer.status).toBe(400)
    expectSilent(world.as, '/userinfo')
    expect(world.logged('login.failed')).toHaveLength(1)
  })

  test.each<[string, (metadata: Record<string, unknown>) => void, Partial<Provider>]>([
    ['pushed requests', (metadata) => delete metadata.pushed_authorization_request_endpoint, {}],
    ['a TLS endpoint', (metadata) => (metadata.token_endpoint = 'http://localhost/token'), {}],
  ])('has no sign-in without %s', async (_, change, settings) => {
    const world = await startFapi((as) => {
      const { metadata } = as.behaviour
      as.behaviour.metadata = (own) => {
        metadata(own)
        change(own)
      }
    }, settings)
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login')
    expectRefusal(answer, 503, 'authorization_server_unavailable')
    expect(answer.setCookie).toEqual([])
    expectSilent(world.as, '/par', '/authorize', '/token')
  })
})

describe('R171 a configuration that contradicts the profile', async () => {
  const { key } = await newClientKey('ES256')
  const rsa = (await newClientKey('RS256')).key
  const good: Provider = {
    id: 'main',
    issuer: 'https://as.example.com',
    clientId: 'app',
    profile: 'fapi2',
    clientAuth: { method: 'private_key_jwt', key },
  }
  const mistakes = (settings: Partial<Provider>, url = publicUrl): readonly string[] => {
    try {
      createCoatcheck({ publicUrl: url, session: { keys: [sessionKey()] }, providers: [{ ...good, ...settings }] })
      return []
    } catch (error) {
      if (error instanceof ConfigError) return error.mistakes
      throw error
    }
  }

  test('is a mistake at its place; without one it is good', () => {
    expect(mistakes({})).toEqual([])
    expect(mistakes({ par: true, jar: true, responseMode: 'jwt' })).toEqual([])
  })

  const secret = { method: 'client_secret_basic' as const, secret: 'S3CR3T' }
  test.each<[string, Partial<Provider>, string]>([
    ['par: false', { par: false }, 'providers[0].par: must not be false with profile fapi2'],
    [
      'a shared secret',
      { clientAuth: secret },
      'providers[0].clientAuth.method: must be private_key_jwt, tls_client_auth or self_signed_tls_client_auth with profile fapi2',
    ],
    [
      'tokens that are bound to nobody',
      { dpop: false },
      'providers[0].dpop: must not be false with profile fapi2, unless clientAuth is a certificate that the tokens are bound to',
    ],
    [
      'an assertion signed with RS256',
      { clientAuth: { method: 'private_key_jwt', key: rsa, alg: 'RS256' } },
      'providers[0].clientAuth.alg: must be PS256, ES256, EdDSA or Ed25519 with profile fapi2',
    ],
    [
      'a further key for RS256',
      { keys: [{ key: rsa, alg: 'RS256' }] },
      'providers[0].keys[0].alg: must be PS256, ES256, EdDSA or Ed25519 with profile fapi2',
    ],
    [
      'requests without TLS',
      { allowInsecureRequests: true },
      'providers[0].allowInsecureRequests: must not be true with profile fapi2',
    ],
  ])('is one: %s', (_, settings, mistake) => {
    expect(mistakes(settings)).toEqual([mistake])
  })

  test('is one: an application without TLS', () => {
    expect(mistakes({}, 'http://localhost:3000')).toEqual(['providers[0].profile: fapi2 needs an https publicUrl'])
  })

  test('is told with all others at once, and without a secret', () => {
    const found = mistakes({ par: false, dpop: false, clientAuth: secret, allowInsecureRequests: true })
    expect(found).toHaveLength(4)
    expect(found.join()).not.toContain('S3CR3T')
  })
})

// `coatcheck doctor`: one world in which all is well, and one finding for each way in which it can be made wrong.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { dirname } from 'node:path'
import { exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { readConfig } from '../../src/config-reader.ts'
import { checkFeatures } from '../../src/doctor/features.ts'
import { checkBackchannel } from '../../src/doctor/public-url.ts'
import { checkVendor } from '../../src/doctor/vendor.ts'
import type { Metadata } from '../../src/doctor/world.ts'
import { examine, type Finding, type Report } from '../../src/doctor.ts'
import { startAuthorizationServer as startOidcProvider } from '../../web-demo/authorization-server.ts'
import { canary, startAuthorizationServer } from '../support/authorization-server.ts'
import { selfSigned } from '../support/certificate.ts'
import { sessionKey } from '../support/coatcheck.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { codes, found, healthy, report, saying, type World, withProvider } from '../support/doctor.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { startRedis } from '../support/redis-server.ts'

describe('in a world that is well', () => {
  test('says of everything it looked at that it is well', async () => {
    const world = await healthy()
    const { findings, ...totals } = await report(world)
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([])
    expect(totals).toEqual({ ok: true, problems: 0, warnings: 0 })
    expect(new Set(findings.map(({ code }) => code))).toEqual(
      new Set([
        'public_url_ok',
        'cookie_size',
        'store_ok',
        'discovery_ok',
        'clock_ok',
        'keys_ok',
        'client_auth_ok',
        'redirect_uri_ok',
        'post_logout_uri_ok',
        'refresh_ok',
        'rotation',
        'backchannel_logout_ok',
        'upstream_ok',
      ]),
    )
  })

  test('takes a server that answers that nobody is signed in, or goes on to its own page', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/authorize'] = ({ query }) => ({
      status: 302,
      headers: {
        location: `${query.get('redirect_uri')}?error=login_required&state=${query.get('state')}&iss=${world.as.issuer}`,
      },
      body: '',
    })
    expect(found(await report(world), 'redirect_uri_ok')).toBeDefined()
    world.as.behaviour.faults['/authorize'] = () => ({ status: 303, headers: { location: '/login' }, body: '' })
    expect(found(await report(world), 'redirect_uri_ok')?.what).toContain(`goes on to ${world.as.issuer}/login`)
  })

  test('asks without a user: prompt=none, and a code and a refresh token that nobody ever had', async () => {
    const world = await healthy()
    await report(world)
    const { as } = world
    expect(as.to('/authorize').map(({ query }) => query.get('prompt'))).toEqual(['none'])
    expect(
      as
        .to('/token')
        .map(({ body }) => body.get('grant_type'))
        .sort(),
    ).toEqual(['authorization_code', 'refresh_token'])
    expect(as.reuses).toEqual([])
  })

  test('tells no secret, token or code', async () => {
    const world = await healthy()
    const text = JSON.stringify(await report(world))
    expect(text).not.toContain(canary)
    expect(text).not.toContain(String(world.config.session.keys[0]).slice(2))
  })

  test('opens signed answers, and proves keys with the nonce that the server gives', async () => {
    const world = await healthy()
    saying(world.as, { dpop_signing_alg_values_supported: ['ES256'], response_modes_supported: ['query', 'jwt'] })
    world.as.behaviour.dpop = { nonce: 'nonce-1' }
    const result = await report({ config: withProvider(world, { dpop: true, responseMode: 'jwt' }) })
    expect(codes(result)).toEqual([])
    expect(found(result, 'redirect_uri_ok')?.what).toBe(`Answers come back to ${world.config.publicUrl}/auth/callback.`)
  })

  test('pushes the request where the server takes pushed requests', async () => {
    const world = await healthy()
    saying(world.as, { pushed_authorization_request_endpoint: `${world.as.issuer}/par` })
    expect((await report(world)).ok).toBe(true)
    expect(world.as.to('/par')).toHaveLength(1)
    expect(world.as.to('/authorize')[0]?.query.has('request_uri')).toBe(true)
  })
})

describe('at the authorization server', () => {
  test('discovery_unreachable: nothing is there', async () => {
    const world = await healthy()
    await world.as.close()
    const result = await report(world)
    expect(codes(result)).toEqual(['discovery_unreachable'])
    expect(found(result, 'discovery_unreachable')?.what).toMatch(/openid-configuration: nothing listens there\.$/)
  })

  test.each([
    ['nothing', () => ({ status: 404, body: 'no' }), 'discovery_missing', 'HTTP 404'],
    ['a page', () => ({ body: '<html>' }), 'discovery_missing', 'no metadata'],
    ['an error', () => ({ status: 503, body: '' }), 'discovery_unreachable', 'HTTP 503'],
  ])('discovery: %s is there', async (_, fault, code, what) => {
    const world = await healthy()
    world.as.behaviour.faults['/.well-known/openid-configuration'] = fault
    const result = await report(world)
    expect(codes(result)).toEqual([code])
    expect(result.findings.find((one) => one.code === code)?.what).toContain(what)
  })

  test.each([
    ['another server', 'https://other.example.com/x?secret=1', 'set `issuer` to https://other.example.com/x;'],
    ['a template', 'https://login.example.com/{tenantid}/v2.0', 'one tenant'],
    ['no URL', '\u001b[31mred', 'publish its issuer'],
  ])('issuer_mismatch: the metadata is that of %s', async (_, issuer, change) => {
    const world = await healthy()
    saying(world.as, { issuer })
    const result = await report(world)
    expect(codes(result)).toEqual(['issuer_mismatch'])
    expect(found(result, 'issuer_mismatch')?.change).toContain(change)
    expect(JSON.stringify(result)).not.toMatch(/secret|\\u001b/)
  })

  test('issuer_mismatch: says so when it is only the slash', async () => {
    const world = await healthy()
    saying(world.as, { issuer: `${world.as.issuer}/` })
    expect(found(await report(world), 'issuer_mismatch')?.change).toBe('Add a slash to the end of `issuer`.')
  })

  test.each([
    ['metadata_incomplete', { jwks_uri: undefined }],
    ['endpoint_insecure', { userinfo_endpoint: 'http://as.example.com/userinfo' }],
    ['code_flow_unsupported', { response_types_supported: ['id_token'] }],
    ['code_flow_unsupported', { grant_types_supported: ['implicit'] }],
  ])('%s', async (code, more) => {
    const world = await healthy()
    saying(world.as, more)
    expect(codes(await report(world))).toEqual([code])
  })

  test.each([
    [60, 'clock_skew', 'behind'],
    [-60, 'clock_skew', 'ahead of'],
    [15, 'clock_drift', 'behind'],
  ])('clock: that of the server is off by %s seconds', async (seconds, code, how) => {
    const world = await healthy()
    for (const path of ['/.well-known/openid-configuration', '/token']) {
      world.as.behaviour.faults[path] = (_, response) => {
        response.setHeader('date', new Date(Date.now() + seconds * 1_000).toUTCString())
        return undefined
      }
    }
    const result = await report(world)
    expect(codes(result)).toEqual([code])
    expect(result.findings.find((one) => one.code === code)?.what).toMatch(new RegExp(`clock is \\d+ seconds ${how}`))
  })

  test('algorithm_unsupported: ID tokens would be signed with the client secret', async () => {
    const world = await healthy()
    saying(world.as, { id_token_signing_alg_values_supported: ['HS256'] })
    const result = await report(world)
    expect(codes(result)).toEqual(['algorithm_unsupported'])
    expect(found(result, 'algorithm_unsupported')?.what).toContain('HS256')
  })

  test.each([
    ['keys_unreachable', () => ({ status: 500, body: '' })],
    ['keys_malformed', () => ({ body: { keys: 1 } })],
    ['keys_unusable', () => ({ body: { keys: [] } })],
    ['keys_unusable', () => ({ body: { keys: [{ kty: 'EC', crv: 'P-256', kid: '1' }] } })],
    ['keys_unusable', () => ({ body: { keys: [{ kty: 'RSA', use: 'enc', kid: '1' }] } })],
    ['keys_unusable', () => ({ body: { keys: [{ kty: 'RSA' }, { kty: 'RSA' }] } })],
  ])('%s', async (code, fault) => {
    const world = await healthy()
    world.as.behaviour.faults['/jwks'] = fault
    expect(codes(await report(world))).toEqual([code])
  })

  test('keys_private: the key set has a private key in it, which is not repeated', async () => {
    const world = await healthy()
    const jwk = { ...(await exportJWK(world.as.signingKey())), kid: '1' }
    world.as.behaviour.faults['/jwks'] = () => ({ body: { keys: [jwk] } })
    const result = await report(world)
    expect(codes(result)).toEqual(['keys_private'])
    expect(JSON.stringify(result)).not.toContain(jwk.d)
  })
})

describe('of a sign-in without a user', () => {
  test.each([
    ['an error page', () => ({ status: 400, body: 'invalid redirect_uri' })],
    ['the way to one', () => ({ status: 302, headers: { location: '/oauth/error?authError=x' }, body: '' })],
  ])('redirect_uri_refused: the answer is %s', async (_, fault) => {
    const world = await healthy()
    world.as.behaviour.faults['/authorize'] = fault
    const result = await report(world)
    expect(codes(result)).toEqual(['redirect_uri_refused'])
    expect(found(result, 'redirect_uri_refused')?.change).toContain(
      `Register ${world.config.publicUrl}/auth/callback as`,
    )
  })

  test('names the callback of a provider that is not the first', async () => {
    const world = await healthy()
    const other = closeAfterTest(await startAuthorizationServer())
    saying(other, { authorization_response_iss_parameter_supported: false })
    other.behaviour.faults['/authorize'] = () => ({ status: 400, body: '' })
    const [first] = world.config.providers
    const second = { ...first, id: 'other', issuer: other.issuer, clientId: other.clientId } as typeof first
    const result = await report({ config: { ...world.config, providers: [first, second] as ConfigInput['providers'] } })
    expect(found(result, 'redirect_uri_refused')?.change).toContain('/auth/callback/other as')
    expect(codes(result, 'provider other')).toContain('iss_unsupported')
    expect(codes(result, 'provider main')).toEqual([])
  })

  test('redirect_uri_unclear: a page says neither yes nor no', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/authorize'] = () => ({ body: '<html>' })
    const result = await report(world)
    expect([codes(result), result.ok]).toEqual([['redirect_uri_unclear'], true])
  })

  test('authorization_refused: says which scopes are not allowed', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/authorize'] = ({ query }) => ({
      status: 302,
      headers: { location: `${query.get('redirect_uri')}?error=invalid_scope&iss=${world.as.issuer}` },
      body: '',
    })
    const result = await report(world)
    expect(codes(result)).toEqual(['authorization_refused'])
    expect(found(result, 'authorization_refused')?.change).toContain('"openid profile email offline_access"')
  })

  test('authorization_unreachable', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/authorize'] = () => ({ status: 502, body: '' })
    expect(codes(await report(world))).toEqual(['authorization_unreachable'])
  })

  test.each([
    ['invalid_redirect_uri', 'Register'],
    ['invalid_scope', 'Allow the scopes'],
    ['unauthorized_client', 'Register'],
    ['invalid_client', 'Register'],
    [`${canary}-text-of-its-own`, 'Look into the log'],
  ])('pushed_request_refused: %s', async (error, change) => {
    const world = await healthy()
    saying(world.as, { pushed_authorization_request_endpoint: `${world.as.issuer}/par` })
    world.as.behaviour.faults['/par'] = () => ({ status: 400, body: { error } })
    const result = await report(world)
    expect(codes(result)).toEqual(['pushed_request_refused'])
    expect(found(result, 'pushed_request_refused')?.change).toContain(change)
    expect(JSON.stringify(result)).not.toContain(canary)
  })
})

describe('of the client', () => {
  test('client_auth_refused: the secret is another', async () => {
    const world = await healthy()
    const clientAuth = { method: 'client_secret_basic', secret: 'WRONG' }
    const result = await report({ config: withProvider(world, { clientAuth }) })
    expect(codes(result)).toEqual(['client_auth_refused'])
    expect(JSON.stringify(result)).not.toContain('WRONG')
  })

  test('client_auth_refused: also when it is told by a challenge, or at the endpoint for pushed requests', async () => {
    const world = await healthy()
    const refuse = () => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="x"' }, body: '' })
    world.as.behaviour.faults['/token'] = refuse
    expect(codes(await report(world))).toEqual(['client_auth_refused'])
    saying(world.as, { pushed_authorization_request_endpoint: `${world.as.issuer}/par` })
    world.as.behaviour.faults['/par'] = () => ({ status: 401, body: { error: 'invalid_client' } })
    expect(codes(await report(world))).toEqual(['client_auth_refused'])
  })

  test('takes a client that signs, and notices when the server knows another key', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const key = await exportPKCS8(privateKey)
    const world = await healthy(({ config }) => ({
      providers: withProvider({ config } as World, { clientAuth: { method: 'private_key_jwt', key } }).providers,
    }))
    world.as.behaviour.clientKey = publicKey
    expect(found(await report(world), 'client_auth_ok')?.what).toContain('private_key_jwt')
    world.as.behaviour.clientKey = (await generateKeyPair('ES256')).publicKey
    const result = await report(world)
    expect(codes(result)).toEqual(['client_auth_refused'])
    expect(JSON.stringify(result)).not.toContain(key.slice(40, 80))
  })

  test.each([
    ['code_grant_refused', 'authorization_code', 'unauthorized_client'],
    ['refresh_unsupported', 'refresh_token', 'unauthorized_client'],
    ['refresh_unsupported', 'refresh_token', 'unsupported_grant_type'],
  ])('%s: a grant of type %s is answered with %s', async (code, grant, error) => {
    const world = await healthy()
    world.as.behaviour.faults['/token'] = ({ body }) =>
      body.get('grant_type') === grant ? { status: 400, body: { error } } : undefined
    expect(codes(await report(world))).toEqual([code])
  })

  test('token_endpoint_failed', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/token'] = () => ({ status: 503, body: '' })
    expect(codes(await report(world))).toEqual(['token_endpoint_failed'])
  })

  test('client_auth_unclear: neither yes nor no', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'invalid_request' } })
    const result = await report(world)
    expect(codes(result)).toEqual(['client_auth_unclear'])
    expect(found(result, 'client_auth_unclear')?.what).toContain('invalid_request')
  })
})

describe('of what the server announces', () => {
  test.each([
    ['client_auth_unannounced', { token_endpoint_auth_methods_supported: ['tls_client_auth'] }],
    ['pkce_unannounced', { code_challenge_methods_supported: ['plain'] }],
    ['revocation_missing', { revocation_endpoint: undefined }],
    ['refresh_unsupported', { grant_types_supported: ['authorization_code'] }],
    ['offline_access_unannounced', { scopes_supported: ['openid', 'profile'] }],
    ['end_session_missing', { end_session_endpoint: undefined }],
    ['backchannel_logout_unsupported', { backchannel_logout_supported: false }],
  ])('%s', async (code, more) => {
    const world = await healthy()
    saying(world.as, more)
    expect(codes(await report(world))).toEqual([code])
  })

  test('par_missing: the configuration asks for what the server does not have', async () => {
    const world = await healthy()
    expect(codes(await report({ config: withProvider(world, { par: true }) }))).toContain('par_missing')
  })

  test('par_unused', async () => {
    const world = await healthy()
    saying(world.as, { pushed_authorization_request_endpoint: `${world.as.issuer}/par` })
    expect(codes(await report({ config: withProvider(world, { par: false }) }))).toEqual(['par_unused'])
  })

  test('offline_access_missing: the server has that scope, and nobody asks for it', async () => {
    const world = await healthy()
    saying(world.as, { scopes_supported: ['openid', 'offline_access'] })
    const config = withProvider(world, { scope: 'openid profile' })
    expect(codes(await report({ config }))).toEqual(['offline_access_missing'])
  })

  test('knows products by their metadata, and gives their advice', async () => {
    const world = await healthy()
    const token = () => ({ status: 400, body: { error: 'invalid_grant' } })
    saying(world.as, { token_endpoint: `${world.as.issuer}/application/o/token/` })
    world.as.behaviour.faults['/application/o/token/'] = token
    const result = await report({ config: withProvider(world, { scope: 'openid' }) })
    expect(result.findings.find(({ code }) => code === 'vendor_known')?.what).toContain('docs/providers/authentik.md')
    expect(codes(result)).toEqual(['offline_access_missing', 'rotation_unshared'])
  })
})

describe('at an authorization server of other descent (oidc-provider)', () => {
  test('tells right from wrong: secret, client, redirect URIs', async () => {
    const publicUrl = `http://localhost:${await freePort()}`
    const server = closeAfterTest(
      await startOidcProvider({
        port: 0,
        clientId: 'app',
        clientSecret: 'right',
        appUrl: publicUrl,
        redirectUris: [`${publicUrl}/auth/callback`],
        postLogoutRedirectUris: [`${publicUrl}/auth/logout/callback`],
      }),
    )
    const told = async (more: object, url = publicUrl) => {
      const { issuer } = server
      const clientAuth = { method: 'client_secret_basic' as const, secret: 'right' }
      const provider = { id: 'main', issuer, clientId: 'app', clientAuth, allowInsecureRequests: true, ...more }
      const config = { publicUrl: url, session: { keys: [sessionKey()] }, providers: [provider] }
      return codes(await report({ config }), 'provider main')
    }
    expect(await told({})).toEqual(['offline_access_consent', 'backchannel_logout_unsupported'])
    expect(await told({ clientAuth: { method: 'client_secret_basic', secret: 'wrong' } })).toContain(
      'client_auth_refused',
    )
    expect(await told({ clientId: 'nobody' })).toEqual(
      expect.arrayContaining(['client_auth_refused', 'post_logout_uri_refused']),
    )
    expect(await told({}, 'http://localhost:1')).toEqual(
      expect.arrayContaining(['pushed_request_refused', 'post_logout_uri_refused']),
    )
    expect(await told({ par: false }, 'http://localhost:1')).toEqual(
      expect.arrayContaining(['redirect_uri_refused', 'par_unused']),
    )
  })
})

describe('of servers that are not at hand', () => {
  /** What the checks that need no network say of a provider with this issuer. */
  function advice(
    issuer: string,
    more: object = {},
    announced: Metadata = {},
    publicUrl = 'http://localhost:3000',
  ): string[] {
    const provider = { id: 'main', issuer, clientId: 'app', clientAuth: { method: 'client_secret_basic', secret: 'x' } }
    const document = {
      publicUrl,
      session: { keys: [sessionKey()] },
      providers: [{ ...provider, ...more }],
    }
    const config = readConfig(document)
    const [settings] = config.providers
    if (!settings) throw new Error('no provider')
    const world = { config } as Parameters<typeof checkVendor>[0]
    const metadata = {
      code_challenge_methods_supported: ['S256'],
      revocation_endpoint: `${issuer}/revoke`,
      ...announced,
    }
    const patient = { provider: settings, about: 'provider main', metadata }
    const checks = [checkVendor, checkFeatures, checkBackchannel]
    return checks
      .flatMap((check) => check(world, patient))
      .filter(({ severity }) => severity !== 'ok')
      .map(({ code, what, change = '' }) => `${code}: ${what} ${change}`)
      .filter((line) => !/^(backchannel_logout_unsupported|offline_access_consent)/.test(line))
  }

  test('fapi2: everything it asks of the server', () => {
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })
    const clientAuth = { method: 'private_key_jwt', key, alg: 'ES256' }
    const fapi2 = { profile: 'fapi2', clientAuth }
    const told = (announced: Metadata) =>
      advice('https://login.example.com', fapi2, announced, 'https://app.example.com').map((line) => line.split(':')[0])
    expect(told({})).toEqual(['par_missing', 'dpop_unsupported', 'iss_missing'])
    const all = {
      pushed_authorization_request_endpoint: 'https://login.example.com/par',
      dpop_signing_alg_values_supported: ['ES256'],
      authorization_response_iss_parameter_supported: true,
    }
    expect(told(all)).toEqual([])
    expect(told({ ...all, token_endpoint_auth_signing_alg_values_supported: ['PS256'] })).toEqual([
      'client_auth_unannounced',
    ])
  })

  test.each([
    ['request_object_required', {}, { require_signed_request_object: true }],
    ['signed_response_unsupported', { responseMode: 'jwt' }, { response_modes_supported: ['query'] }],
    ['authorization_details_unsupported', { authorizationDetails: [{ type: 'payment' }] }, {}],
    ['dpop_unsupported', { dpop: true }, {}],
  ])('%s', (code, settings, announced) => {
    expect(advice('https://login.example.com', settings, announced)).toEqual([expect.stringContaining(`${code}: `)])
  })

  test('Auth0: names the audience and the hint', () => {
    const issuer = 'https://tenant.eu.auth0.com/'
    expect(advice(issuer)).toEqual([
      expect.stringMatching(/^vendor_advice: .*no audience.*identifier of your API.*https:\/\//),
      expect.stringMatching(/^id_token_hint_needed: /),
    ])
    expect(advice(issuer, { authorizationParams: { audience: 'x' }, idTokenHint: true })).toEqual([])
  })

  test('Entra ID: a tenant, and a scope of an API', () => {
    expect(advice('https://login.microsoftonline.com/common/v2.0')).toEqual([
      expect.stringMatching(/^vendor_advice: .*Name your tenant/),
      expect.stringMatching(/^vendor_advice: .*api:\/\//),
    ])
    const tenant = 'https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0'
    expect(advice(tenant, { scope: 'openid api://orders/access', userinfo: false })).toEqual([
      expect.stringContaining('offline_access_missing'),
    ])
    const scope = 'openid offline_access api://orders/access'
    expect(advice(tenant, { scope, userinfo: false })).toEqual([])
    expect(advice(tenant, { scope })).toEqual([expect.stringMatching(/^vendor_advice: .*Graph.*userinfo\)$/)])
  })

  test('Google: consent for a refresh token; its missing scope is no matter', () => {
    const scopes = { scopes_supported: ['openid', 'email', 'profile'] }
    expect(advice('https://accounts.google.com', {}, scopes)).toEqual([expect.stringContaining('prompt=consent')])
    const authorizationParams = { prompt: 'select_account consent' }
    expect(advice('https://accounts.google.com', { authorizationParams }, scopes)).toEqual([])
  })

  test('ZITADEL: refresh tokens rotate, and processes must agree', () => {
    expect(advice('https://acme.zitadel.cloud')).toEqual([expect.stringContaining('rotation_unshared')])
  })

  test('public_url_local: nobody elsewhere can send logout tokens to loopback', () => {
    expect(advice('https://login.example.com/realms/main', {}, { backchannel_logout_supported: true })).toEqual([
      expect.stringContaining('public_url_local'),
    ])
  })
})

describe('of a sign-out', () => {
  test('post_logout_uri_refused', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/end-session'] = () => ({ status: 400, body: '' })
    const result = await report(world)
    expect(codes(result)).toEqual(['post_logout_uri_refused'])
    expect(found(result, 'post_logout_uri_refused')?.change).toContain(
      '/auth/logout/callback as a post-logout redirect URI',
    )
  })

  test('post_logout_uri_unclear: a page that asks is no error', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/end-session'] = () => ({ body: 'Sign out?' })
    const result = await report(world)
    expect([codes(result), found(result, 'post_logout_uri_unclear')?.severity]).toEqual([[], 'ok'])
  })
})

describe('of publicUrl', () => {
  test('public_url_unreachable: coatcheck does not run yet', async () => {
    const world = await healthy()
    const publicUrl = `http://app.localhost:${await freePort()}`
    expect(codes(await report({ config: { ...world.config, publicUrl } }))).toEqual(['public_url_unreachable'])
  })

  test('public_url_foreign: something else answers there', async () => {
    const world = await healthy()
    const publicUrl = `http://app.localhost:${new URL(world.api.url).port}`
    expect(codes(await report({ config: { ...world.config, publicUrl } }))).toEqual(['public_url_foreign'])
  })

  const second = ({ config }: Pick<World, 'config'>) => `http://127.0.0.1:${config.listen?.port}`
  const atBoth = (world: Pick<World, 'config'>) =>
    withProvider(world, { publicUrls: [second(world), world.config.publicUrl] })

  test('looks at each address, and at what each provider has registered for each of its own', async () => {
    const world = await healthy(({ config }) => ({ providers: atBoth({ config }).providers }))
    const result = await report(world)
    expect(codes(result)).toEqual([])
    const addresses = [world.config.publicUrl, second(world)]
    const saying = (code: Finding['code']) => result.findings.filter((one) => one.code === code).map(({ what }) => what)
    for (const code of ['public_url_ok', 'redirect_uri_ok', 'post_logout_uri_ok'] as const) {
      expect(saying(code), code).toHaveLength(2)
      for (const address of addresses) expect(saying(code).filter((what) => what.includes(address))).toHaveLength(1)
    }
    expect(saying('backchannel_logout_ok')).toEqual([expect.stringContaining(second(world))])
    world.as.behaviour.faults['/authorize'] = ({ query }) =>
      query.get('redirect_uri')?.startsWith(second(world)) ? { status: 400, body: '' } : undefined
    const refused = await report(world)
    expect(codes(refused)).toEqual(['redirect_uri_refused'])
    expect(found(refused, 'redirect_uri_refused')?.change).toContain(`Register ${second(world)}/auth/callback as`)
  })

  test('public_url_foreign: coatcheck answers, but not as this address, as behind a proxy that sends its own Host', async () => {
    const world = await healthy()
    const result = await report({ config: atBoth(world) })
    expect(codes(result)).toEqual(['public_url_foreign'])
    expect(found(result, 'public_url_foreign')?.what).toContain(second(world))
  })
})

describe('of cookies', () => {
  test('cookie_proxy: the headers of a sign-in are more than nginx has room for', async () => {
    const world = await healthy(() => ({ trustedProxies: ['10.0.0.1'] }))
    expect(codes(await report(world))).toEqual(['cookie_proxy'])
  })

  test('cookie_size: says how much is left, and little with tokens in the store', async () => {
    const { config } = await healthy()
    const size = async (more: object) =>
      found(await report({ config: { ...config, ...more } }), 'cookie_size')?.what ?? ''
    expect(await size({})).toMatch(/about 4\d\d\d bytes of 7500; tokens may have 4\d00 bytes together/)
    const session = { ...config.session, storage: 'store' as const }
    expect(await size({ session })).toMatch(/take \d{3} bytes: tokens are in the store/)
  })

  test('cookie_too_large: usual tokens and many claims fit nowhere', async () => {
    const { config } = await healthy()
    const claims = Array.from({ length: 60 }, (_, index) => `claim-${index}`)
    const session = { ...config.session, claims }
    expect(codes(await report({ config: { ...config, session } }), 'session')).toEqual(['cookie_too_large'])
  })
})

describe('of the store', () => {
  test('store_ok: an SQLite file', async () => {
    const { config } = await healthy()
    const root = dirname(await fileWith(''))
    const result = await examine(readConfig({ ...config, store: { type: 'sqlite', path: 'store.db' } }), root)
    expect([codes(result), found(result, 'store_ok')?.what]).toEqual([[], 'The sqlite store works and is atomic.'])
  })

  test('store_unreachable: the file is none of ours; everything else is examined', async () => {
    const { config } = await healthy()
    const file = await fileWith('something else entirely, and long enough to be looked at')
    const result = await examine(readConfig({ ...config, store: { type: 'sqlite', path: file } }), '.')
    expect(codes(result)).toEqual(['store_unreachable'])
    expect(found(result, 'store_unreachable')?.what).toContain('it is not a database')
    expect(found(result, 'client_auth_ok')).toBeDefined()
  })

  test('Redis: works, also a second time; asks for a password; is away', async () => {
    const { config } = await healthy()
    const redis = closeAfterTest(await startRedis())
    const at = (url: string) => report({ config: { ...config, store: { type: 'redis', url } } })
    expect([codes(await at(redis.url)), codes(await at(redis.url))]).toEqual([[], []])

    const locked = closeAfterTest(await startRedis(['--requirepass', 'right']))
    const refused = await at(locked.url.replace('//', '//:SECRET@'))
    expect(codes(refused)).toEqual(['store_unreachable'])
    expect(found(refused, 'store_unreachable')?.what).toContain('does not take our credentials')
    expect(JSON.stringify(refused)).not.toContain('SECRET')

    await redis.kill()
    const away = await at(redis.url)
    expect([codes(away), found(away, 'store_unreachable')?.what]).toEqual([
      ['store_unreachable'],
      'The redis store does not answer.',
    ])
  })

  test('Redis: a frozen one is given up in time', async () => {
    const { config } = await healthy()
    const redis = closeAfterTest(await startRedis())
    redis.freeze(true)
    const result = await report({ config: { ...config, store: { type: 'redis', url: redis.url } } })
    redis.freeze(false)
    expect(codes(result)).toEqual(['store_unreachable'])
  })
})

describe('of the upstreams', () => {
  test('upstream_unreachable', async () => {
    const world = await healthy()
    await world.api.close()
    const result = await report(world)
    expect(codes(result)).toEqual(Array(3).fill('upstream_unreachable'))
    expect(found(result, 'upstream_unreachable')).toMatchObject({
      about: 'route /api',
      what: expect.stringContaining('nothing listens'),
    })
  })

  test.each([
    ['upstream_open', 200],
    ['upstream_failing', 500],
    ['upstream_redirects', 301],
  ])('%s: the API behind a route with a user token answers %s without one', async (code, status) => {
    const world = await healthy()
    world.api.answer = (request, response) => response.writeHead(request.url === '/v1' ? status : 200).end()
    expect(codes(await report(world), 'route /api')).toEqual([code])
  })

  test.each([403, 404])('no finding: %s', async (status) => {
    const world = await healthy()
    world.api.answer = (_, response) => response.writeHead(status).end()
    expect(codes(await report(world))).toEqual([])
  })

  test('does nothing to an API that only takes POST but ask for its options', async () => {
    const world = await healthy(({ api }) => ({
      routes: [{ path: '/api', upstream: `${api.url}/v1`, methods: ['POST', 'DELETE'], token: 'user' }],
    }))
    await report(world)
    expect(world.api.requests.map(({ method }) => method)).toEqual(['OPTIONS'])
  })
})

describe('of certificates', () => {
  async function tlsUpstream(days: number) {
    const certificate = selfSigned('localhost', days)
    const server = createServer(certificate, (_, response) => response.writeHead(401).end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return { url: `https://localhost:${(server.address() as AddressInfo).port}`, cert: certificate.cert }
  }

  /** In a process of its own: what CAs are believed is decided when it starts. */
  async function doctor(days: number, believes: boolean): Promise<Report> {
    const { url, cert } = await tlsUpstream(days)
    const { config } = await healthy(() => ({ routes: [{ path: '/api', upstream: url, token: 'user' }] }))
    const env = believes ? { NODE_EXTRA_CA_CERTS: await fileWith(cert, 'ca.pem') } : {}
    const run = coatcheck(['doctor', '--json', '--config', await fileWith(JSON.stringify(config))], env)
    await run.exit
    return JSON.parse(run.stdout())
  }

  test('certificate_expiring: within two weeks', async () => {
    expect(codes(await doctor(3, true))).toEqual(['certificate_expiring'])
    expect(found(await doctor(60, true), 'certificate_ok')).toBeDefined()
  })

  test('believes the authority that the route names', async () => {
    const { url, cert } = await tlsUpstream(60)
    const tls = { ca: cert }
    const { config } = await healthy(() => ({ routes: [{ path: '/api', upstream: url, token: 'user', tls }] }))
    const result = await report({ config })
    expect([codes(result), found(result, 'certificate_ok')?.about]).toEqual([[], 'route /api'])
  })

  test('certificate_invalid: expired, or from nobody known', async () => {
    const expired = await doctor(-0.5, true)
    expect(codes(expired)).toEqual(['upstream_unreachable', 'certificate_invalid'])
    expect(found(expired, 'certificate_invalid')?.what).toContain('has expired')
    expect(found(await doctor(60, false), 'upstream_unreachable')?.what).toContain('signed by itself')
  })
})

describe('the command', () => {
  const doctor = async (config: unknown, ...more: string[]) => {
    const run = coatcheck(['doctor', '--config', await fileWith(JSON.stringify(config)), ...more])
    return { exit: await run.exit, stdout: run.stdout(), stderr: run.stderr() }
  }

  test('exits with 0 and says that all is well', async () => {
    const { exit, stdout, stderr } = await doctor((await healthy()).config)
    expect([exit, stderr]).toEqual([0, ''])
    expect(stdout).toContain('ok       provider main: Client authentication by client_secret_basic is accepted.')
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('All is well.')
    expect(stdout).not.toContain('\u001b')
  })

  test('exits with 0 when there is nothing worse than warnings', async () => {
    const world = await healthy()
    saying(world.as, { backchannel_logout_supported: false })
    const { exit, stdout } = await doctor(world.config)
    expect([exit, stdout.trimEnd().split('\n').at(-1)]).toEqual([0, '0 problems, 1 warning.'])
  })

  test('exits with 1 and says first, in lines that fit, what is wrong, why it matters, what to change', async () => {
    const world = await healthy()
    await world.api.close()
    const { exit, stdout } = await doctor(world.config)
    expect(exit).toBe(1)
    const lines = stdout.split('\n')
    expect(lines[0]).toBe(`PROBLEM  route /api: ${world.api.url}/v1: nothing listens there.`)
    expect(lines.slice(1, 4)).toEqual([
      '         Why: Calls to this route are answered 502 or 504.',
      '         Change: Check `upstream`, DNS, firewalls, and that the API runs.',
      '         (upstream_unreachable)',
    ])
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(140)
  })

  test('--json prints the report and nothing else', async () => {
    const world = await healthy()
    await world.api.close()
    const { exit, stdout } = await doctor(world.config, '--json')
    const { findings, ...totals } = JSON.parse(stdout)
    expect([exit, totals]).toEqual([1, { ok: false, problems: 3, warnings: 0 }])
    expect(findings.at(-1)).toEqual({
      severity: 'problem',
      code: 'upstream_unreachable',
      about: 'route /api/maybe',
      what: `${world.api.url}/maybe: nothing listens there.`,
      why: expect.any(String),
      change: expect.any(String),
    })
  })

  test('exits with 2 for a configuration with mistakes, and asks nobody', async () => {
    const plain = await doctor({ publicUrl: 'x' })
    expect([plain.exit, plain.stdout]).toEqual([2, ''])
    expect(plain.stderr).toContain('publicUrl: must be an absolute https URL')
    const json = await doctor({ publicUrl: 'x' }, '--json')
    expect([json.exit, JSON.parse(json.stdout)]).toEqual([
      2,
      { ok: false, mistakes: expect.arrayContaining(['publicUrl: must be an absolute https URL']) },
    ])
  })

  test('needs a configuration', async () => {
    const run = coatcheck(['doctor'])
    expect([await run.exit, run.stderr()]).toEqual([
      2,
      expect.stringContaining('coatcheck doctor needs a configuration'),
    ])
  })
})

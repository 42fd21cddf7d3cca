// `coatcheck doctor` on what `coatcheck serve` would refuse later: it says so first, and names the cause by its name.
import { generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { exportPKCS8, generateKeyPair } from 'jose'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config-reader.ts'
import { checkFeatures } from '../../src/doctor/features.ts'
import { findingKinds } from '../../src/doctor/kinds.ts'
import { checkFrontchannel } from '../../src/doctor/public-url.ts'
import { checkStore } from '../../src/doctor/store.ts'
import type { Metadata } from '../../src/doctor/world.ts'
import type { Report } from '../../src/doctor.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'
import { type Answer, canary } from '../support/authorization-server.ts'
import { selfSigned } from '../support/certificate.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { codes, found, healthy, report, saying, type World, withProvider } from '../support/doctor.ts'

/** As a person runs it. */
async function doctor({ config }: Pick<World, 'config'>): Promise<Report & { exit: number | null }> {
  const run = coatcheck(['doctor', '--json', '--config', await fileWith(JSON.stringify(config))])
  const exit = await run.exit
  return { exit, ...JSON.parse(run.stdout()) }
}

describe('the answer to a sign-in', () => {
  /** The server answers at the redirect URI that nobody is signed in. */
  const answering = (world: World, more: (answer: URLSearchParams) => void, error = 'login_required') => {
    world.as.behaviour.faults['/authorize'] = ({ query }) => {
      const answer = new URLSearchParams({ error, state: query.get('state') ?? '', iss: world.as.issuer })
      more(answer)
      return { status: 302, headers: { location: `${query.get('redirect_uri')}?${answer}` }, body: '' }
    }
  }

  test('iss_wrong: iss is announced and not sent', async () => {
    const world = await healthy()
    answering(world, (answer) => answer.delete('iss'))
    const result = await doctor(world)
    expect([result.exit, codes(result)]).toEqual([1, ['iss_wrong']])
    expect(found(result, 'iss_wrong')?.what).toContain('the metadata announces it')
  })

  test('iss_wrong: another is sent, announced or not', async () => {
    const world = await healthy()
    answering(world, (answer) => answer.set('iss', 'https://other.example.com/x?secret=1'))
    expect(found(await report(world), 'iss_wrong')?.what).toContain('https://other.example.com/x.')
    saying(world.as, { authorization_response_iss_parameter_supported: false })
    expect(codes(await report(world))).toEqual(['iss_wrong'])
  })

  test('is fine without iss where nobody announced one', async () => {
    const world = await healthy()
    saying(world.as, { authorization_response_iss_parameter_supported: false })
    answering(world, (answer) => answer.delete('iss'))
    expect(codes(await report(world))).toEqual([])
  })

  test('is fine when it says that nobody proved enough: nobody was there', async () => {
    const world = await healthy()
    answering(world, () => {}, 'unmet_authentication_requirements')
    const authorizationParams = { acr_values: 'mfa', prompt: 'consent' }
    expect(codes(await report({ config: withProvider(world, { authorizationParams }) }))).toEqual([])
  })

  test.each([
    ['redirect_uri_refused', 400, 'Register'],
    ['authorization_unreachable', 401, 'stands in front'],
    ['authorization_unreachable', 403, 'stands in front'],
    ['authorization_unreachable', 404, 'Nothing is served there'],
    ['check_unfinished', 429, 'Run the doctor again'],
    ['authorization_unreachable', 503, 'log'],
  ] as const)('%s: the authorization endpoint answers %s', async (code, status, change) => {
    const world = await healthy()
    world.as.behaviour.faults['/authorize'] = () => ({ status, body: '' })
    const result = await report(world)
    expect(codes(result)).toEqual([code])
    expect(found(result, code)?.change).toContain(change)
    expect(found(result, code)?.what).toContain(`HTTP ${status}`)
  })
})

describe('keys', () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
  const good = (kid?: string) => ({
    ...generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' }),
    ...(kid === undefined ? {} : { kid }),
    use: 'sig',
    alg: 'RS256',
  })

  test.each<[string, string, () => Answer]>([
    ['keys_malformed', 'text/html', () => ({ headers: { 'content-type': 'text/html' }, body: { keys: [good('1')] } })],
    [
      'keys_malformed',
      'text/plain',
      () => ({ headers: { 'content-type': 'text/plain' }, body: { keys: [good('1')] } }),
    ],
    ['keys_unusable', 'one kid or none', () => ({ body: { keys: [good('1'), good('1')] } })],
    ['keys_unusable', 'one kid or none', () => ({ body: { keys: [good(), good()] } })],
    ['keys_unusable', '2,048 bits', () => ({ body: { keys: [{ ...weak, kid: '1', alg: 'RS256' }] } })],
    ['keys_malformed', 'no JWK Set', () => ({ body: { keys: [good('1'), 'x'] } })],
  ])('%s: %s', async (code, what, fault) => {
    const world = await healthy()
    world.as.behaviour.faults['/jwks'] = fault
    const result = await doctor(world)
    expect([result.exit, codes(result)]).toEqual([1, [code]])
    expect(result.findings.find((one) => one.code === code)?.what).toContain(what)
  })

  test.each([
    ['keys_ambiguous', [good('2'), good('2')]],
    ['keys_weak', [{ ...weak, kid: '2', alg: 'RS256' }]],
  ])('%s: some of them, beside one that is in order', async (code, others) => {
    const world = await healthy()
    world.as.behaviour.faults['/jwks'] = () => ({ body: { keys: [...world.as.publicKeys, ...others] } })
    const result = await report(world)
    expect([codes(result), result.ok]).toEqual([[code], true])
  })

  test('keys_unusable: none for what a route says callers sign with', async () => {
    const world = await healthy(({ api }) => ({
      routes: [
        { path: '/api', upstream: `${api.url}/v1`, token: 'user', bearer: { audience: 'api', algs: ['ES256'] } },
      ],
    }))
    expect(codes(await report(world), 'route /api')).toEqual(['keys_unusable'])
  })
})

describe('metadata', () => {
  test.each([
    ['endpoint_refused', 'token_endpoint', 'https://169.254.169.254/token', 'link-local'],
    ['endpoint_refused', 'jwks_uri', 'https://10.0.0.1/jwks', 'private'],
    ['endpoint_refused', 'userinfo_endpoint', `http://user:${canary}@localhost:1/u`, 'credentials'],
    ['endpoint_refused', 'end_session_endpoint', 5, 'no address'],
    ['endpoint_insecure', 'userinfo_endpoint', 'http://as.example.com/u', 'not https'],
  ] as const)('%s: %s is %s', async (code, name, value, what) => {
    const world = await healthy()
    saying(world.as, { [name]: value })
    const result = await report(world)
    expect(codes(result)).toEqual([code])
    expect(found(result, code)?.what).toContain(name)
    expect(found(result, code)?.what).toContain(what)
    expect(JSON.stringify(result)).not.toContain(canary)
    // Nobody was asked, not even for a certificate.
    expect(new Set(world.as.requests.map(({ path }) => path))).toEqual(new Set(['/.well-known/openid-configuration']))
  })

  test('endpoint_refused: an address for clients with certificates', async () => {
    const world = await healthy()
    saying(world.as, { mtls_endpoint_aliases: { token_endpoint: 'https://192.168.0.1/token' } })
    expect(codes(await report(world))).toEqual(['endpoint_refused'])
  })

  test('issuer_mismatch: never asks to set an issuer that is no web address', async () => {
    const world = await healthy()
    saying(world.as, { issuer: 'javascript:alert(1)//x' })
    expect(found(await report(world), 'issuer_mismatch')?.change).toBe(
      'Make the authorization server publish its issuer.',
    )
  })

  test('metadata_refused: it is not sent as JSON', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/.well-known/openid-configuration'] = () => {
      const { issuer } = world.as
      const body = JSON.stringify({ issuer, authorization_endpoint: `${issuer}/authorize` })
      return { headers: { 'content-type': 'text/plain; charset=utf-8' }, body }
    }
    const result = await report(world)
    expect(codes(result)).toEqual(['metadata_refused'])
    expect(found(result, 'metadata_refused')?.what).toContain('text/plain')
  })

  test('metadata_refused: says why, where the reason is only known to what serves', async () => {
    const world = await healthy()
    const { cert, key } = selfSigned('client')
    const clientAuth = { method: 'self_signed_tls_client_auth', cert, key }
    saying(world.as, { token_endpoint_auth_methods_supported: ['self_signed_tls_client_auth'] })
    const result = await report({ config: withProvider(world, { clientAuth }) })
    expect(codes(result)).toEqual(['metadata_refused'])
    expect(found(result, 'metadata_refused')?.what).toMatch(/does not accept this metadata\. .*endpoint/)
  })

  test('tokens_unbound: fapi2 with a certificate, at a server that binds nothing to it', async () => {
    const world = await healthy()
    const { cert, key } = selfSigned('client')
    const settings = { issuer: 'https://as.example.com', profile: 'fapi2', allowInsecureRequests: false }
    const provider = { ...settings, clientAuth: { method: 'self_signed_tls_client_auth', cert, key } }
    const config = { ...withProvider(world, provider), publicUrl: 'https://app.example.com' }
    expect(features(config, {})).toContain('tokens_unbound')
    expect(features(config, { tls_client_certificate_bound_access_tokens: true })).not.toContain('tokens_unbound')
  })
})

/** What the features that a server announces lead to. */
function features(config: World['config'], announced: Metadata): string[] {
  const settings = readConfig(config)
  const [provider] = settings.providers
  if (!provider) throw new Error('no provider')
  const world = { config: settings } as Parameters<typeof checkFeatures>[0]
  const patient = { provider, about: 'provider main', metadata: announced }
  return [...checkFeatures(world, patient), ...checkFrontchannel(world, patient)]
    .filter(({ severity }) => severity !== 'ok')
    .map(({ code, about }) => (about === 'provider main' ? code : `${code} ${about}`))
}

describe('the clock', () => {
  const old = (seconds: number) => new Date(Date.now() - seconds * 1_000).toUTCString()

  test.each([
    ['of the server, with its Age', { date: old(1_800), age: '1800' }],
    ['of the cache, with an Age', { date: old(0), age: '1800' }],
    ['of the server, without an Age', { date: old(1_800) }],
  ])('is not read from metadata that a cache kept: the Date is that %s', async (_, headers) => {
    const world = await healthy()
    world.as.behaviour.faults['/.well-known/openid-configuration'] = (_request, response) => {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
      return undefined
    }
    const result = await report(world)
    expect([codes(result), found(result, 'clock_ok')?.severity]).toEqual([[], 'ok'])
  })

  test('clock_skew: that of the server itself is off, behind a cache', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/token'] = (_, response) => {
      response.setHeader('date', old(1_800))
      return undefined
    }
    expect(codes(await report(world))).toEqual(['clock_skew'])
  })
})

describe('what will fail every time', () => {
  test('code_grant_refused: nobody may redeem a code', async () => {
    const world = await healthy()
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'unsupported_grant_type' } })
    expect(codes(await report(world))).toContain('code_grant_refused')
  })

  test('dpop_unsupported: keys are proven with another algorithm', async () => {
    const world = await healthy()
    saying(world.as, { dpop_signing_alg_values_supported: ['PS256'] })
    world.as.behaviour.dpop = {}
    const result = await report({ config: withProvider(world, { dpop: true }) })
    expect([codes(result), found(result, 'dpop_unsupported')?.what]).toEqual([
      ['dpop_unsupported'],
      'Keys are proven with ES256, and announced is PS256.',
    ])
  })

  test('grant_unsupported: routes whose tokens nobody gives', async () => {
    const world = await healthy(({ api }) => ({
      routes: [
        { path: '/api/a', upstream: api.url, token: 'client' },
        { path: '/api/b', upstream: api.url, token: { kind: 'exchange', audience: 'b' } },
        { path: '/api/c', upstream: api.url, token: 'user' },
      ],
    }))
    const result = await report(world)
    expect(result.findings.filter(({ code }) => code === 'grant_unsupported').map(({ about }) => about)).toEqual([
      'route /api/a',
      'route /api/b',
    ])
    const all = ['authorization_code', 'refresh_token', 'client_credentials']
    saying(world.as, { grant_types_supported: [...all, 'urn:ietf:params:oauth:grant-type:token-exchange'] })
    expect(codes(await report(world))).not.toContain('grant_unsupported')
  })

  test('signed_response_unsupported: answers are signed with what is not believed', async () => {
    const world = await healthy()
    const config = withProvider(world, { responseMode: 'jwt' })
    expect(features(config, { authorization_signing_alg_values_supported: ['none', 'HS256'] })).toContain(
      'signed_response_unsupported',
    )
    expect(features(config, {})).not.toContain('signed_response_unsupported')
  })

  test('request_object_unannounced: requests are signed with another algorithm', async () => {
    const world = await healthy()
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    const config = withProvider(world, { jar: true, keys: [{ key: await exportPKCS8(privateKey), alg: 'ES256' }] })
    const taking = (algorithms: string[]) =>
      features(config, { request_object_signing_alg_values_supported: algorithms })
    expect(taking(['RS256', 'none'])).toContain('request_object_unannounced')
    expect(taking(['ES256'])).not.toContain('request_object_unannounced')
  })

  test('userinfo_missing: claims are to come from where nothing is', async () => {
    const world = await healthy()
    saying(world.as, { userinfo_endpoint: undefined })
    expect(codes(await report({ config: withProvider(world, { userinfo: true }) }))).toEqual(['userinfo_missing'])
    expect(codes(await report(world))).toEqual([])
  })

  test('offline_access_consent: a server may ignore that scope, unless its product is known not to', async () => {
    const world = await healthy()
    const config = withProvider(world, { authorizationParams: {} })
    expect(codes(await report({ config }))).toEqual(['offline_access_consent'])
    expect(codes(await report({ config: withProvider(world, { authorizationParams: {}, scope: 'openid' }) }))).toEqual(
      [],
    )
    saying(world.as, { token_endpoint: `${world.as.issuer}/oauth/v2/oauth-token` })
    world.as.behaviour.faults['/oauth/v2/oauth-token'] = () => ({ status: 400, body: { error: 'invalid_grant' } })
    expect(codes(await report({ config }))).not.toContain('offline_access_consent')
  })

  test.each([
    [{}, 1],
    [{ frontchannel_logout_supported: true }, 1],
    [{ frontchannel_logout_supported: true, frontchannel_logout_session_supported: true }, 0],
  ])('frontchannel_logout_unsupported: the metadata says %o', async (announced, times) => {
    const config = withProvider(await healthy(), { frontchannelLogout: true })
    expect(features(config, announced).filter((code) => code === 'frontchannel_logout_unsupported')).toHaveLength(times)
  })

  test('frontchannel_logout_ok: names the address to register', async () => {
    const world = await healthy()
    saying(world.as, { frontchannel_logout_supported: true, frontchannel_logout_session_supported: true })
    const result = await report({ config: withProvider(world, { frontchannelLogout: true }) })
    const { what } = found(result, 'frontchannel_logout_ok') ?? {}
    expect([codes(result), what]).toEqual([
      [],
      expect.stringContaining(`${world.config.publicUrl}/auth/frontchannel-logout`),
    ])
  })
})

describe('callers with tokens of their own', () => {
  const asking = () =>
    healthy(({ api }) => ({
      routes: [
        { path: '/api', upstream: `${api.url}/v1`, token: 'user', bearer: { audience: 'api', introspection: true } },
      ],
    }))

  test('introspection_ok: the server says of a token that nobody has that it is not active', async () => {
    const world = await asking()
    const result = await report(world)
    expect([codes(result), found(result, 'introspection_ok')?.about]).toEqual([[], 'route /api'])
    expect(world.as.to('/introspect').map(({ body }) => body.get('token')?.slice(0, 7))).toEqual(['doctor-'])
  })

  test('introspection_missing: there is nobody to ask', async () => {
    const world = await asking()
    saying(world.as, { introspection_endpoint: undefined })
    const result = await doctor(world)
    expect([result.exit, codes(result, 'route /api')]).toEqual([1, ['introspection_missing']])
  })

  test.each<[string, Answer, string]>([
    ['refuses this client', { status: 401, body: { error: 'invalid_client' } }, 'invalid_client'],
    ['is away', { status: 503, body: '' }, 'Introspection fails'],
    ['believes everything', { body: { active: true, aud: 'api', sub: canary } }, 'that nobody has'],
  ])('introspection_failed: the server %s', async (_, answer, what) => {
    const world = await asking()
    world.as.behaviour.faults['/introspect'] = () => answer
    const result = await report(world)
    expect(codes(result)).toEqual(['introspection_failed'])
    expect(found(result, 'introspection_failed')?.what).toContain(what)
    expect(JSON.stringify(result)).not.toContain(canary)
  })
})

describe('a store', () => {
  const examined = async (change: (store: Store) => Partial<Store>) => {
    const store = memoryStore()
    const { config } = await healthy()
    const platform = { store: { ...store, ...change(store) }, now: Date.now, fetch }
    const world = { config: readConfig(config), platform, storeState: () => undefined }
    return (await checkStore(world as Parameters<typeof checkStore>[0])).map(({ code, what }) => `${code}: ${what}`)
  }

  test.each<[string, (store: Store) => Partial<Store>]>([
    ['who add one key', () => ({ add: async () => true })],
    ['what was written is not read', () => ({ get: async () => undefined })],
    ['what was deleted is still read', () => ({ delete: async () => {} })],
    ['who take one lease', (store) => ({ lease: async (key, ttl) => store.lease(key + Math.random(), ttl) })],
    ['who count', () => ({ count: async () => ({ total: 1, resetsAt: 0 }) as never })],
  ])('store_not_atomic: %s', async (what, change) => {
    expect(await examined(change)).toEqual([expect.stringMatching(new RegExp(`^store_not_atomic: .*${what}`))])
  })

  test('store_slow: every call takes long', async () => {
    const late = () => new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 300))
    expect(await examined(() => ({ healthy: late }))).toEqual([
      expect.stringContaining('store_ok'),
      expect.stringMatching(/^store_slow: One call took \d{3} ms/),
    ])
  })
})

test('upstream_unclear: an API that has nothing at this address may ask for a token at others', async () => {
  const world = await healthy()
  world.api.answer = (_, response) => response.writeHead(404).end()
  const result = await report(world)
  expect(found(result, 'upstream_unclear')).toMatchObject({
    severity: 'ok',
    about: 'route /api',
    what: expect.stringContaining('whether it asks for one cannot be told'),
  })
})

test('every finding has a test that names it', async () => {
  const files = ['doctor.test.ts', 'doctor-refusals.test.ts'].map((name) => readFile(`test/node/${name}`, 'utf8'))
  const text = (await Promise.all(files)).join('\n')
  expect(Object.keys(findingKinds).filter((code) => !text.includes(code))).toEqual([])
})

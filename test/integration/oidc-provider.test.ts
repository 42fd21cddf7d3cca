// Login, refresh and logout against an authorization server that knows nothing of us: oidc-provider, each time with another
// of its features switched on, and required where it can be required.
import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { createBrowser } from '../support/browser.ts'
import { type Certificate, selfSigned } from '../support/certificate.ts'
import { type ClientKeyAlgorithm, newClientKey } from '../support/client-key.ts'
import { describeOn, serveHere, sessionKey } from '../support/coatcheck.ts'
import { closeAfterTest, freePort, trustUntilTheEnd } from '../support/http-server.ts'
import { certificateOf, clientId, mutualTlsFeature, startOidcProvider } from '../support/oidc-provider.ts'
import { startUpstream } from '../support/upstream.ts'

type ProviderSettings = Partial<ConfigInput['providers'][number]>

interface Scene {
  /** What coatcheck is told. */
  readonly settings: ProviderSettings
  /** What the server is told of the client, and of itself. */
  readonly client?: Record<string, unknown>
  readonly features?: Record<string, unknown>
  readonly routes?: (api: string) => ConfigInput['routes']
  readonly clientCertificate?: Certificate
  readonly refreshTokens?: 'as it comes'
}

const publicUrl = 'https://app.example'
const secret = 'a secret with : + % and &'
const withSecret = {
  settings: { clientAuth: { method: 'client_secret_basic' as const, secret } },
  client: { client_secret: secret, token_endpoint_auth_method: 'client_secret_basic' },
}

async function withKey(alg: ClientKeyAlgorithm) {
  const { key } = await newClientKey(alg)
  return {
    settings: { clientAuth: { method: 'private_key_jwt' as const, key, alg } },
    client: {
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: alg,
      jwks_uri: `${publicUrl}/auth/jwks.json`,
    },
  }
}

async function start({ settings, client = {}, features = {}, routes, clientCertificate, refreshTokens }: Scene) {
  const certificate = selfSigned('localhost')
  trustUntilTheEnd(certificate.cert)
  const [api, port] = [closeAfterTest(await startUpstream()), await freePort()]
  const coatcheckUrl = `http://127.0.0.1:${port}`
  const as = await startOidcProvider({
    certificate,
    publicUrl,
    coatcheckUrl,
    client,
    ...(refreshTokens && { refreshTokens }),
    features: { ...(clientCertificate && { mTLS: mutualTlsFeature(clientCertificate) }), ...features },
  })
  const config: ConfigInput = {
    publicUrl,
    listen: { port },
    session: { keys: [sessionKey()], claims: ['sub', 'name'] },
    providers: [{ id: 'main', issuer: as.issuer, clientId, ...withSecret.settings, ...settings }],
    routes: routes?.(api.url) ?? [{ path: '/api', upstream: api.url, token: 'user' }],
  }
  const served = closeAfterTest(await serveHere(config, { trusted: [certificate.cert] }))
  const browser = createBrowser(served.url, publicUrl)
  const person = as.person()

  /** What went wrong, as either side tells it. */
  const troubles = () => [...served.events().filter((event) => 'reason' in event), ...as.refused]

  async function signIn(): Promise<URL> {
    const login = await browser.navigate('/auth/login')
    expect([login.status, troubles()]).toEqual([303, []])
    const address = new URL(login.headers.get('location') ?? '')
    const callback = await person.follow(address.href)
    const arrival = { headers: { 'sec-fetch-site': 'cross-site' } }
    const answer = await browser.navigate(callback.pathname + callback.search, arrival)
    expect([callback.origin, answer.status, troubles()]).toEqual([publicUrl, 303, []])
    return address
  }

  /** A call that the API refuses once: then a new token has to be there. */
  async function refresh(): Promise<void> {
    const { answer } = api
    api.answer = (_, response) => {
      api.answer = answer
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token", DPoP error="invalid_token"' }).end()
    }
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(as.granted.at(-1)).toBe('refresh_token')
    const [first, second] = api.requests.slice(-2).map(({ headers }) => headers.authorization)
    expect(first).not.toBe(second)
  }

  async function signOut(): Promise<void> {
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    expect(answer.json().logoutUrl).toMatch(new RegExp(`^${as.issuer}/session/end`))
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
    // Both tokens, by name.
    await expect.poll(() => as.asked.filter(({ path }) => path === '/token/revocation').length).toBe(2)
    expect(as.refused).toEqual([])
  }

  return { as, api, browser, person, served, signIn, refresh, signOut }
}

/** From the first page to the last. */
async function throughEverything(scene: Scene) {
  const world = await start(scene)
  const address = await world.signIn()
  expect((await world.browser.fetch('/auth/session')).json()).toMatchObject({ user: { sub: 'alice' } })
  expect((await world.browser.fetch('/api/orders')).status).toBe(200)
  await world.refresh()
  await world.refresh()
  await world.signOut()
  return { ...world, address }
}

const keysOf = (address: URL) => [...address.searchParams.keys()].sort()

describe('oidc-provider', () => {
  test('takes a secret that has to be encoded', async () => {
    await throughEverything(withSecret)
  })

  test('as it comes gives a refresh token when consent is asked for', async () => {
    const settings = { ...withSecret.settings, authorizationParams: { prompt: 'consent' } }
    await throughEverything({ ...withSecret, settings, refreshTokens: 'as it comes' })
  })

  test('as it comes gives none for offline_access alone: the session ends with its access token', async () => {
    const { as, api, browser, signIn } = await start({ ...withSecret, refreshTokens: 'as it comes' })
    await signIn()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    api.answer = (_, response) => response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
    expect((await browser.fetch('/api/orders')).status).toBe(401)
    expect(as.granted).toEqual(['authorization_code'])
  })

  test('takes a secret in the form', async () => {
    await throughEverything({
      settings: { clientAuth: { method: 'client_secret_post', secret } },
      client: { client_secret: secret, token_endpoint_auth_method: 'client_secret_post' },
    })
  })

  test.each<ClientKeyAlgorithm>(['PS256', 'ES256', 'EdDSA'])(
    'takes assertions signed with %s, with the key that it fetches from us',
    async (alg) => {
      const { as } = await throughEverything(await withKey(alg))
      expect(as.granted).toEqual(['authorization_code', 'refresh_token', 'refresh_token'])
    },
  )

  test('that requires pushed requests gets them', async () => {
    const features = { pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true } }
    const { address, as } = await throughEverything({ ...withSecret, features })
    expect(keysOf(address)).toEqual(['client_id', 'request_uri'])
    expect(as.asked.some(({ path }) => path === '/request')).toBe(true)
  })

  test.each<[string, ClientKeyAlgorithm, boolean]>([
    ['by value', 'PS256', false],
    ['by value', 'ES256', false],
    ['by value', 'EdDSA', false],
    ['pushed', 'ES256', true],
  ])('that requires signed requests gets them %s, signed with %s', async (_, alg, pushed) => {
    const key = await withKey(alg)
    const { address } = await throughEverything({
      settings: { ...key.settings, par: pushed, jar: true },
      client: { ...key.client, request_object_signing_alg: alg },
      features: { requestObjects: { enabled: true, requireSignedRequestObject: true } },
    })
    expect(keysOf(address)).toEqual(pushed ? ['client_id', 'request_uri'] : ['client_id', 'request'])
  })

  test.each(['PS256', 'ES256', 'EdDSA'])('signs its responses with %s when it is asked to', async (alg) => {
    const { browser, served } = await throughEverything({
      ...withSecret,
      settings: { ...withSecret.settings, responseMode: 'jwt' },
      client: { ...withSecret.client, authorization_signed_response_alg: alg },
      features: { jwtResponseModes: { enabled: true } },
    })
    expect(served.events().filter(({ event }) => event === 'login.completed')).toHaveLength(1)
    expect(browser.seen.join()).not.toContain('authorization_response')
  })

  test('grants rights besides scopes, which end up in the token and not in the cookie', async () => {
    const payment = { type: 'payment', actions: ['initiate'], note: 'x'.repeat(500) }
    const granted = (ctx: { oidc: { grant?: { rar?: object[] } } }) => ctx.oidc.grant?.rar
    const { browser, signIn, api } = await start({
      settings: { ...withSecret.settings, authorizationDetails: [payment] },
      client: { ...withSecret.client, authorization_details_types: ['payment'] },
      features: {
        resourceIndicators: jwtTokens,
        richAuthorizationRequests: {
          enabled: true,
          types: { payment: { validate: () => {} } },
          authorizationDetailsForGrantSource: granted,
          authorizationDetailsForAccessToken: granted,
          authorizationDetailsForIntrospection: granted,
        },
      },
      routes: (upstream) => [
        { path: '/api', upstream, token: { kind: 'user', resource: 'urn:orders', scope: 'orders:read' } },
      ],
    })
    await signIn()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const token = decodeJwt(api.last().headers.authorization?.slice('Bearer '.length) ?? '')
    expect(token.authorization_details).toEqual([payment])
    expect(JSON.stringify([...browser.cookies]).length).toBeLessThan(3_600)
  })

  test('gives a token for each API', async () => {
    const route = (name: string, upstream: string) => ({
      path: `/api/${name}`,
      upstream,
      token: { kind: 'user' as const, resource: `urn:${name}`, scope: `${name}:read` },
    })
    const { browser, signIn, signOut, api, as } = await start({
      ...withSecret,
      features: { resourceIndicators: jwtTokens },
      routes: (upstream) => [route('orders', upstream), route('stock', upstream)],
    })
    await signIn()
    for (const name of ['orders', 'stock', 'orders']) {
      expect((await browser.fetch(`/api/${name}/1`)).status).toBe(200)
      const { aud, scope } = decodeJwt(api.last().headers.authorization?.slice('Bearer '.length) ?? '')
      expect([aud, scope]).toEqual([`urn:${name}`, `${name}:read`])
    }
    expect(as.granted).toEqual(['authorization_code', 'refresh_token', 'refresh_token'])
    await signOut()
  })

  test('ends our session when its own ends (back-channel logout)', async () => {
    const { browser, signIn, person, served } = await start(withSecret)
    await signIn()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await person.signOut()
    expect((await browser.fetch('/api/orders')).status).toBe(401)
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
    expect(served.events().filter(({ event }) => event === 'backchannel.logout')).toHaveLength(1)
  })

  test('comes back from its own sign-out page to where it was told', async () => {
    const { browser, signIn, person, as } = await start(withSecret)
    await signIn()
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    const page = new URL(answer.json().logoutUrl)
    expect(page.searchParams.get('post_logout_redirect_uri')).toBe(`${publicUrl}/auth/logout/callback`)
    await person.signOut()
    expect(as.refused).toEqual([])
  })
})

/** JWTs for whatever API is named. */
const jwtTokens = {
  enabled: true,
  defaultResource: () => [],
  getResourceServerInfo: (_: unknown, resource: string) => ({
    scope: `${resource.slice('urn:'.length)}:read`,
    audience: resource,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'ES256' } },
  }),
}

/** With cert and key as only Node takes them. */
describeOn('node')('oidc-provider with client certificates', () => {
  const clientCertificate = selfSigned('client')
  const { x5c, jwk, fingerprint } = certificateOf(clientCertificate)
  const methods = {
    self_signed_tls_client_auth: { jwks: { keys: [{ ...jwk, x5c: [x5c] }] } },
    tls_client_auth: { tls_client_auth_subject_dn: 'CN=client' },
  }

  test.each(['self_signed_tls_client_auth', 'tls_client_auth'] as const)(
    'takes %s at its aliases, and binds tokens to it',
    async (method) => {
      const { as } = await throughEverything({
        settings: { clientAuth: { method, ...clientCertificate }, userinfo: true },
        client: {
          token_endpoint_auth_method: method,
          tls_client_certificate_bound_access_tokens: true,
          ...methods[method],
        },
        clientCertificate,
      })
      const shown = new Set(as.asked.filter((one) => one.fingerprint === fingerprint).map(({ path }) => path))
      expect(shown).toEqual(new Set(['/request', '/token', '/me', '/token/revocation']))
      for (const { path, fingerprint: other } of as.asked) expect(other === undefined || shown.has(path)).toBe(true)
    },
  )

  test('and profile "fapi2" at both ends', async () => {
    const method = 'self_signed_tls_client_auth'
    await throughEverything({
      settings: { profile: 'fapi2', clientAuth: { method, ...clientCertificate } },
      client: {
        token_endpoint_auth_method: method,
        tls_client_certificate_bound_access_tokens: true,
        id_token_signed_response_alg: 'PS256',
        ...methods[method],
      },
      features: { fapi: { enabled: true, profile: '2.0' } },
      clientCertificate,
    })
  })
})

describe('oidc-provider with profile "fapi2" at both ends', () => {
  test.each<ClientKeyAlgorithm>(['PS256', 'ES256', 'EdDSA'])(
    'takes %s everywhere, and tokens bound to a key',
    async (alg) => {
      const key = await withKey(alg)
      const { address, api } = await throughEverything({
        settings: { ...key.settings, profile: 'fapi2' },
        client: { ...key.client, dpop_bound_access_tokens: true, id_token_signed_response_alg: alg },
        features: { fapi: { enabled: true, profile: '2.0' } },
      })
      expect(keysOf(address)).toEqual(['client_id', 'request_uri'])
      for (const { headers } of api.requests) expect(headers.authorization).toMatch(/^DPoP /)
    },
  )

  test('takes signed requests and gives signed responses besides', async () => {
    const key = await withKey('ES256')
    await throughEverything({
      settings: { ...key.settings, profile: 'fapi2', jar: true, responseMode: 'jwt' },
      client: {
        ...key.client,
        dpop_bound_access_tokens: true,
        id_token_signed_response_alg: 'ES256',
        authorization_signed_response_alg: 'ES256',
        request_object_signing_alg: 'ES256',
      },
      features: {
        fapi: { enabled: true, profile: '2.0' },
        jwtResponseModes: { enabled: true },
        requestObjects: { enabled: true, requireSignedRequestObject: true },
      },
    })
  })
})

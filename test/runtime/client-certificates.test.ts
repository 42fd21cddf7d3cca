// A client that proves itself with a certificate (RFC 8705): shown where it has to be, and nowhere else.
import { describe, expect, test } from 'vitest'
import { createCoatcheck } from '../../src/app.ts'
import { ConfigError } from '../../src/config-reader.ts'
import type { AuthorizationServer } from '../support/authorization-server.ts'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { selfSigned } from '../support/certificate.ts'
import { type Overrides, openCoatcheck, startWorld, testOn } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { openMutualTls } from '../support/mutual-tls.ts'
import { passed } from '../support/time.ts'
import { startUpstream } from '../support/upstream.ts'

const methods = ['tls_client_auth', 'self_signed_tls_client_auth'] as const
const endpoints = ['token', 'revocation', 'introspection', 'pushed_authorization_request', 'userinfo'] as const
const paths = {
  token: '/token',
  revocation: '/revoke',
  introspection: '/introspect',
  pushed_authorization_request: '/par',
  userinfo: '/userinfo',
}

function aliased(as: AuthorizationServer, url: string): void {
  as.behaviour.metadata = (metadata) => {
    metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
    metadata.mtls_endpoint_aliases = Object.fromEntries(
      endpoints.map((name) => [`${name}_endpoint`, url + paths[name]]),
    )
  }
}

async function startWithCertificate(method: (typeof methods)[number], prepare = aliased) {
  const as = closeAfterTest(await startAuthorizationServer())
  const api = closeAfterTest(await startUpstream())
  const client = selfSigned('client')
  const door = await openMutualTls(as, client)
  prepare(as, door.url)
  const overrides: Overrides = ({ config }) => ({
    providers: config.providers.map((one) => ({ ...one, clientAuth: { method, ...door.clientAuth } })),
    routes: config.routes?.map((one) =>
      one.path === '/api' ? { ...one, bearer: { audience: 'api', introspection: true as const } } : one,
    ),
  })
  const world = closeAfterTest(await openCoatcheck(as, api, overrides, door.workerd))
  return { world, door, client }
}

describe.each(methods)('R047 R075 R076 %s', (method) => {
  test('shows the certificate at the aliases of the endpoints, and nowhere else', async () => {
    const { world, door, client } = await startWithCertificate(method)
    const { as } = world
    as.behaviour.expiresIn = 0.2
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    await passed(220)
    as.behaviour.expiresIn = 300
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    await expect.poll(() => as.to('/revoke').length).toBe(2)
    const behindTheDoor = ['/par', '/token', '/userinfo', '/token', '/revoke', '/revoke']
    expect(door.asked).toEqual(behindTheDoor.map((path) => ({ path, withCertificate: true })))
    // Everything else came by the other door, where nobody asks for certificates.
    for (const { path, headers } of as.requests) {
      expect(headers['x-test-client'] === undefined).toBe(!behindTheDoor.includes(path))
    }
    for (const { body, headers } of [...as.to('/par'), ...as.to('/token'), ...as.to('/revoke')]) {
      expect(body.get('client_id')).toBe(as.clientId)
      expect(body.has('client_secret') || body.has('client_assertion')).toBe(false)
      expect(headers.authorization).toBeUndefined()
    }
    const told = JSON.stringify([browser.seen, world.events()])
    expect(told).not.toContain(client.key.split('\n')[1])
  })

  test('shows it where it asks about access tokens of others', async () => {
    const { world, door } = await startWithCertificate(method)
    world.as.behaviour.introspected.opaque = { active: true, aud: 'api', sub: 'alice', token_type: 'Bearer' }
    const answer = await world.browser().send('/api/orders', { headers: { authorization: 'Bearer opaque' } })
    expect(answer.status).toBe(200)
    expect(door.asked).toEqual([{ path: '/introspect', withCertificate: true }])
    expect(world.as.to('/introspect').map(({ headers }) => headers.authorization)).toEqual([undefined])
  })
})

describe('R075 a server whose token endpoint is not https', () => {
  test('gets no sign-in: without TLS nobody would ask for the certificate', async () => {
    const { world, door } = await startWithCertificate('tls_client_auth', () => {})
    expect((await world.browser().navigate('/auth/login')).status).toBe(503)
    expect(door.asked).toEqual([])
    expect(world.logged('provider.unavailable')[0]?.reason).toBe('metadata_incomplete')
  })

  test('gets none either when only the aliases are not', async () => {
    const { world } = await startWithCertificate('tls_client_auth', (as, url) => {
      as.behaviour.metadata = (metadata) => {
        metadata.mtls_endpoint_aliases = { token_endpoint: url, revocation_endpoint: 'http://as.example/revoke' }
      }
    })
    expect((await world.browser().navigate('/auth/login')).status).toBe(503)
  })
})

describe('a certificate that this runtime cannot use', () => {
  const mistakesOf = async (clientAuth: object, start: typeof startWorld = startWorld) =>
    start(({ config }) => ({
      providers: config.providers.map((one) => ({ ...one, clientAuth: clientAuth as typeof one.clientAuth })),
    })).then(
      () => 'started',
      (error: Error) => error.message,
    )
  const [one, other] = [selfSigned('one'), selfSigned('other')]
  const method = 'tls_client_auth' as const

  testOn('node')('is a mistake of the configuration, told without what is in it', async () => {
    const mixed = await mistakesOf({ method, cert: one.cert, key: other.key })
    expect(mixed).toContain('providers[0].clientAuth.key: must be the private key of cert')
    expect(mixed).not.toContain('BEGIN')
    const bound = await mistakesOf({ method, binding: 'CERT' })
    expect(bound).toContain('providers[0].clientAuth.binding: Node has no binding for clients, only cert, key')
  })

  testOn('workerd')('is a mistake of the configuration', async () => {
    expect(await mistakesOf({ method, ...one })).toContain(
      'providers[0].clientAuth.cert: Cloudflare Workers has no cert for clients, only binding',
    )
    expect(await mistakesOf({ method, binding: 'CERT' })).toContain(
      'providers[0].clientAuth.binding: the Worker has no certificate or service bound by this name',
    )
  })

  test('is a mistake where the runtime has none at all', async () => {
    const world = await startWorld()
    const providers = world.config.providers.map((provider) => ({ ...provider, clientAuth: { method, ...one } }))
    const config = { ...world.config, session: { keys: world.config.session.keys }, providers }
    expect(() => createCoatcheck(config)).toThrow(ConfigError)
  })
})

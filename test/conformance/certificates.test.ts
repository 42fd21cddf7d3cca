// The conformance suite's modules for clients that show a certificate (RFC 8705).
import { describe, expect, test } from 'vitest'
import { type AuthorizationServer, startAuthorizationServer } from '../support/authorization-server.ts'
import { selfSigned } from '../support/certificate.ts'
import { type Overrides, openCoatcheck } from '../support/coatcheck.ts'
import { withFapi } from '../support/fapi.ts'
import { closeAfterTest, trustUntilTheEnd } from '../support/http-server.ts'
import { type MutualTls, openMutualTls } from '../support/mutual-tls.ts'
import { expectNoCanary } from '../support/oracles.ts'
import { startUpstream } from '../support/upstream.ts'

describe('clients with a certificate', () => {
  const certificate = selfSigned('localhost')

  /** Signs in at a server with a door for certificates, and calls the API; the certificate is shown at `paths` and nowhere else. */
  async function signsIn(
    as: AuthorizationServer,
    name: (door: string) => Record<string, unknown>,
    overrides: (clientAuth: { method: 'self_signed_tls_client_auth' } & MutualTls['clientAuth']) => Overrides,
    paths: readonly string[],
  ) {
    const api = closeAfterTest(await startUpstream())
    const door = await openMutualTls(as, selfSigned('client'), certificate)
    as.behaviour.metadata = (metadata) => {
      Object.assign(metadata, name(door.url))
    }
    const extras = { ...door.workerd, trusted: [certificate.cert] }
    const clientAuth = { method: 'self_signed_tls_client_auth' as const, ...door.clientAuth }
    const world = closeAfterTest(await openCoatcheck(as, api, overrides(clientAuth), extras))
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(door.asked).toEqual(paths.map((path) => ({ path, withCertificate: true })))
    // Not a second time at the usual door.
    for (const path of paths) expect(as.to(path)).toHaveLength(1)
    expect(as.to('/token').filter(({ headers, body }) => headers.authorization ?? body.get('client_secret'))).toEqual(
      [],
    )
    expectNoCanary(world, browser)
    return world
  }

  test('oidcc-client-test-mtls-endpoint-aliases: shows its certificate there, at the token endpoint and at userinfo, and sends no secret', async () => {
    await signsIn(
      closeAfterTest(await startAuthorizationServer()),
      (door) => ({ mtls_endpoint_aliases: { token_endpoint: `${door}/token`, userinfo_endpoint: `${door}/userinfo` } }),
      (clientAuth) =>
        ({ config }) => ({ providers: config.providers.map((one) => ({ ...one, clientAuth })) }),
      ['/token', '/userinfo'],
    )
  })

  test('fapi2-security-profile-final-client-test-happy-path-no-mtls-endpoint-aliases: shows its certificate at the usual endpoints', async () => {
    trustUntilTheEnd(certificate.cert)
    const as = closeAfterTest(await startAuthorizationServer(certificate))
    await as.rotateKeys('PS256')
    const { api } = await signsIn(
      as,
      (door) => ({
        token_endpoint: `${door}/token`,
        userinfo_endpoint: `${door}/userinfo`,
        revocation_endpoint: `${door}/revoke`,
        pushed_authorization_request_endpoint: `${door}/par`,
        require_pushed_authorization_requests: true,
        tls_client_certificate_bound_access_tokens: true,
      }),
      (clientAuth) => withFapi({ clientAuth }),
      ['/par', '/token', '/userinfo'],
    )
    expect(api.last().headers.authorization).toMatch(/^Bearer /)
  })
})

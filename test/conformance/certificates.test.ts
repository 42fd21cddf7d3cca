// The conformance suite's modules for clients that show a certificate (RFC 8705).
import { describe, expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { selfSigned } from '../support/certificate.ts'
import { type Overrides, openCoatcheck } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { openMutualTls } from '../support/mutual-tls.ts'
import { expectNoCanary } from '../support/oracles.ts'
import { startUpstream } from '../support/upstream.ts'

describe('clients with a certificate', () => {
  /** Signs in at a server whose endpoints for certificates stand in the metadata as `name` says. */
  async function signsIn(name: (endpoints: Record<string, string>) => Record<string, unknown>) {
    const as = closeAfterTest(await startAuthorizationServer())
    const api = closeAfterTest(await startUpstream())
    const certificate = selfSigned('localhost')
    const door = await openMutualTls(as, selfSigned('client'), certificate)
    as.behaviour.metadata = (metadata) => {
      const [token_endpoint, userinfo_endpoint] = [`${door.url}/token`, `${door.url}/userinfo`]
      Object.assign(metadata, name({ token_endpoint, userinfo_endpoint }))
    }
    const clientAuth = { method: 'self_signed_tls_client_auth' as const, ...door.clientAuth }
    const overrides: Overrides = ({ config }) => ({
      providers: config.providers.map((one) => ({ ...one, clientAuth })),
    })
    const extras = { ...door.workerd, trusted: [certificate.cert] }
    const world = closeAfterTest(await openCoatcheck(as, api, overrides, extras))
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    expect(door.asked.filter(({ path }) => path === '/token')).toEqual([{ path: '/token', withCertificate: true }])
    expect(as.to('/token').filter(({ headers, body }) => headers.authorization ?? body.get('client_secret'))).toEqual(
      [],
    )
    expectNoCanary(world, browser)
  }

  test('oidcc-client-test-mtls-endpoint-aliases: shows its certificate there, and sends no secret', async () => {
    await signsIn((endpoints) => ({ mtls_endpoint_aliases: endpoints }))
  })

  test('fapi2-security-profile-final-client-test-happy-path-no-mtls-endpoint-aliases: shows its certificate at the usual endpoints', async () => {
    await signsIn((endpoints) => endpoints)
  })
})

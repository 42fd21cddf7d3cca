// What each runtime has for TLS to an upstream, and what is said about what it has not.
import { describe, expect, inject, test } from 'vitest'
import { createCoatcheck } from '../../src/app.ts'
import type { ConfigInput } from '../../src/config.ts'
import { selfSigned } from '../support/certificate.ts'
import { runtime, sessionKey, startWorld, testOn } from '../support/coatcheck.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { ask } from '../support/raw.ts'
import { startSecureUpstream } from '../support/secure-upstream.ts'
import { openPage, takeWebSockets } from '../support/websocket.ts'
import { startWorkerd } from '../support/workerd-process.ts'

type Tls = NonNullable<NonNullable<ConfigInput['routes']>[number]['tls']>

const ours = selfSigned('client-of-orders')
const routes = (upstream: string, tls: Tls): NonNullable<ConfigInput['routes']> => [
  { path: '/api', upstream, token: 'none', tls, websocket: true },
]

testOn('workerd')('A certificate that the Worker is bound to reaches the upstream of its route', async () => {
  const api = closeAfterTest(
    await startSecureUpstream({ requestCert: true, rejectUnauthorized: true, ca: [ours.cert] }),
  )
  const port = await freePort()
  const config: ConfigInput = {
    publicUrl: `http://app.localhost:${port}`,
    session: { keys: [sessionKey()] },
    providers: [
      {
        id: 'main',
        issuer: 'http://127.0.0.1:9',
        clientId: 'app',
        clientAuth: { method: 'client_secret_basic', secret: 'x' },
        allowInsecureRequests: true,
      },
    ],
    routes: [
      ...routes(api.url, { binding: 'ORDERS_CERTIFICATE' }),
      { path: '/bare', upstream: api.url, token: 'none' },
    ],
  }
  const text = JSON.stringify
  const certificate = `keypair = (privateKey = ${text(ours.key)}, certificateChain = ${text(ours.cert)})`
  const tlsOptions = `trustedCertificates = [${text(api.certificate.cert)}], ${certificate}`
  const { url } = closeAfterTest(
    await startWorkerd({
      bundle: inject('workerBundle'),
      module: 'worker.js',
      port,
      services: [
        `(name = "orders", external = (address = "127.0.0.1:${api.port}", https = (certificateHost = "localhost", tlsOptions = (${tlsOptions}))))`,
      ],
      bindings: [
        `(name = "COATCHECK_CONFIG", json = ${text(text(config))})`,
        '(name = "ORDERS_CERTIFICATE", service = "orders")',
      ],
    }),
  )
  const answer = await ask(url, 'GET /api/x?y=1')
  expect([answer.status, answer.text]).toEqual([200, 'GET /x?y=1 1.1'])
  expect(api.shown).toEqual(['client-of-orders'])
  expect((await ask(url, 'GET /bare/x')).status).toBe(502)

  // A WebSocket takes the same way.
  takeWebSockets(api)
  const page = await openPage({ url, publicUrl: config.publicUrl }, '/api/live?z=1')
  page.socket.send('hello')
  await expect.poll(() => page.messages.map(({ data }) => String(data))).toEqual(['hello'])
  expect(new Set(api.shown)).toEqual(new Set(['client-of-orders']))
})

const impossible: [Tls, string][] =
  runtime === 'workerd'
    ? [
        [{ ca: ours.cert }, 'routes[0].tls.ca: Cloudflare Workers has no ca for upstreams, only binding'],
        [
          { cert: ours.cert, key: ours.key },
          'routes[0].tls.key: Cloudflare Workers has no key for upstreams, only binding',
        ],
        [{ binding: 'NOWHERE' }, 'routes[0].tls.binding: the Worker has no certificate or service bound by this name'],
      ]
    : [
        [
          { binding: 'ORDERS' },
          'routes[0].tls.binding: Node has no binding for upstreams, only ca, cert, key, serverName',
        ],
        [{ cert: ours.cert, key: selfSigned('other').key }, 'routes[0].tls.key: must be the private key of cert'],
        [
          { ca: '-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----' },
          'routes[0].tls.ca: must be certificates that OpenSSL can read',
        ],
      ]

describe('TLS that cannot work is refused at the start:', () => {
  for (const [tls, message] of impossible) {
    test(message, async () => {
      await expect(startWorld({ routes: routes('https://localhost:9', tls) })).rejects.toThrow(message)
    })
  }

  test('the library without a platform has none', async () => {
    const { config } = await startWorld()
    expect(() => createCoatcheck({ ...config, routes: routes('https://localhost:9', { ca: ours.cert }) })).toThrow(
      'routes[0].tls.ca: createCoatcheck() without a platform has no ca for upstreams',
    )
  })
})

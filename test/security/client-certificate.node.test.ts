// Attack: somebody who is not the upstream, to be shown the client certificate that is meant for it, or to be sent what it
// should get.
// R621 R622
import type { SecureServerOptions } from 'node:http2'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { selfSigned } from '../support/certificate.ts'
import { startWorld } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { ask } from '../support/raw.ts'
import { type SecureUpstream, startSecureUpstream } from '../support/secure-upstream.ts'

type Route = NonNullable<ConfigInput['routes']>[number]
type Tls = NonNullable<Route['tls']>

const [ours, others] = [selfSigned('client-of-orders'), selfSigned('client-of-billing')]
const mutual: SecureServerOptions = { requestCert: true, rejectUnauthorized: true, ca: [ours.cert, others.cert] }

const start = async (options: SecureServerOptions = {}, certificate = selfSigned('localhost')) =>
  closeAfterTest(await startSecureUpstream(options, certificate))

const routeTo = (api: SecureUpstream, path: string, tls: Tls, more: Partial<Route> = {}): Route => ({
  path,
  upstream: api.url,
  token: 'none',
  tls,
  ...more,
})

const worldOf = (...routes: Route[]) => startWorld({ routes })

describe.each([true, false])('R622 A client certificate (HTTP/2: %s)', (http2) => {
  test('is shown to the upstream of its route, and lets it answer', async () => {
    const api = await start(mutual)
    const tls = { ca: api.certificate.cert, cert: ours.cert, key: ours.key }
    const world = await worldOf(routeTo(api, '/api', tls, { http2 }))
    const answer = await ask(world.url, 'GET /api/x')
    expect([answer.status, answer.text]).toEqual([200, `GET /x ${http2 ? '2.0' : '1.1'}`])
    expect(api.shown).toEqual(['client-of-orders'])
  })

  test('belongs to one route: another one to the same upstream does not share its connections', async () => {
    const api = await start({ ...mutual, rejectUnauthorized: false })
    const { cert: ca } = api.certificate
    const world = await worldOf(
      routeTo(api, '/orders', { ca, cert: ours.cert, key: ours.key }, { http2 }),
      routeTo(api, '/billing', { ca, cert: others.cert, key: others.key }, { http2 }),
      routeTo(api, '/open', { ca }, { http2 }),
      routeTo(api, '/more/orders', { ca, cert: ours.cert, key: ours.key }, { http2 }),
    )
    const seen: Record<string, string> = {}
    api.answer = (request, response) => {
      const { socket } = request
      seen[request.url] = String('getPeerCertificate' in socket && socket.getPeerCertificate().subject?.CN)
      response.end()
    }
    // Also when all of them come at once, over and over, on connections that are kept.
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        ['/orders/1', '/billing/2', '/open/3', '/more/orders/4'].map((path) => ask(world.url, `GET ${path}`)),
      )
    }
    expect(seen).toEqual({
      '/1': 'client-of-orders',
      '/2': 'client-of-billing',
      '/3': 'undefined',
      '/4': 'client-of-orders',
    })
    // Two routes with the same settings may share.
    if (http2) expect(api.shown.sort()).toEqual(['-', 'client-of-billing', 'client-of-orders'])
  })

  const impostors: Record<string, () => Promise<[SecureUpstream, ca: string]>> = {
    'whom nobody vouches for': async () => [
      await start({ ...mutual, rejectUnauthorized: false }),
      selfSigned('localhost').cert,
    ],
    'with a good certificate for another name': async () => {
      const certificate = selfSigned('other.test')
      return [await start({ ...mutual, rejectUnauthorized: false }, certificate), certificate.cert]
    },
    'whose certificate has run out': async () => {
      const certificate = selfSigned('localhost', -0.5)
      return [await start({ ...mutual, rejectUnauthorized: false }, certificate), certificate.cert]
    },
    'who insists on TLS 1.2, where it would be shown before it is clear to whom': async () => {
      const certificate = selfSigned('localhost')
      return [
        await start({ ...mutual, rejectUnauthorized: false, maxVersion: 'TLSv1.2' }, certificate),
        certificate.cert,
      ]
    },
  }
  for (const [who, begin] of Object.entries(impostors)) {
    test(`is not shown to somebody ${who}, and nothing is sent there`, async () => {
      const [api, ca] = await begin()
      const world = await worldOf(routeTo(api, '/api', { ca, cert: ours.cert, key: ours.key }, { http2 }))
      for (let time = 0; time < 5; time++) {
        expect((await ask(world.url, 'GET /api/x')).headers.get('coatcheck-error')).toBe('upstream_unreachable')
      }
      expect(api.calls).toEqual([])
      expect(api.shown.filter((name) => name !== '-')).toEqual([])
    })
  }

  test('does not go where the upstream redirects to', async () => {
    const elsewhere = await start({ ...mutual, rejectUnauthorized: false })
    const api = await start(mutual)
    api.answer = (_, response) => void response.writeHead(307, { location: `${elsewhere.url}/x` }).end()
    const ca = api.certificate.cert + elsewhere.certificate.cert
    const world = await worldOf(routeTo(api, '/api', { ca, cert: ours.cert, key: ours.key }, { http2 }))
    const answer = await ask(world.url, 'GET /api/x')
    expect([answer.status, answer.headers.get('location')]).toEqual([307, null])
    expect([elsewhere.calls, elsewhere.shown]).toEqual([[], []])
  })
})

describe.each([true, false])('R621 The certificate of an upstream (HTTP/2: %s)', (http2) => {
  test('may come from a private authority, which counts for its route only', async () => {
    const api = await start()
    const world = await worldOf(
      routeTo(api, '/known', { ca: api.certificate.cert }, { http2 }),
      { path: '/unknown', upstream: api.url, token: 'none', http2 },
      routeTo(api, '/other', { ca: selfSigned('localhost').cert }, { http2 }),
    )
    const statuses = []
    for (const path of ['/known', '/unknown', '/other', '/known', '/unknown']) {
      statuses.push((await ask(world.url, `GET ${path}`)).status)
    }
    expect(statuses).toEqual([200, 502, 502, 200, 502])
  })

  test('may have another name than the host, if the route says so, and then only that one', async () => {
    const api = await start({}, selfSigned('orders.internal'))
    const { cert: ca } = api.certificate
    const world = await worldOf(
      routeTo(api, '/named', { ca, serverName: 'orders.internal' }, { http2 }),
      routeTo(api, '/plain', { ca }, { http2 }),
      routeTo(api, '/misnamed', { ca, serverName: 'localhost' }, { http2 }),
    )
    const statuses = []
    for (const path of ['/named', '/plain', '/misnamed']) statuses.push((await ask(world.url, `GET ${path}`)).status)
    expect(statuses).toEqual([200, 502, 502])
  })
})

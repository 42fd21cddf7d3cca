// Attack: somebody between coatcheck and the servers it talks to, with a certificate of his own.
// R058 R621
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TlsOptions } from 'node:tls'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { exchange } from '../support/browser.ts'
import { type Certificate, selfSigned } from '../support/certificate.ts'
import { sessionKey } from '../support/coatcheck.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'

/** An authorization server and API over TLS that counts what it is asked. */
async function tlsServer(certificate: Certificate, options: TlsOptions = {}) {
  const asked: string[] = []
  const server: Server = createServer({ ...certificate, ...options }, (request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const { port } = server.address() as AddressInfo
    const issuer = `https://localhost:${port}`
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        response_types_supported: ['code'],
        code_challenge_methods_supported: ['S256'],
      }),
    )
  })
  // Refused handshakes are what these tests are about.
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return closeAfterTest({
    url: `https://localhost:${port}`,
    asked,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

const configFor = (port: number, url: string): ConfigInput => ({
  publicUrl: `http://localhost:${port}`,
  listen: { port },
  session: { keys: [sessionKey()] },
  providers: [
    { id: 'main', issuer: url, clientId: 'app', clientAuth: { method: 'client_secret_basic', secret: 'SECRET' } },
  ],
  routes: [{ path: '/api', upstream: `${url}/v1`, token: 'none' }],
})

/** What a login and a call come to when the server's certificate is this one, and `trusted` is believed. */
async function statuses(certificate: Certificate, trusted: Certificate | undefined, options?: TlsOptions) {
  const server = await tlsServer(certificate, options)
  const port = await freePort()
  const file = await fileWith(JSON.stringify(configFor(port, server.url)))
  const env: Record<string, string> = trusted ? { NODE_EXTRA_CA_CERTS: await fileWith(trusted.cert, 'ca.pem') } : {}
  const command = coatcheck(['serve', '--config', file], env)
  await expect.poll(() => command.stdout(), { timeout: 15_000 }).toContain('server.listening')
  const ask = (path: string, headers: Record<string, string>) =>
    exchange(new URL(path, `http://127.0.0.1:${port}`), 'GET', { host: `localhost:${port}`, ...headers })
  const login = await ask('/auth/login', { 'sec-fetch-mode': 'navigate' })
  const call = await ask('/api/x', { 'sec-fetch-site': 'same-origin' })
  return {
    login: login.status,
    call: call.status,
    code: call.headers.get('coatcheck-error'),
    asked: server.asked,
    log: () => command.stdout(),
  }
}

describe('R621 The certificate of an authorization server and an upstream', () => {
  test('that is trusted and names the host is accepted', async () => {
    const certificate = selfSigned('localhost')
    const { login, call, asked } = await statuses(certificate, certificate)
    expect([login, call]).toEqual([303, 200])
    expect(asked).toContain('GET /v1/x')
  })

  const bad: Record<string, () => [Certificate, Certificate | undefined, TlsOptions?]> = {
    'that nobody vouches for': () => [selfSigned('localhost'), undefined],
    'that names another host': () => {
      const certificate = selfSigned('other.test')
      return [certificate, certificate]
    },
    'that has run out': () => {
      const certificate = selfSigned('localhost', -0.5)
      return [certificate, certificate]
    },
    'behind TLS 1.1': () => {
      const certificate = selfSigned('localhost')
      return [certificate, certificate, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }]
    },
  }
  for (const [what, servers] of Object.entries(bad)) {
    test(`${what} is refused: nobody is sent there, nothing is sent there, and the log tells`, async () => {
      const { login, call, code, asked, log } = await statuses(...servers())
      expect([login, call, code]).toEqual([503, 502, 'upstream_unreachable'])
      expect(asked).toEqual([])
      await expect.poll(log).toContain('"event":"provider.unavailable"')
      await expect.poll(log).toContain('"event":"upstream.failed"')
      expect(log()).not.toMatch(/SECRET|BEGIN/)
    })
  }

  test('is never waved through: NODE_TLS_REJECT_UNAUTHORIZED=0 is refused, or has no effect', async () => {
    const server = await tlsServer(selfSigned('localhost'))
    const port = await freePort()
    const file = await fileWith(JSON.stringify(configFor(port, server.url)))
    const command = coatcheck(['serve', '--config', file], { NODE_TLS_REJECT_UNAUTHORIZED: '0' })
    const outcome = await Promise.race([
      command.exit.then((code) => `exit ${code}`),
      expect
        .poll(() => command.stdout(), { timeout: 15_000 })
        .toContain('server.listening')
        .then(() => 'listens'),
    ])
    if (outcome === 'listens') {
      const call = await exchange(new URL(`http://127.0.0.1:${port}/api/x`), 'GET', {
        'sec-fetch-site': 'same-origin',
        host: `localhost:${port}`,
      })
      expect(call.status).toBe(502)
    } else expect(command.stderr()).toContain('NODE_TLS_REJECT_UNAUTHORIZED')
    expect(server.asked).toEqual([])
  })
})

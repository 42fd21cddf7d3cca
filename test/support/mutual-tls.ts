// A second door of a test's authorization server, over TLS, that asks whoever comes for a certificate (RFC 8705).
import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { AuthorizationServer } from './authorization-server.ts'
import { type Certificate, selfSigned } from './certificate.ts'
import { runtime } from './coatcheck.ts'
import { closeAfterTest, listen, trustUntilTheEnd } from './http-server.ts'
import type { WorkerdExtras } from './workerd-process.ts'

export interface MutualTls {
  /** `https://localhost:...` */
  readonly url: string
  /** What coatcheck is to be configured with, in the words of its runtime. */
  readonly clientAuth: { cert: string; key: string } | { binding: string }
  readonly workerd: WorkerdExtras
  /** Paths asked for here, each with whether the client showed its certificate. */
  readonly asked: { path: string; withCertificate: boolean }[]
}

/** Opens the door, names it in the metadata, and accepts at the endpoints behind it only who shows `client`. */
export async function openMutualTls(
  as: AuthorizationServer,
  client: Certificate,
  certificate = selfSigned('localhost'),
): Promise<MutualTls> {
  const expected = new X509Certificate(client.cert).fingerprint256
  const asked: MutualTls['asked'] = []
  const options = { ...certificate, requestCert: true, rejectUnauthorized: false }
  const { url, port, close } = await listen((request, response) => {
    const { fingerprint256 } = (request.socket as TLSSocket).getPeerCertificate()
    const path = new URL(request.url ?? '/', as.issuer).pathname
    asked.push({ path, withCertificate: fingerprint256 === expected })
    request.headers['x-test-client'] = fingerprint256 === expected ? as.clientId : 'nobody'
    as.server.emit('request', request, response)
  }, options)
  closeAfterTest({ close })
  trustUntilTheEnd(certificate.cert)
  as.behaviour.clientCertificate = true
  return {
    url,
    clientAuth: runtime === 'node' ? client : { binding: 'CLIENT_CERTIFICATE' },
    workerd: { bindings: ['(name = "CLIENT_CERTIFICATE", service = "mutual-tls")'], services: [service()] },
    asked,
  }

  function service(): string {
    const pem = JSON.stringify
    const keypair = `keypair = (privateKey = ${pem(client.key)}, certificateChain = ${pem(client.cert)})`
    const tls = `tlsOptions = (${keypair}, trustedCertificates = [${pem(certificate.cert)}]), certificateHost = "localhost"`
    return `(name = "mutual-tls", external = (address = "127.0.0.1:${port}", https = (${tls})))`
  }
}

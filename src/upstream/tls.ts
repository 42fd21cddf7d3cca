// TLS on Node, for whoever opens a connection: what to pass to an upstream, and whether certificates can work at all.
import { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { Config } from '../config.ts'
import type { UpstreamTls } from '../platform.ts'

/** What `tls.connect()` of Node takes. There is no way to leave out verification, not even through the environment. */
export interface TlsOptions {
  rejectUnauthorized: true
  ca?: string
  cert?: string
  key?: string
  servername?: string
  minVersion?: 'TLSv1.3'
}

/**
 * Before TLS 1.3 a client shows its certificate to a server that it has not looked at yet: OpenSSL sends both in one flight, and
 * Node checks after that. In TLS 1.3 whoever does not prove to be the upstream gets nothing. So a client certificate needs it.
 *
 * @param tls settings of the route; without any, the certificates that this machine trusts count, and the host's name.
 */
export function tlsOptionsOf(tls: UpstreamTls | undefined): TlsOptions {
  const { ca, cert, key, serverName } = tls ?? {}
  return {
    rejectUnauthorized: true,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert, minVersion: 'TLSv1.3' }),
    ...(key !== undefined && { key }),
    ...(serverName !== undefined && { servername: serverName }),
  }
}

/** What is wrong with certificates and keys that look like some: OpenSSL cannot read them, or they do not belong together. */
export function tlsMistakes({ routes, providers }: Pick<Config, 'routes' | 'providers'>): string[] {
  return [
    ...routes.flatMap(({ tls }, index) => (tls ? mistakesOf(tls, `routes[${index}].tls`) : [])),
    ...providers.flatMap(({ clientAuth }, index) =>
      'cert' in clientAuth ? mistakesOf(clientAuth, `providers[${index}].clientAuth`) : [],
    ),
  ]
}

function mistakesOf({ ca, cert, key }: UpstreamTls, at: string): string[] {
  const mistakes: string[] = []
  if (!isReadable(ca)) mistakes.push(`${at}.ca: must be certificates that OpenSSL can read`)
  if (!isReadable(cert)) mistakes.push(`${at}.cert: must be certificates that OpenSSL can read`)
  if (!isUsable({ key })) mistakes.push(`${at}.key: must be a private key that OpenSSL can read`)
  if (mistakes.length === 0 && !isUsable({ cert, key })) mistakes.push(`${at}.key: must be the private key of cert`)
  return mistakes
}

/** Each of them: a secure context would leave out what it cannot read, and trust nobody instead. */
function isReadable(certificates = ''): boolean {
  const each = certificates.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return each.every((pem) => succeeds(() => new X509Certificate(pem)))
}

function isUsable(parts: Pick<UpstreamTls, 'cert' | 'key'>): boolean {
  return succeeds(() => createSecureContext(parts))
}

function succeeds(step: () => unknown): boolean {
  try {
    step()
    return true
  } catch {
    return false
  }
}

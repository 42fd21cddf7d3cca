// Whether the certificate of a server can be believed, and for how long still.
import { connect } from 'node:tls'
import type { UpstreamTls } from '../platform.ts'
import { tlsOptionsOf } from '../upstream/tls.ts'
import { type Finding, finding } from './findings.ts'
import { causeOf, patience, type World } from './world.ts'

/** What a server shows. @throws Error when there is no TLS to be had */
export interface ShownCertificate {
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  /** Code of what is wrong with it, such as `CERT_HAS_EXPIRED`. */
  readonly failure?: string | undefined
}

/** @param tls what a route sets for its upstream */
export type CertificateLook = (origin: string, tls?: UpstreamTls) => Promise<ShownCertificate>

/** Certificates that end sooner should have been renewed by whatever renews them. Milliseconds. */
const soon = 14 * 86_400_000

/** Shakes hands and says nothing more, so that also a certificate that is not believed can be looked at. */
export const lookAtCertificate: CertificateLook = (origin, tls) =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(origin)
    const host = hostname.replace(/^\[|\]$/g, '')
    const isName = !/^[\d.]+$|:/.test(host)
    const named = isName ? { servername: host } : {}
    const options = { host, port: Number(port || 443), ...named, ...tlsOptionsOf(tls), rejectUnauthorized: false }
    const socket = connect(options, () => {
      const expiresAt = Date.parse(socket.getPeerCertificate().valid_to)
      // Some failures are the code alone, others an error that has one; the types know of the latter only.
      const failure: unknown = socket.authorizationError
      const code = failure instanceof Error ? (failure as Error & { code?: string }).code : failure
      resolve({ expiresAt, failure: socket.authorized ? undefined : String(code) })
      socket.destroy()
    })
    socket.setTimeout(patience, () => socket.destroy(new DOMException('late', 'TimeoutError')))
    socket.once('error', reject)
  })

/** @param about whose certificates these are; every origin once. */
export async function checkCertificates(
  world: World,
  about: string,
  urls: readonly string[],
  tls?: UpstreamTls,
): Promise<Finding[]> {
  const origins = new Set(urls.map((url) => new URL(url).origin).filter((origin) => origin.startsWith('https:')))
  const found = await Promise.all([...origins].map((origin) => checkOne(world, about, origin, tls)))
  return found.filter((one) => one !== undefined)
}

/** Whether somebody answered, but not with a proper handshake. */
function isTls(error: unknown): boolean {
  return error instanceof Error && /^(ERR_SSL|ERR_TLS|EPROTO)/.test(String((error as Error & { code?: unknown }).code))
}

async function checkOne(world: World, about: string, origin: string, tls?: UpstreamTls): Promise<Finding | undefined> {
  let shown: ShownCertificate
  try {
    shown = await world.certificate(origin, tls)
  } catch (error) {
    // That nobody is there is for others to tell.
    if (!isTls(error)) return undefined
    return finding('certificate_invalid', about, `${origin} does not speak TLS as it should.`)
  }
  const { expiresAt, failure } = shown
  if (failure !== undefined) return finding('certificate_invalid', about, `${origin}: ${causeOf(failure)}.`)
  const days = Math.floor((expiresAt - world.platform.now()) / 86_400_000)
  const until = `${origin}: the certificate is good for ${days} more ${days === 1 ? 'day' : 'days'}.`
  const isLate = expiresAt - world.platform.now() < soon
  return finding(isLate ? 'certificate_expiring' : 'certificate_ok', about, until)
}

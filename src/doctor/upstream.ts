// The API behind a route: whether it is there, and whether it asks for a token.
import type { RouteConfig } from '../config.ts'
import { type Finding, finding } from './findings.ts'
import { failureOf, patience, type World } from './world.ts'

/** Methods that change nothing (RFC 9110, section 9.2.1), in the order in which they are tried. */
const harmless = ['GET', 'HEAD', 'OPTIONS'] as const

export async function checkUpstream(world: World, route: RouteConfig): Promise<Finding[]> {
  const { upstream, methods, token, tls } = route
  const about = `route ${route.path}`
  // Also where no harmless one is forwarded: OPTIONS at least tells whether anybody is there.
  const method = harmless.find((one) => methods.includes(one)) ?? 'OPTIONS'
  const url = upstream.href
  let status: number
  try {
    status = await world.askUpstream(upstream, method, tls, AbortSignal.timeout(patience))
  } catch (error) {
    return [finding('upstream_unreachable', about, `${url}: ${failureOf(error)}.`)]
  }
  const said = `${method} ${url} without a token answers HTTP ${status}`
  const isGood = status >= 200 && status < 300
  const needsToken = token.kind !== 'none' && token.kind !== 'user-or-none' && token.kind !== 'user-or-client'
  if (status >= 500) return [finding('upstream_failing', about, `${said}.`)]
  if (status === 401 || status === 403) return [finding('upstream_ok', about, `${said}.`)]
  if (status >= 300 && status < 400) return [finding('upstream_redirects', about, `${said}.`)]
  // Everybody may ask what the options are.
  if (isGood && needsToken && method !== 'OPTIONS') return [finding('upstream_open', about, `${said}.`)]
  if (isGood) return [finding('upstream_ok', about, `${said}.`)]
  const doubt = needsToken ? ': whether it asks for one cannot be told at this address' : ''
  return [finding('upstream_unclear', about, `${said}${doubt}.`)]
}

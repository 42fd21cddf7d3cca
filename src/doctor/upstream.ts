// The API behind a route: whether it is there, and whether it asks for a token.
import type { RouteConfig } from '../config.ts'
import { type Finding, finding } from './findings.ts'
import { askHead, failureOf, type World } from './world.ts'

/** Methods that change nothing (RFC 9110, section 9.2.1), in the order in which they are tried. */
const harmless = ['GET', 'HEAD', 'OPTIONS'] as const

export async function checkUpstream(world: World, { path, upstream, methods, token }: RouteConfig): Promise<Finding[]> {
  const about = `route ${path}`
  // Also where no harmless one is forwarded: OPTIONS at least tells whether anybody is there.
  const method = harmless.find((one) => methods.includes(one)) ?? 'OPTIONS'
  const url = upstream.href
  let answer: Response
  try {
    answer = await askHead(world, url, { method, headers: { accept: '*/*' } })
  } catch (error) {
    return [finding('upstream_unreachable', about, `${url}: ${failureOf(error)}.`)]
  }
  const said = `${method} ${url} without a token answers HTTP ${answer.status}`
  const needsToken = token.kind !== 'none' && token.kind !== 'user-or-none' && token.kind !== 'user-or-client'
  if (answer.status >= 500) return [finding('upstream_failing', about, `${said}.`)]
  if (answer.status === 401 || answer.status === 403) return [finding('upstream_ok', about, `${said}.`)]
  if (answer.status >= 300 && answer.status < 400) return [finding('upstream_redirects', about, `${said}.`)]
  // Everybody may ask what the options are.
  if (answer.ok && needsToken && method !== 'OPTIONS') return [finding('upstream_open', about, `${said}.`)]
  if (answer.ok) return [finding('upstream_ok', about, `${said}.`)]
  const doubt = needsToken ? ': whether it asks for one cannot be told at this address' : ''
  return [finding('upstream_unclear', about, `${said}${doubt}.`)]
}

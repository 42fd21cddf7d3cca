// Where an authorization server may send us: its metadata is believed about endpoints as far as they cannot lead inside.
import ipaddr from 'ipaddr.js'
import type { ServerMetadata } from 'openid-client'
import { isLoopback } from '../config-values.ts'

/** What is asked, or where browsers are sent. What else the metadata names nobody here goes to. */
const endpoints = [
  'authorization_endpoint',
  'token_endpoint',
  'jwks_uri',
  'pushed_authorization_request_endpoint',
  'userinfo_endpoint',
  'introspection_endpoint',
  'revocation_endpoint',
  'end_session_endpoint',
] as const

/** The metadata without members that are null, by which some servers say that they have none. */
export function withoutNull(metadata: Readonly<ServerMetadata>): ServerMetadata {
  const { mtls_endpoint_aliases: aliases, ...rest } = metadata
  const present = (object: object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null))
  return { ...present(rest), ...(aliases && { mtls_endpoint_aliases: present(aliases) }) } as ServerMetadata
}

/**
 * Whether every endpoint that is used is https (or http on loopback, where the issuer is that too), without credentials or a fragment
 * in its address, and not at a private, link-local or otherwise special address that is no place for an issuer like this
 * one. Names are not resolved.
 */
export function hasSafeEndpoints(metadata: Readonly<ServerMetadata>, issuer: string): boolean {
  const { protocol, hostname } = new URL(issuer)
  const isSafe = (value: unknown) => {
    const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
    if (url === undefined || url.username || url.password || url.hash) return false
    const isProtected =
      url.protocol === 'https:' || (protocol === 'http:' && url.protocol === 'http:' && isLoopback(url.hostname))
    const network = networkOf(url.hostname)
    return isProtected && (network === 'unicast' || network === networkOf(hostname))
  }
  return [metadata, metadata.mtls_endpoint_aliases ?? {}]
    .flatMap((named) => endpoints.map((name) => named[name]))
    .every((value) => value === undefined || isSafe(value))
}

/** What kind of address a host is: `unicast` on the Internet, which names are taken for, or one of the special ones. */
function networkOf(hostname: string): string {
  const name = hostname.replace(/\.$/, '')
  if (isLoopback(name)) return 'loopback'
  const address = name.replace(/^\[|\]$/g, '')
  return ipaddr.isValid(address) ? ipaddr.process(address).range() : 'unicast'
}

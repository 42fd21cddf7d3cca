// What the proxies in front say of the browser, as far as they can be trusted: its address, and whether it came by TLS.
import ipaddr from 'ipaddr.js'
import type { Network } from '../config-values.ts'
import { type Exchange, headerText } from '../platform.ts'
import { isWithin } from './policy.ts'

export type ClientAddress = (exchange: Exchange) => string | undefined

/**
 * The last address of `X-Forwarded-For` that no trusted proxy wrote about another trusted proxy; without a trusted proxy
 * simply the other end of the connection (ASVS 15.3.4).
 */
export function clientAddressOf(trustedProxies: readonly Network[]): ClientAddress {
  if (trustedProxies.length === 0) return ({ peer }) => peer
  return ({ peer, headers }) => {
    if (!isWithin(peer, trustedProxies)) return peer
    const hops = (headerText(headers, 'x-forwarded-for') ?? '').split(',').map((hop) => hop.trim())
    let client = peer
    for (const hop of hops.reverse()) {
      if (!ipaddr.isValid(hop)) return client
      client = hop
      if (!isWithin(hop, trustedProxies)) return client
    }
    return client
  }
}

/** Whether a trusted proxy says that the browser came to it over plain http. */
export function cameInsecurely({ peer, headers }: Exchange, trustedProxies: readonly Network[]): boolean {
  if (!isWithin(peer, trustedProxies)) return false
  const proto = headerText(headers, 'x-forwarded-proto')?.split(',')[0]?.trim().toLowerCase()
  return proto !== undefined && proto !== 'https'
}

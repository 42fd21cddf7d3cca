// What the proxies in front say of the browser, as far as they can be trusted: its address, and whether it came by TLS.
import ipaddr from 'ipaddr.js'
import type { Network } from '../config-values.ts'
import { type Exchange, headerText } from '../platform.ts'
import { isWithin } from './policy.ts'

export type ClientAddress = (exchange: Exchange) => string | undefined

/**
 * The last address of `X-Forwarded-For` that no trusted proxy wrote about another trusted proxy; without a trusted proxy
 * simply the other end of the connection (ASVS 15.3.4). Unknown where a trusted proxy wrote what is no address: whoever that
 * is, it is not the proxy, whose address may be on a list of those that are let in.
 */
export function clientAddressOf(trustedProxies: readonly Network[]): ClientAddress {
  if (trustedProxies.length === 0) return ({ peer }) => peer
  return ({ peer, headers }) => {
    if (!isWithin(peer, trustedProxies)) return peer
    const hops = (headerText(headers, 'x-forwarded-for') ?? '').split(',')
    let client = peer
    for (const hop of hops.reverse()) {
      const text = hop.trim()
      // An empty element of a list is none (RFC 9110, section 5.6.1).
      if (text === '') continue
      client = addressIn(text)
      if (!isWithin(client, trustedProxies)) return client
    }
    return client
  }
}

/** The address of one hop. Some proxies write the port behind it, and IPv6 in brackets (as in RFC 7239, section 6). */
function addressIn(hop: string): string | undefined {
  const [, v6, v4] = /^(?:\[([^\]]*)\](?::\d{1,5})?|([^:]*):\d{1,5})$/.exec(hop) ?? []
  const address = v6 ?? v4 ?? hop
  // Numbers that could be read as an address (`0x7f000001`, `127.1`) are none: nobody else would read them the same way.
  const isAddress = v6 === undefined && ipaddr.IPv4.isValidFourPartDecimal(address)
  return isAddress || (v4 === undefined && ipaddr.IPv6.isValid(address)) ? address : undefined
}

/**
 * Whom an address stands for where callers are counted: an IPv4 address, or the /64 of an IPv6 address. That much every
 * subscriber has (RFC 4291, section 2.5.4; RFC 6177), to take another address in for every call. IPv4 inside IPv6 is IPv4.
 */
export function networkOf(address: string | undefined): string {
  if (address === undefined || !ipaddr.isValid(address)) return 'unknown'
  const parsed = ipaddr.process(address)
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString()
  const { parts } = parsed
  // What a translator makes of IPv4 (RFC 6052, RFC 7915) is all in one /64.
  const isTranslated = ['rfc6052', 'rfc6145'].includes(parsed.range())
  if (isTranslated) return new ipaddr.IPv4(parsed.toByteArray().slice(12)).toString()
  return `${parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':')}::/64`
}

/** Whether a trusted proxy says that the browser came to it over plain http. */
export function cameInsecurely({ peer, headers }: Exchange, trustedProxies: readonly Network[]): boolean {
  if (!isWithin(peer, trustedProxies)) return false
  const proto = headerText(headers, 'x-forwarded-proto')?.split(',')[0]?.trim().toLowerCase()
  return proto !== undefined && proto !== 'https'
}

// The public addresses of one coatcheck: what providers are offered at each, and which addresses go together.
import type { Config, ProviderConfig } from './config.ts'

/** One public address and what is its own. */
export interface Address {
  /** The configuration as if this were the only address. */
  readonly config: Config
  /** The providers that sign-ins may begin with here, in the order of the configuration. Never none. */
  readonly offered: readonly ProviderConfig[]
  /** What seals made here are bound to: they open at no other address. */
  readonly context: string
}

/** Every public address once, the main one first. */
export function addressesOf(config: Config): [main: Address, ...others: Address[]] {
  const { publicUrl: main, providers } = config
  const urlsOf = ({ publicUrls = [main] }: ProviderConfig) => publicUrls
  const { cookieName } = config.session
  const addressAt = (publicUrl: string): Address => ({
    config: { ...config, publicUrl },
    offered: providers.filter((provider) => urlsOf(provider).includes(publicUrl)),
    // Names of what ended are made with the key of the main address. With another one they would be forgotten: so all
    // sessions are over then, not only those that began at the main address.
    context: publicUrl === main ? `${main} ${cookieName}` : `${main} ${publicUrl} ${cookieName}`,
  })
  const others = new Set(providers.flatMap(urlsOf))
  others.delete(main)
  return [addressAt(main), ...[...others].map(addressAt)]
}

/** Mistakes between the public addresses, each with its path. Reads the document itself, so it always speaks. */
export function addressContradictions(publicUrl: unknown, providers: readonly unknown[]): [string, string][] {
  const main = urlOf(publicUrl)
  const found: [string, string][] = []
  let isOffered = providers.length === 0 || main === undefined
  const places = new Map(main ? [[main.hostname, { at: 'publicUrl', origin: main.origin }]] : [])
  for (const [index, provider] of providers.entries()) {
    const { publicUrls } = (provider ?? {}) as { publicUrls?: unknown }
    const own = new Set<string>()
    if (!Array.isArray(publicUrls)) isOffered = true
    for (const [position, item] of Array.isArray(publicUrls) ? publicUrls.entries() : []) {
      const at = `providers[${index}].publicUrls[${position}]`
      const url = urlOf(item)
      if (!url) continue
      if (own.has(url.origin)) found.push([at, 'must not be there twice'])
      own.add(url.origin)
      if (url.origin === main?.origin) isOffered = true
      // What browsers and proxies are told about transport is told by the server, whatever the address.
      if (main && url.protocol !== main.protocol) found.push([at, 'must be https or http as publicUrl is'])
      const before = places.get(url.hostname)
      if (before === undefined) places.set(url.hostname, { at, origin: url.origin })
      else if (before.origin !== url.origin) {
        found.push([at, `must not have the host of ${before.at}: browsers send cookies to every port of a host`])
      }
    }
  }
  if (!isOffered) found.push(['publicUrl', 'must be among publicUrls of at least one of providers'])
  return found
}

function urlOf(value: unknown): URL | undefined {
  return typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
}

// Which route a request target belongs to, and the one canonical path under which it is matched and forwarded. Pure.
import type { RouteConfig } from '../config.ts'
import { isOwnPath } from '../config-values.ts'
import type { BearerPolicy } from '../oauth/access-token.ts'
import type { NamedApi, NamedExchange } from '../oauth/api-tokens.ts'
import type { Credential } from '../oauth/credentials.ts'
import type { Api } from '../oauth/token-set.ts'
import type { Destination } from '../platform.ts'

/** A request target in the one form that is matched and forwarded. */
export interface Target {
  /** Percent-encoding only where it is needed, no dot segments, nothing that two servers could read in two ways. */
  readonly path: string
  /** From the question mark on, byte for byte; empty without one. */
  readonly query: string
}

/** A route, with everything that can be worked out once. */
export interface Route extends RouteConfig {
  readonly origin: string
  readonly destination: Destination
  /** Path of the upstream URL, without a slash at the end. */
  readonly basePath: string
  /** For the header `Allow`. */
  readonly allow: string
  /** Whether a session is looked for. */
  readonly usesSession: boolean
  /** Whether somebody who is not signed in is served. */
  readonly servesAnybody: boolean
  /** The API that a user's token is asked for, if it is not the session's own token that goes up. */
  readonly api?: NamedApi | undefined
  /** What a user's token is exchanged for. */
  readonly exchange?: NamedExchange | undefined
  /** Who issues the application's own token, and for which API. */
  readonly client?: { readonly provider: string; readonly api: NamedApi } | undefined
  /** How tokens are checked that callers bring themselves, if any may. */
  readonly bearer?: BearerPolicy | undefined
  /** What goes up in place of a token. */
  readonly staticCredential?: Credential | undefined
}

const printable = /^\/[\x21-\x7e]*$/
const plain = /^\/[A-Za-z0-9\-_~!$&'()*+,;=:@/]*$/
const absoluteForm = /^https?:\/\/[^/?#]*/i
/**
 * What could be taken for a separator, an end or a step: backslashes, control characters, encodings of a slash or of one
 * of these, an encoding inside an encoding, and dot segments.
 */
const treacherous = /%(?:2f|5c|[01][0-9a-f]|7f|25[0-9a-f]{2})|[\\#]|\/\.{1,2}(?:;[^/]*)?(?=\/|$)/i
/** A dot segment once compatibility characters are what they look like, as in `．．／` (Unicode, NFKC). */
const disguisedStep = /[/\\]\.{1,2}(?:;[^/\\]*)?(?=[/\\]|$)/
/** What some upstreams leave out, and so see another path than the one that was matched: empty segments and path parameters. */
const leftOut = /\/\/|;|%3b/i
const longest = 16_384

/**
 * The canonical form of a request target, or `undefined` if it has none. What two servers could read in two ways is
 * refused, never repaired.
 */
export function canonicalTarget(target: string): Target | undefined {
  if (target !== latest.target) latest = { target, canonical: canonicalized(target) }
  return latest.canonical
}

/** Several steps of one request ask about the same target. */
let latest: { target: string; canonical: Target | undefined } = { target: '/', canonical: { path: '/', query: '' } }

function canonicalized(target: string): Target | undefined {
  // A proxy in front may use the absolute form (RFC 9112, section 3.2.2); its authority decides nothing here.
  const origin = target.charCodeAt(0) === 47 ? target : target.replace(absoluteForm, '') || '/'
  const at = origin.indexOf('?')
  const raw = at === -1 ? origin : origin.slice(0, at)
  const query = at === -1 ? '' : origin.slice(at)
  if (query !== '' && !/^[\x21-\x7e]*$/.test(query)) return undefined
  if (origin.length > longest || query.includes('#')) return undefined
  if (plain.test(raw)) return { path: raw, query }
  if (!printable.test(raw)) return undefined
  try {
    if (disguisedStep.test(decodeURIComponent(raw).normalize('NFKC'))) return undefined
  } catch {
    return undefined
  }
  const path = raw.replace(/%([0-9a-f]{2})/gi, (encoded, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16))
    return /[A-Za-z0-9\-._~]/.test(char) ? char : encoded.toUpperCase()
  })
  // Only now: decoding what needs no encoding may have put together what was taken apart.
  return treacherous.test(path) ? undefined : { path, query }
}

/** Finds the route of a canonical path: the longest prefix that ends on a segment boundary. */
export type RouteMatcher = (path: string) => Route | undefined

/** @param firstProvider who issues the application's own tokens, and those that callers bring, where a route does not say. */
export function routeMatcher(configs: readonly RouteConfig[], firstProvider = ''): RouteMatcher {
  const destinations = new Map<string, Destination>()
  const routes = new Map(configs.map((config) => [config.path, prepared(config, firstProvider, destinations)]))
  const root = routes.get('/')
  return (path) => {
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      const route = routes.get(path.slice(0, end))
      if (route) return route
    }
    return root
  }
}

function prepared(config: RouteConfig, firstProvider: string, destinations: Map<string, Destination>): Route {
  const { token } = config
  const { kind } = token
  const ofUser = kind === 'user' || kind === 'user-or-none' || kind === 'user-or-client'
  const ofClient = kind === 'client' || kind === 'user-or-client'
  return {
    ...config,
    origin: config.upstream.origin,
    destination: destinationOf(config, destinations),
    basePath: config.upstream.pathname.replace(/\/$/, ''),
    allow: config.methods.join(', '),
    usesSession: kind !== 'none' && kind !== 'client',
    servesAnybody: kind === 'none' || kind === 'user-or-none' || ofClient,
    api: ofUser && (token.resource ?? token.audience ?? token.scope) !== undefined ? named(token) : undefined,
    exchange: kind === 'exchange' ? named(token) : undefined,
    client: ofClient ? { provider: token.provider ?? firstProvider, api: named(token) } : undefined,
    bearer: config.bearer && bearerPolicy(config.bearer, firstProvider),
    staticCredential: kind === 'static' ? apiKey(token) : undefined,
  }
}

/** An API with a name that only the same API has. */
function named<T extends Api & { readonly requestedTokenType?: string }>(api: T): T & { readonly name: string } {
  const { resource, audience, scope, requestedTokenType } = api
  return { ...api, name: JSON.stringify([resource, audience, scope, requestedTokenType]) }
}

/** A policy with a name that only those have which check the same. */
export function bearerPolicy(config: NonNullable<RouteConfig['bearer']>, firstProvider: string): BearerPolicy {
  const provider = config.provider ?? firstProvider
  const { audience, algs, anyType, introspection } = config
  return { ...config, provider, name: JSON.stringify([provider, audience, algs, anyType, introspection]) }
}

function apiKey({ header, scheme, value }: Extract<RouteConfig['token'], { kind: 'static' }>): Credential {
  const before = scheme ?? (header === 'authorization' ? 'Bearer' : '')
  return { header, value: before === '' ? value : `${before} ${value}` }
}

/** Routes to one origin share its connections if they would make them in the same way, and only then. */
function destinationOf({ upstream, http2, tls }: RouteConfig, known: Map<string, Destination>): Destination {
  const { ca, cert, key, serverName, binding } = tls ?? {}
  const settings = JSON.stringify([upstream.origin, http2, ca, cert, key, serverName, binding])
  const destination = known.get(settings) ?? { origin: upstream.origin, http2, tls }
  known.set(settings, destination)
  return destination
}

/** Tells of a request target, as sent, whether its route has WebSockets. */
export function webSockets(routes: RouteMatcher): (requestTarget: string) => boolean {
  return (requestTarget) => {
    const target = canonicalTarget(requestTarget)
    // A route at `/` has every path but ours.
    return target !== undefined && !isOwnPath(target.path) && !!routes(target.path)?.websocket
  }
}

/**
 * Path and query for the upstream: the prefix of the route replaced by the path of its upstream. `undefined` for a path
 * that an upstream might read as that of another route.
 */
export function upstreamPath(route: Route, { path, query }: Target): string | undefined {
  const rest = route.path === '/' ? path : path.slice(route.path.length)
  const full = `${route.basePath}${rest}` || '/'
  return leftOut.test(full) ? undefined : full + query
}

/**
 * What a `Location` of the upstream means in the browser: a path of this route, or `undefined` for everything that leads
 * elsewhere.
 */
export function browserLocation(route: Route, location: string, requestPath: string): string | undefined {
  const base = `${route.origin}${requestPath}`
  const url = URL.canParse(location, base) ? new URL(location, base) : undefined
  if (url?.origin !== route.origin || url.username || url.password) return undefined
  const inside = url.pathname === route.basePath || url.pathname.startsWith(`${route.basePath}/`)
  if (!inside) return undefined
  const prefix = route.path === '/' ? '' : route.path
  const path = `${prefix}${url.pathname.slice(route.basePath.length)}` || '/'
  return path.startsWith('//') ? undefined : `${path}${url.search}${url.hash}`
}

// What goes up to an API and what comes down to the browser. Pure.
import { ownAnswerHeaders, strictTransport } from '../answers.ts'
import { type HeaderList, type HeaderRecord, headerText } from '../platform.ts'
import { csrfHeader, errorHeader } from '../wire.ts'
import { traceContext } from './trace-context.ts'

/** Belong to one connection, not to the message (RFC 9110, section 7.6.1). */
const hopByHop = 'connection keep-alive proxy-connection te trailer trailers transfer-encoding upgrade http2-settings'

/**
 * Never forwarded from a browser: what authenticates, what a trusted hop would say of the client or of the connection, what
 * names the user, what makes one request look like another, and what is between browser and coatcheck only. A `*` stands
 * for whatever follows. docs/upstreams.md has the same list, held by a test.
 */
export const withheldFromPages = {
  'belong to one connection, or to the message on it': `${hopByHop} proxy proxy-* host content-length expect via`,
  'would authenticate': `cookie cookie2 authorization dpop sec-token-binding secure-session-* sec-secure-session-id
    x-id-token* x-access-token* x-jwt-* impersonate-*`,
  'say where a request comes from': `forwarded forwarded-* x-forwarded x-forwarded-* x-forward-* x-original-forwarded-for x-real-ip
    x-client-ip x-cluster-client-ip true-client-ip client-ip fastly-client-ip x-azure-clientip x-appengine-user-ip
    x-originating-* x-proxyuser-* wl-proxy-* cf-* x-envoy-* x-request-start x-scheme x-url-scheme front-end-https x-ssl-* ssl-*
    x-client-cert* x-client-dn x-client-s-dn x-client-cn x-client-verify client-cert* x-arr-* x-amzn-*`,
  'say who the user is': `x-user x-username x-userid x-user-id x-user-name x-user-email x-user-mail x-user-role x-user-roles
    x-user-group x-user-groups x-user-sub x-user-subject x-user-info x-user-claims x-user-permissions x-user-scopes x-email
    x-groups x-roles x-auth-user x-auth-userid x-auth-username x-auth-name x-auth-email x-auth-role x-auth-roles x-auth-groups
    x-auth-subject remote-* x-remote-* tailscale-user-* x-authentik-* x-authenticated-* x-auth-request-* x-webauth-* x-consumer-*
    x-credential-* x-anonymous-* x-goog-authenticated-* x-goog-iap-* x-endpoint-api-userinfo x-apigateway-api-userinfo
    x-ms-client-* x-ms-token-* x-pomerium-* x-vouch-* x-userinfo* oidc-*`,
  'make it another request': `x-original-url x-rewrite-url x-original-uri x-original-method x-http-method
    x-http-method-override x-method-override x-original-host x-host x-backend-host`,
  'are for coatcheck to say': `traceparent tracestate x-hono-* sec-websocket-* ${csrfHeader} ${errorHeader}`,
} as const
const namesUp = Object.values(withheldFromPages).flatMap((names) => names.split(/\s+/))
const withheldUp = new Set(namesUp)
const withheldUpPrefix = startingWith(...namesUp.flatMap((name) => (name.endsWith('*') ? [name.slice(0, -1)] : [])))

/**
 * Never passed on to a browser: what would change the state of our own origin (R518-R524), what coatcheck says itself,
 * and what describes the upstream's insides.
 */
const withheldDown = new Set(
  `${hopByHop} set-cookie set-cookie2 clear-site-data strict-transport-security public-key-pins
  public-key-pins-report-only service-worker-allowed service-worker-navigation-preload refresh alt-svc alt-used
  www-authenticate authentication-info proxy-authenticate proxy-authentication-info content-security-policy
  content-security-policy-report-only permissions-policy permissions-policy-report-only feature-policy document-policy
  document-policy-report-only require-document-policy integrity-policy integrity-policy-report-only
  document-isolation-policy document-isolation-policy-report-only shared-storage-write x-allow-fledge
  x-dns-prefetch-control x-ua-compatible x-sendfile x-lighttpd-send-file x-reproxy-url surrogate-control
  surrogate-key edge-control x-litespeed-cache-control x-litespeed-tag x-litespeed-purge
  cross-origin-opener-policy cross-origin-opener-policy-report-only cross-origin-embedder-policy
  cross-origin-embedder-policy-report-only cross-origin-resource-policy origin-agent-cluster origin-trial nel report-to
  reporting-endpoints expect-ct accept-ch critical-ch accept-ch-lifetime link sourcemap x-sourcemap set-login
  speculation-rules supports-loading-mode activate-storage-access observe-browsing-topics no-vary-search
  use-as-dictionary x-frame-options x-xss-protection x-content-type-options x-permitted-cross-domain-policies
  referrer-policy timing-allow-origin server x-powered-by x-aspnet-version via location content-location early-data p3p dpop-nonce
  ${errorHeader}`.split(/\s+/),
)
const withheldDownPrefix = startingWith(
  'access-control- secure-session- sec- proxy- x-hono- x-accel- attribution-reporting- ad-auction- [a-z-]*cdn-cache-control',
)

function startingWith(...lists: string[]): RegExp {
  return new RegExp(`^(?:${lists.join(' ').replaceAll(' ', '|')})`)
}

/** Longest name whose verdict is remembered. */
const longestRemembered = 64

/** Verdicts by header name, so that the rules run once a name; bounded both ways, because names come from outside. */
function remembering(isWithheld: (name: string) => boolean): (name: string) => boolean {
  const verdicts = new Map<string, boolean>()
  return (name) => {
    const known = verdicts.get(name)
    if (known !== undefined) return known
    const verdict = isWithheld(name)
    if (verdicts.size < 2_000 && name.length <= longestRemembered) verdicts.set(name, verdict)
    return verdict
  }
}

const isWithheldUp = remembering((name) => withheldUp.has(name) || name.includes('_') || withheldUpPrefix.test(name))
const isWithheldDown = remembering((name) => withheldDown.has(name) || withheldDownPrefix.test(name))

/** What coatcheck itself tells an upstream about a request. */
export interface UpstreamFacts {
  /** What authenticates the call: a header and its value. Nothing of that name comes from the browser. */
  readonly credential: { readonly header: string; readonly value: string } | undefined
  /** Proof that goes with a token bound to a key (RFC 9449). */
  readonly proof?: string | undefined
  /** Address of the browser, as the trusted hops report it. */
  readonly clientAddress: string | undefined
  /** From `publicUrl`. */
  readonly proto: string
  readonly host: string
  readonly contentLength: string | undefined
  /** Takes the place of the page's, where the upstream wants to see its own. */
  readonly origin?: string | undefined
}

/** The headers for the upstream. `Host` is left to the transport: it is the upstream's own. */
export function towardsUpstream(inbound: HeaderRecord, facts: UpstreamFacts): HeaderList {
  const { credential } = facts
  const named = inbound.connection === undefined ? undefined : connectionTokens(inbound)
  const out: HeaderList = []
  for (const name in inbound) {
    if (isWithheldUp(name) || named?.has(name) || name === credential?.header) continue
    const value = name === 'origin' ? (facts.origin ?? inbound[name]) : inbound[name]
    if (value !== undefined) out.push(name, typeof value === 'string' ? value : value.join(', '))
  }
  if (credential !== undefined) out.push(credential.header, credential.value)
  if (facts.proof !== undefined) out.push('dpop', facts.proof)
  if (facts.contentLength !== undefined) out.push('content-length', facts.contentLength)
  if (facts.clientAddress !== undefined) out.push('x-forwarded-for', facts.clientAddress)
  const trace = traceContext(headerText(inbound, 'traceparent'))
  out.push('x-forwarded-proto', facts.proto, 'x-forwarded-host', facts.host, 'traceparent', trace.parent)
  const state = trace.continued ? headerText(inbound, 'tracestate') : undefined
  if (state !== undefined) out.push('tracestate', state)
  return out
}

/**
 * Whether the body of an answer is in a transfer coding that nobody asked for and nobody here undoes (RFC 9112, section 6.1):
 * its name would be taken off, and the body left as it is.
 */
export function isCoded({ 'transfer-encoding': coding }: HeaderRecord): boolean {
  return coding !== undefined && coding !== 'chunked' && !/^(?:chunked|identity)$/i.test(String(coding))
}

/** What decides about the headers of one answer. */
export interface BrowserFacts {
  /** Whether the answer depends on a session: then nobody but this browser may keep it. */
  readonly fromSession: boolean
  /** Whether our origin is https. */
  readonly isSecure: boolean
  readonly setCookie: readonly string[]
  /** `WWW-Authenticate` in our own words, for a caller that understands it. */
  readonly challenge?: string | undefined
  /** Rewritten `Location`, if the upstream sent one that stays inside the route. */
  readonly location: string | undefined
}

/** The headers for the browser. */
export function towardsBrowser(outbound: HeaderRecord, facts: BrowserFacts): HeaderList {
  const named = outbound.connection === undefined ? undefined : connectionTokens(outbound)
  const isPrivate = facts.fromSession || facts.setCookie.length > 0
  const out: HeaderList = []
  for (const name in outbound) {
    if (isWithheldDown(name) || named?.has(name)) continue
    if (isPrivate && (name === 'cache-control' || name === 'expires' || name === 'pragma' || name === 'vary')) continue
    const value = outbound[name]
    if (typeof value === 'string') out.push(name, value)
    else for (const one of value ?? []) out.push(name, one)
  }
  if (facts.location !== undefined) out.push('location', facts.location)
  if (facts.challenge !== undefined) out.push('www-authenticate', facts.challenge)
  if (isPrivate) {
    const vary = headerText(outbound, 'vary')
    out.push('cache-control', 'no-store', 'vary', vary === undefined ? 'Cookie' : `${vary}, Cookie`)
  }
  out.push(...inert)
  if (facts.isSecure) out.push(...strictTransport)
  for (const cookie of facts.setCookie) out.push('set-cookie', cookie)
  return out
}

/** An API answer is data: whatever it is opened as, it does not run on our origin (ASVS 3.2.1). */
const inert: HeaderList = [
  'content-security-policy',
  "default-src 'none'; sandbox; frame-ancestors 'none'",
  'x-content-type-options',
  ownAnswerHeaders['x-content-type-options'],
  'cross-origin-resource-policy',
  ownAnswerHeaders['cross-origin-resource-policy'],
]

function connectionTokens(headers: HeaderRecord): Set<string> | undefined {
  const value = headerText(headers, 'connection')
  if (value === undefined || value === 'keep-alive' || value === 'close') return undefined
  return new Set(value.toLowerCase().split(/[\s,]+/))
}

// Who may ask: the same-origin guard, and where a login may return to.
import { CoatcheckError } from './errors.ts'
import { type HeaderRecord, headerText } from './platform.ts'
import { csrfHeader } from './wire.ts'

/**
 * Refuses what does not come from a page of the application, whatever its method or content type (RFC 10017, section
 * 6.1.3.3; OWASP CSRF). Fetch Metadata decides where the browser sends it, `Origin` where it does not, and the header
 * `X-CSRF: 1` where there is neither: no other site can send that without a preflight, and none is ever granted.
 *
 * @param mode `header` asks for `X-CSRF: 1` besides.
 * @throws CoatcheckError `csrf_rejected`
 */
export function requireSameOrigin(
  headers: HeaderRecord,
  publicOrigin: string,
  mode: 'fetch-metadata' | 'header',
): void {
  refuseElsewhere(headers, publicOrigin)
  const site = headers['sec-fetch-site']
  const origin = headers.origin
  if (site === 'none') throw rejected('cross_origin')
  const hasHeader = headers[csrfHeader] === '1'
  if (mode === 'header' && !hasHeader) throw rejected('csrf_header_missing')
  if (site !== 'same-origin' && origin === undefined && !hasHeader) throw rejected('csrf_unproven')
}

/**
 * Refuses what says itself that it comes from another origin, and a WebSocket handshake that does not say where it comes from.
 * @throws CoatcheckError `csrf_rejected`
 */
export function refuseElsewhere(headers: HeaderRecord, publicOrigin: string): void {
  const { origin } = headers
  const site = headers['sec-fetch-site']
  if (origin !== undefined && origin !== publicOrigin) throw rejected('cross_origin')
  if (site === 'same-site' || site === 'cross-site') throw rejected('cross_origin')
  // Browsers send no Fetch Metadata with a handshake, and always an Origin (R312).
  if (origin === undefined && isWebSocket(headers)) throw rejected('csrf_unproven')
}

/** Whether a request asks to become a WebSocket. */
function isWebSocket({ upgrade }: HeaderRecord): boolean {
  return typeof upgrade === 'string' && /\bwebsocket\b/i.test(upgrade)
}

function rejected(reason: 'cross_origin' | 'csrf_header_missing' | 'csrf_unproven'): CoatcheckError {
  return new CoatcheckError('csrf_rejected', reason)
}

/** Ways in which a browser would render or run an answer. API data is for none of them (ASVS 3.5.8). */
const rendered = new Set([
  'document',
  'iframe',
  'frame',
  'fencedframe',
  'embed',
  'object',
  'script',
  'worker',
  'sharedworker',
  'serviceworker',
  'audioworklet',
  'paintworklet',
  'style',
  'xslt',
  'sharedstorageworklet',
])

/** Refuses requests whose answer would become a document, frame, script or worker. @throws CoatcheckError `forbidden` */
export function requireDataDestination(headers: HeaderRecord): void {
  const destination = headers['sec-fetch-dest']
  if (typeof destination === 'string' && rendered.has(destination)) {
    throw new CoatcheckError('forbidden', 'destination_refused')
  }
}

/** What a request for a sign-in page is: a navigation of the whole tab, from here, or one that somebody else began. */
export type Navigation = 'own' | 'foreign'

/**
 * Tells who started a navigation to the login endpoint.
 * @throws CoatcheckError `forbidden` for what is no top-level navigation: fetch, frames, images, prefetch.
 */
export function requireNavigation(headers: HeaderRecord): Navigation {
  if (!isTopLevel(headers)) throw new CoatcheckError('forbidden', 'not_a_navigation')
  const site = headers['sec-fetch-site']
  return site === 'cross-site' || site === 'same-site' ? 'foreign' : 'own'
}

/** Whether the answer is for a person to see: a navigation of a whole tab, and no prefetch. */
export function isTopLevel(headers: HeaderRecord): boolean {
  const mode = headers['sec-fetch-mode']
  const destination = headers['sec-fetch-dest']
  const purpose = `${headerText(headers, 'sec-purpose') ?? ''}${headerText(headers, 'purpose') ?? ''}`
  const isNavigation =
    (mode === undefined || mode === 'navigate') && (destination === undefined || destination === 'document')
  return isNavigation && !purpose.includes('prefetch')
}

/** Whether a page of this site began a navigation by itself, as far as browsers say: no click, address bar or bookmark did. */
export function wasSentByPage(headers: HeaderRecord): boolean {
  return headers['sec-fetch-site'] === 'same-origin' && headers['sec-fetch-user'] === undefined
}

/**
 * Whether a request may be answered by what the session in its cookies is: only navigations that no other site began, so
 * that none learns from the answer whether somebody is signed in (OWASP XS-Leaks).
 */
export function mayShowSession(headers: HeaderRecord): boolean {
  const site = headers['sec-fetch-site']
  const mode = headers['sec-fetch-mode']
  return (
    (site === undefined || site === 'same-origin' || site === 'none') && (mode === undefined || mode === 'navigate')
  )
}

/** Longest path that is returned to after a login. */
const longestReturnTo = 1_024

/**
 * The path to return to after a login, or `/` for anything that is not a path of this site. What is returned is what was
 * checked: it means the same address when it is read again.
 */
export function safeReturnTo(value: string | undefined, publicOrigin: string): string {
  if (value === undefined || value.length > longestReturnTo || !/^\/[^\\\p{Cc}]*$/u.test(value)) return '/'
  const url = URL.canParse(value, publicOrigin) ? new URL(value, publicOrigin) : undefined
  if (url?.origin !== publicOrigin) return '/'
  const path = url.pathname + url.search + url.hash
  // Encoding makes it longer, and the cookie it is kept in must not be.
  if (path.length > longestReturnTo) return '/'
  const again = URL.canParse(path, publicOrigin) ? new URL(path, publicOrigin).href : undefined
  return again === url.href ? path : '/'
}

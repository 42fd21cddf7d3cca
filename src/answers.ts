// The answers coatcheck makes itself: problem documents, JSON, redirects. All of them say that nobody may keep them.
import { type ErrorCode, type ErrorDetails, errorCodes } from './errors.ts'
import { errorHeader, type Problem } from './wire.ts'

/** Headers of every answer that is made here and not by an upstream. They let nothing render, embed or remember it. */
export const ownAnswerHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

/** On every answer of an https origin: a year, as browsers want it at least (ASVS 3.4.1). */
export const strictTransport: [name: string, value: string] = ['strict-transport-security', 'max-age=31536000']

/** An answer before it becomes a `Response` or bytes on a socket. */
export interface PlainAnswer {
  status: number
  headers: [name: string, value: string][]
  body: string
}

/** The headers in which an error says more. */
export function detailHeaders({
  allow,
  retryAfter,
  challenge,
  setCookie = [],
}: ErrorDetails): [name: string, value: string][] {
  const headers = setCookie.map((cookie): [string, string] => ['set-cookie', cookie])
  if (allow !== undefined) headers.push(['allow', allow])
  if (challenge !== undefined) headers.push(['www-authenticate', challenge])
  if (retryAfter !== undefined) headers.push(['retry-after', String(retryAfter)])
  return headers
}

/** JSON leaves out what is undefined. */
type Undefinable<T> = { [K in keyof T]: T[K] | undefined }

/** The problem document for an error (RFC 9457, `application/problem+json`). */
export function problem(code: ErrorCode, details: ErrorDetails = {}): PlainAnswer {
  const { status, title } = errorCodes[code]
  const headers: [string, string][] = [
    ['content-type', 'application/problem+json'],
    [errorHeader, code],
  ]
  headers.push(...Object.entries(ownAnswerHeaders), ...detailHeaders(details))
  // RFC 6455, section 4.4; RFC 9110, section 15.5.22.
  if (code === 'upgrade_required') {
    headers.push(['sec-websocket-version', '13'], ['upgrade', 'websocket'], ['connection', 'close, upgrade'])
  }
  const { detail, loginUrl, oauthError: error } = details
  return {
    status,
    headers,
    body: JSON.stringify({ status, title, code, detail, loginUrl, error } satisfies Undefinable<Problem>),
  }
}

/** The same as a `Response`. */
export function problemResponse(code: ErrorCode, details?: ErrorDetails): Response {
  const { status, headers, body } = problem(code, details)
  return new Response(body, { status, headers })
}

/** JSON for the page. */
export function jsonResponse(body: object, setCookie: readonly string[] = []): Response {
  const headers = new Headers({ ...ownAnswerHeaders, 'content-type': 'application/json' })
  for (const cookie of setCookie) headers.append('set-cookie', cookie)
  return new Response(JSON.stringify(body), { headers })
}

/** Sends the browser on. 303: whatever the request was, the next one is a GET (RFC 9700, section 4.12). */
export function seeOther(location: string, setCookie: readonly string[] = []): Response {
  const headers = new Headers({ ...ownAnswerHeaders, location })
  for (const cookie of setCookie) headers.append('set-cookie', cookie)
  return new Response(null, { status: 303, headers })
}

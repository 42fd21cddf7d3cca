// The network as seen from the relying party: answers bounded in size, failures named, redirects never followed.
import { CoatcheckError } from '../errors.ts'
import type { FetchInit, Platform } from '../platform.ts'
import type { Reason } from '../reasons.ts'

/** Nothing an authorization server has to say is longer. Bytes. */
const longestAnswer = 512 * 1_024

export type AuthorizationServerFetch = (url: string, init: FetchInit) => Promise<Response>

/**
 * Wraps the platform's `fetch`. The whole body is read before the caller sees the answer, so that the caller's time
 * limit (`init.signal`) covers it.
 *
 * @throws CoatcheckError `authorization_server_unavailable` with reason `timeout`, `unreachable` or `response_too_large`.
 */
export function authorizationServerFetch(fetch: Platform['fetch']): AuthorizationServerFetch {
  return async (url, init) => {
    try {
      const answer = await fetch(url, { ...init, redirect: 'manual' })
      const body = await read(answer)
      // 101, 204, 205 and 304 may not be built with a body.
      const empty = body.length === 0
      return new Response(empty ? null : body, { status: answer.status, headers: answer.headers })
    } catch (error) {
      if (error instanceof CoatcheckError) throw error
      const reason: Reason = init.signal?.aborted === true ? 'timeout' : 'unreachable'
      throw unavailable(reason, error)
    }
  }
}

/** JSON or a JWT, and says so. Whoever answers with a page is not the endpoint that was asked. */
export function isData({ headers }: Response): boolean {
  return /^application\/(?:[\w.+-]*\+)?(?:json|jwt)\b/i.test(headers.get('content-type') ?? '')
}

export function isJwt({ headers }: Response): boolean {
  return /^application\/(?:[\w.+-]*\+)?jwt\b/i.test(headers.get('content-type') ?? '')
}

async function read(answer: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let length = 0
  const reader = answer.body?.getReader()
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
    if (done || value === undefined) break
    length += value.length
    if (length > longestAnswer) {
      void reader?.cancel().catch(() => {})
      throw unavailable('response_too_large')
    }
    chunks.push(value)
  }
  const body = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}

/** Seconds a client is asked to wait before it tries again while an authorization server is away. */
const retryAfter = 5

/** The error for an authorization server that cannot be talked to: the session is kept, the request is not served. */
export function unavailable(reason: Reason, cause?: unknown, seconds = retryAfter): CoatcheckError {
  return new CoatcheckError('authorization_server_unavailable', reason, { retryAfter: seconds }, cause)
}

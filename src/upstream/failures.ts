// Node: from what a network call, a parser or undici throws to our own reasons.
import { CoatcheckError } from '../errors.ts'

/** An idle connection that the upstream closed just when it was used again: the request was never looked at. */
export function isStaleConnection(error: NetworkError): boolean {
  return error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE'
}

/** undici breaks off where an upstream says `100 Continue`, which we ask nobody for; it has no code of its own for that. */
function isContinue({ code, message }: NetworkError): boolean {
  return code === 'UND_ERR_SOCKET' && message === 'bad response'
}

interface NetworkError extends Error {
  code?: string
}

/** What a failure of Node's network calls, of a parser or of undici means to the browser. */
export function failure(error: NetworkError): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  if (isContinue(error)) return new CoatcheckError('upstream_invalid', 'upstream_continue', {}, error)
  if (isStaleConnection(error)) return new CoatcheckError('upstream_unreachable', 'upstream_reset', {}, error)
  const isGarbage = error.code?.startsWith('HPE_') || error.name === 'HTTPParserError' || !isNetworkError(error)
  if (isGarbage) return new CoatcheckError('upstream_invalid', 'upstream_garbage', {}, error)
  return new CoatcheckError('upstream_unreachable', 'unreachable', {}, error)
}

/** Errors of the system's network calls, and undici's own time-out for connecting. */
function isNetworkError(error: NetworkError): boolean {
  return (
    /^(E[A-Z]+|UND_ERR_CONNECT_TIMEOUT|CERT_|ERR_TLS|UNABLE_|DEPTH_|SELF_)/.test(error.code ?? '') || 'errors' in error
  )
}

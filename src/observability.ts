// What coatcheck tells its operator: every log event as a type. No field can hold a token, a code or text from outside.
import type { ErrorCode } from './errors.ts'
import { type CheckedClaim, type OAuthError, type Reason, reasons } from './reasons.ts'

/** Every event. `session` is the public id of a session, `provider` and `route` are names from the configuration. */
export type LogEvent =
  | { event: 'server.listening'; url: string }
  | { event: 'keys.reloaded'; numbers: readonly number[] }
  | { event: 'server.stopping' }
  | { event: 'server.stopped' }
  /** Nobody read the log, or the disk was full: so many lines are missing before this one. */
  | { event: 'log.incomplete'; lines: number }
  | { event: 'provider.ready'; provider: string }
  | { event: 'provider.unavailable'; provider: string; reason: Reason }
  | { event: 'store.ready' }
  | { event: 'store.unavailable'; reason: Reason }
  | { event: 'login.started'; provider: string }
  | { event: 'login.asked'; reason: Reason }
  | { event: 'login.completed'; provider: string; session: string; cookieBytes: number }
  | LoginFailed
  | { event: 'login.stale'; reason: Reason; signedIn: boolean }
  | { event: 'session.ended'; session: string; reason: Reason }
  | { event: 'session.rejected'; reason: Reason }
  | { event: 'logout.returned'; confirmed: boolean }
  | { event: 'backchannel.logout'; provider: string; wholeUser: boolean }
  | { event: 'frontchannel.logout'; provider: string }
  | { event: 'revocation.failed'; provider: string; reason: Reason }
  | { event: 'refresh.completed'; provider: string; session: string; generation: number; milliseconds: number }
  | { event: 'refresh.failed'; provider: string; session: string; reason: Reason; sessionKept: boolean }
  | { event: 'token.failed'; provider: string; reason: Reason }
  | { event: 'bearer.unchecked'; provider: string; reason: Reason }
  | { event: 'userinfo.failed'; provider: string; reason: Reason }
  | { event: 'store.failed'; reason: Reason }
  | { event: 'upstream.failed'; route: string; code: ErrorCode; reason: Reason }
  | { event: 'upstream.token_refused'; route: string; reason: Reason }
  /**
   * One for each call that went up, or was about to: when its answer is over, or was refused, or (`status` 499) when the browser
   * left before there was one. `milliseconds` is all of it, `upstreamMilliseconds` the wait for the head of the answer,
   * `tokenMilliseconds` the wait for a token; bytes are those of the bodies.
   */
  | {
      event: 'request.forwarded'
      route: string
      method: string
      status: number
      milliseconds: number
      upstreamMilliseconds: number
      tokenMilliseconds: number
      requestBytes: number | undefined
      responseBytes: number | undefined
      session: string | undefined
    }
  | { event: 'client.gone'; route: string }
  | { event: 'client.stalled'; route: string }
  | { event: 'stream.ended'; route: string; session: string }
  | { event: 'websocket.opened'; route: string; session?: string | undefined }
  | WebSocketClosed
  | { event: 'upstream.redirect_blocked'; route: string; reason: Reason }
  | {
      event: 'request.refused'
      code: ErrorCode
      reason: Reason
      route?: string | undefined
      oauthError?: OAuthError | undefined
      claim?: CheckedClaim | undefined
    }
  | { event: 'internal.error'; reason: Reason; error: string; at?: string | undefined }

/**
 * A sign-in that failed. `oauthError` is what the authorization server answered, if that is a registered error; `claim` the one
 * that the reason is about.
 */
type LoginFailed = {
  event: 'login.failed'
  provider: string
  reason: Reason
  detail?: string | undefined
  oauthError?: OAuthError | undefined
  claim?: CheckedClaim | undefined
}

/** A WebSocket that ended: by whom, how (`closeCode` as in RFC 6455, section 7.4.1), after what. Only numbers come from outside. */
type WebSocketClosed = {
  event: 'websocket.closed'
  route: string
  session?: string | undefined
  by: 'browser' | 'upstream' | 'coatcheck'
  closeCode: number
  reason?: Reason | undefined
  milliseconds: number
  messagesUp: number
  bytesUp: number
  messagesDown: number
  bytesDown: number
}

export type EventName = LogEvent['event']
export type Level = 'debug' | 'info' | 'warn' | 'error'

/** How severe each event is. */
export const levels: Record<EventName, Level> = {
  'server.listening': 'info',
  'keys.reloaded': 'info',
  'server.stopping': 'info',
  'server.stopped': 'info',
  'log.incomplete': 'warn',
  'provider.ready': 'info',
  'provider.unavailable': 'error',
  'store.ready': 'info',
  'store.unavailable': 'error',
  'login.started': 'info',
  'login.asked': 'info',
  'login.completed': 'info',
  'login.failed': 'warn',
  'login.stale': 'info',
  'session.ended': 'info',
  'session.rejected': 'info',
  'logout.returned': 'info',
  'backchannel.logout': 'info',
  'frontchannel.logout': 'info',
  'revocation.failed': 'warn',
  'refresh.completed': 'info',
  'refresh.failed': 'warn',
  'token.failed': 'warn',
  'bearer.unchecked': 'warn',
  'userinfo.failed': 'warn',
  'store.failed': 'error',
  'upstream.failed': 'warn',
  'upstream.token_refused': 'warn',
  'request.forwarded': 'info',
  'client.gone': 'debug',
  'client.stalled': 'info',
  'stream.ended': 'info',
  'websocket.opened': 'info',
  'websocket.closed': 'info',
  'upstream.redirect_blocked': 'warn',
  'request.refused': 'info',
  'internal.error': 'error',
}

/** Takes an event; never throws and never waits. */
export type Log = (event: LogEvent) => void

/** The event as one JSON object: what it is, how bad, when, and a reason in words where there is one. */
export function logLine(event: LogEvent, now: number): { level: Level; time: string; [name: string]: unknown } {
  const reason = 'reason' in event && event.reason ? { explanation: reasons[event.reason] } : undefined
  return { level: levels[event.event], time: new Date(now).toISOString(), ...event, ...reason }
}

const severity: Record<Level | 'silent', number> = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 }

/** Whether an event is severe enough for a configured level. */
export function isLogged(event: LogEvent, level: Level | 'silent'): boolean {
  // Supervisors wait for this one.
  if (event.event === 'server.listening') return true
  return severity[levels[event.event]] >= severity[level]
}

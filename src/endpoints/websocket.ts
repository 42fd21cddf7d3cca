// A WebSocket on its way along a route: what is told of it, and what ends it besides the two sides.
import type { RouteConfig } from '../config.ts'
import type { Credential } from '../oauth/credentials.ts'
import type { Platform, WebSocketCall } from '../platform.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Bearer } from './attempt.ts'

/** How a route has WebSockets, if it has any. */
export type WebSocketSettings = Exclude<RouteConfig['websocket'], false>

/** What a WebSocket is opened with, and what is told of it. */
export interface WebSocketParts {
  session: Session | undefined
  credential: Credential | undefined
  bearer: Bearer | undefined
  platform: Pick<Platform, 'log' | 'now'>
  sessions: Pick<Sessions, 'requireLive' | 'whenOver'>
}

/** Longest that a timer can wait, in milliseconds. */
export const longestTimer = 2 ** 31 - 1

/**
 * The WebSocket of a call: until its session ends or, where the route says so, the access token that it was opened with; that of a
 * caller who brought the token always ends with it. RFC 6455 has no way to give an open connection another.
 *
 * @param route its path.
 * @param protocols that the browser offers.
 */
export function webSocketCall(
  route: string,
  { messageLimit, idleTimeout, until }: WebSocketSettings,
  protocols: readonly string[],
  { session, credential, bearer, platform: { log, now }, sessions }: WebSocketParts,
): WebSocketCall {
  const id = session?.id
  const tokenEnd = until === 'token' ? credential?.token?.expiresAt : undefined
  return {
    protocols,
    messageLimit,
    idleTimeout,
    live: async () => session && sessions.requireLive(session),
    opened(end) {
      const openedAt = now()
      log({ event: 'websocket.opened', route, session: id })
      const unwatch = session
        ? sessions.whenOver(session, () => end('websocket_session_over'))
        : bearer?.whenOver(() => end('websocket_token_over'))
      const rest = tokenEnd === undefined ? Number.POSITIVE_INFINITY : tokenEnd - openedAt
      const timer = rest > longestTimer ? undefined : setTimeout(() => end('websocket_token_over'), rest)
      return ({ by, closeCode, reason, up, down }) => {
        unwatch?.()
        clearTimeout(timer)
        const traffic = {
          ...{ messagesUp: up.messages, bytesUp: up.bytes },
          ...{ messagesDown: down.messages, bytesDown: down.bytes },
        }
        const milliseconds = now() - openedAt
        log({ event: 'websocket.closed', route, session: id, by, closeCode, reason, milliseconds, ...traffic })
      }
    },
  }
}

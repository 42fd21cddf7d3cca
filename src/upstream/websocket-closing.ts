// How each side of a WebSocket is told that it is over (RFC 6455, section 7.4). Pure.
import type { WebSocketReason } from '../platform.ts'

/** A close code, and a word on it for whoever debugs the other end. */
export type Closing = readonly [code: number, text: string]

/** What both sides are told when we end a WebSocket; `dropped` for a connection that is cut without a word. */
export const closings: Record<WebSocketReason, { browser: Closing; upstream: Closing } | 'dropped'> = {
  // 4000-4999 are the application's own (section 7.4.2). The page signs in again, or opens a new one.
  websocket_session_over: { browser: [4401, 'session ended'], upstream: [1001, 'session ended'] },
  websocket_token_over: { browser: [4401, 'token expired'], upstream: [1001, 'token expired'] },
  websocket_idle: { browser: [1001, 'idle'], upstream: [1001, 'idle'] },
  websocket_silent: 'dropped',
  // The side that is to blame is told 1009, 1002 or 1007 by whoever noticed; this is for the other one.
  websocket_message_too_large: { browser: [1009, 'message too large'], upstream: [1001, 'message too large'] },
  websocket_protocol_error: { browser: [1011, 'protocol error'], upstream: [1001, 'protocol error'] },
  websocket_server_stopping: { browser: [1001, 'server stopping'], upstream: [1001, 'server stopping'] },
}

/** Stands for a close frame without a code. Never sent. */
export const noCode = 1005
/** Stands for a connection that ended without a close frame. Never sent. */
export const noCloseFrame = 1006

/** The code with which we end it, as the browser sees it. */
export function closeCodeOf(reason: WebSocketReason): number {
  const closing = closings[reason]
  return closing === 'dropped' ? noCloseFrame : closing.browser[0]
}

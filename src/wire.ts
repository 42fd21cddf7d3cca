// What crosses to the browser and is relied on there: header names and JSON bodies.

/** Names the error on every answer coatcheck makes itself. Upstream answers never carry it. */
export const errorHeader = 'coatcheck-error'

/** The header a page sends where neither Fetch Metadata nor `Origin` can speak for it: `X-CSRF: 1`. */
export const csrfHeader = 'x-csrf'

/** Name of the `BroadcastChannel` on which a sign-in in a window of its own says that it is over. */
export const loginChannel = 'coatcheck-login'

/** Where such a window ends. */
export const popupPath = '/auth/popup'

/** Body of an error answer, `application/problem+json` (RFC 9457). */
export interface Problem {
  status: number
  title: string
  /** Stable, for programs. */
  code: string
  detail?: string
  /** Where to navigate to sign in, when that helps. */
  loginUrl?: string
  /** For authorization servers (RFC 6749, section 5.2). */
  error?: string
}

/** Body of `GET` and `POST /auth/session`. Times are in seconds from now. */
export type SessionInfo =
  | { authenticated: false }
  | {
      authenticated: true
      /** The claims that `session.claims` names, as far as the provider sent them. */
      user: Record<string, unknown>
      provider: string
      session: {
        /** Public name of the session; it opens nothing. */
        id: string
        /** Until the session ends for want of activity. */
        expiresIn: number
        /** Until it ends whatever happens. */
        absoluteExpiresIn: number
        /** `reauth_required`: the user is known, but the access token is gone and cannot be renewed. */
        state: 'active' | 'reauth_required'
        /** There when the sign-in took the place of another user's session in this browser: say who it is now. */
        replacedUser?: true
      }
    }

/** Body of `GET /auth/sessions`, newest first. */
export interface SessionsInfo {
  sessions: SessionEntry[]
}

/** A session of the signed-in user. */
export interface SessionEntry {
  /** Public name; `DELETE /auth/sessions/{id}` ends it. */
  id: string
  /** RFC 3339, UTC. */
  createdAt: string
  /** Last activity, to within a minute. RFC 3339, UTC. */
  lastSeenAt: string
  /** The `User-Agent` the session began with, at most 200 characters. */
  browser: string | undefined
  /** Whether it is the session that asks. */
  current: boolean
}

/** Body of `POST /auth/logout` for callers that ask for JSON. */
export interface LogoutInfo {
  /** Where to navigate next: the end-session endpoint of the authorization server, or the page after sign-out. */
  logoutUrl: string
}

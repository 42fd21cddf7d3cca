// The answer to a refresh, read by ourselves: the refresh token is spent by then, so nothing in it may be lost for a trifle.
import type { AuthorizationServerFetch } from './authorization-server-fetch.ts'
import type { TokenResponse } from './token-set.ts'

/** A token response of which only this is certain: each member has the type that it is to have. */
export interface RefreshAnswer extends TokenResponse {
  /** In lower case. Empty when it is none. */
  readonly token_type: string
  /** Whether there is an ID token that is not even text. */
  readonly hasOddIdToken: boolean
}

export type Members = Readonly<Record<string, unknown>>

/**
 * Wraps the fetch of refreshes and codes. openid-client makes the request and reads every refusal, but of a 200 it gets to
 * see no more than that there is one: it would throw the whole answer away for one odd member, or for an ID token that it
 * cannot place, and the next refresh token with it; and tokens that nobody saw, nobody can revoke. `refreshAnswer` takes it
 * out again, and `codeAnswer` what came for a code.
 */
export function keepingAnswers(fetch: AuthorizationServerFetch): AuthorizationServerFetch {
  return async (url, init) => {
    const answer = await fetch(url, init)
    if (answer.status !== 200) return answer
    const said: unknown = await answer
      .clone()
      .json()
      .catch(() => undefined)
    if (!isMembers(said)) return answer
    const { access_token, token_type, refresh_token, id_token, scope, expires_in } = said
    const { refresh_expires_in, refresh_token_expires_in, authorization_details } = said
    const members = { access_token, token_type, refresh_token, id_token, scope, expires_in }
    const kept = { ...members, refresh_expires_in, refresh_token_expires_in, authorization_details }
    return new Response(JSON.stringify({ access_token: '-', token_type: 'bearer', kept }), answer)
  }
}

/**
 * What the server said, with what is unusable as if it were left out. RFC 6749, section 5.1, wants a `token_type`; without
 * one a token is taken for the weakest kind, so that it never passes for one that is bound to a key.
 */
export function refreshAnswer(answer: Members): RefreshAnswer {
  const said = keptOf(answer)
  const { access_token, token_type, refresh_token, id_token, refresh_expires_in, refresh_token_expires_in } = said
  return {
    access_token: textOf(access_token) ?? '',
    token_type: isAbsent(token_type) ? 'bearer' : (textOf(token_type) ?? '').toLowerCase(),
    refresh_token: textOf(refresh_token),
    id_token: textOf(id_token),
    hasOddIdToken: !isAbsent(id_token) && typeof id_token !== 'string',
    scope: scopeOf(said.scope),
    expires_in: secondsOf(said.expires_in),
    refresh_expires_in,
    refresh_token_expires_in,
  }
}

/** What the server said, as it said it. */
export const keptOf = ({ kept }: Members): Members => (isMembers(kept) ? kept : {})

const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isAbsent = (value: unknown) => value === undefined || value === null

const textOf = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)

/** One text, or the list that some servers make of it. */
function scopeOf(scope: unknown): string | undefined {
  if (typeof scope === 'string') return scope
  const isList = Array.isArray(scope) && scope.every((one) => typeof one === 'string')
  return isList ? scope.join(' ') : undefined
}

function secondsOf(lifetime: unknown): number | undefined {
  const seconds = typeof lifetime === 'string' ? Number.parseFloat(lifetime) : lifetime
  return typeof seconds === 'number' && seconds >= 0 ? seconds : undefined
}

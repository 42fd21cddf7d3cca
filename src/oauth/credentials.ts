// What a call is authenticated with towards its upstream, by the token policy of its route.
import { LRUCache } from 'lru-cache'
import type { Session } from '../session/session.ts'
import type { Route } from '../upstream/routes.ts'
import type { ApiTokens } from './api-tokens.ts'
import type { Refresher } from './refresh.ts'
import { type AccessToken, isReplaceable } from './token-set.ts'

/** What authenticates one call. Stays behind the counter: it is only ever sent upstream. */
export interface Credential {
  /** Header that carries it, in lower case. */
  readonly header: string
  readonly value: string
  /** The access token in it, which may be stale; `undefined` for an API key. One that has a key needs a proof with it. */
  readonly token?: AccessToken | undefined
}

export interface Credentials {
  /**
   * The credential of a call: at once where everything is there, which is the steady state.
   * @param session the caller's, if there is one; without one `user-or-client` means the application itself.
   * @returns `undefined` where none is sent
   * @throws CoatcheckError what a refresh throws; `forbidden` or `insufficient_scope` when the authorization server gives no
   * token for this API
   */
  of(route: Route, session: Session | undefined): Credential | undefined | Promise<Credential | undefined>
  /** Whether another could be had in the place of `token` if the upstream refused it, and is likely to fare better. */
  isRenewable(route: Route, session: Session | undefined, token: AccessToken | undefined): boolean
  /** Says that the upstream took this one where it had refused the one before: so it may be had again as soon. */
  wasWorthIt(renewed: Credential | undefined): void
  /**
   * Another one in the place of `refused`.
   * @param unasked says that the answer has gone out, so that no browser gets the cookies that go with it.
   */
  renew(
    route: Route,
    session: Session | undefined,
    refused: AccessToken,
    unasked?: 'unasked',
  ): Promise<Credential | undefined>
}

/** So many tokens are replaced in a row, without a pause, while that helps. */
const mostInRow = 3

const made = new WeakMap<AccessToken, Credential>()

/** What sends a token. Made once: a token is sent with many calls. */
function withToken(token: AccessToken): Credential {
  const known = made.get(token)
  if (known) return known
  const value = `${token.key ? 'DPoP' : 'Bearer'} ${token.accessToken}`
  const credential = { header: 'authorization', value, token }
  made.set(token, credential)
  return credential
}

/** Goes on at once with what is there, else when it is. */
const then = <T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> =>
  value instanceof Promise ? value.then(next) : next(value)

export function createCredentials(refresher: Refresher, apiTokens: ApiTokens, now: () => number): Credentials {
  function ofUser(route: Route, session: Session, refused?: AccessToken): Credential | Promise<Credential> {
    const { token: policy, api, exchange } = route
    // The session's own tokens are not needed for a token that has its own renewal.
    if (api) return then(apiTokens.ofUser(session, api, refused), withToken)
    return then(refresher.ensureFresh(session), () => {
      if (exchange) return then(apiTokens.exchanged(session, exchange, refused), withToken)
      if (policy.kind === 'static') return route.staticCredential
      return withToken(session.holding.tokens)
    }) as Credential | Promise<Credential>
  }

  /** Replacements that were taken where the token before was refused. Whoever does not know of them waits a while. */
  const taken = new LRUCache<string, true>({ max: 5_000 })

  /** Whether a token is worth another because that helped the last time. An API that cannot decide has to wait, too. */
  const helped = ({ accessToken, replacing }: AccessToken) =>
    replacing !== undefined && replacing.times <= mostInRow && taken.has(accessToken)

  const ofClient = ({ client }: Route, refused?: AccessToken) =>
    client && then(apiTokens.ofClient(client.provider, client.api, refused), withToken)

  return {
    of(route, session) {
      if (session) return ofUser(route, session)
      return route.client && ofClient(route)
    },

    isRenewable({ token: { kind } }, session, token) {
      if (token === undefined || !(isReplaceable(token, now()) || helped(token))) return false
      if (session === undefined) return kind === 'client' || kind === 'user-or-client'
      return kind === 'exchange' || session.holding.tokens.refreshToken !== undefined
    },

    wasWorthIt(renewed) {
      const token = renewed?.token
      if (token?.replacing) taken.set(token.accessToken, true)
    },

    async renew(route, session, refused, unasked) {
      if (session === undefined) return ofClient(route, refused)
      const { api, exchange } = route
      if (api || exchange) return ofUser(route, session, refused)
      await refresher.renewRefused(session, refused.accessToken, unasked)
      return withToken(session.holding.tokens)
    },
  }
}

// The public keys of an authorization server, for tokens that anybody may send: kept, renewed beside the traffic, and fetched
// on a budget of their own, so that no flood of forged tokens keeps sign-ins from their keys.
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import { type AuthorizationServerFetch, unavailable } from './authorization-server-fetch.ts'
import type { Once } from './once.ts'

/** Keys older than this are fetched again, beside the request that notices. Milliseconds. */
const keysAge = 300_000
/** Keys older than this are believed no more, however long the server is away. Milliseconds. */
const longestAge = 86_400_000
/** Fetches in a row for tokens that name a key nobody has, and how soon there may be one more. Milliseconds. */
const [burst, spacing] = [3, 10_000]
/** Who has no keys at all tries again after this. Milliseconds. */
const retryAfter = 1_000

export interface PublishedKeysParts {
  fetch: AuthorizationServerFetch
  /** For each fetch, in milliseconds. */
  timeout: number
  /** Takes turns in this process. */
  once: Once
  platform: Pick<Platform, 'now' | 'waitUntil'>
}

/**
 * @returns what finds the key of a token. It throws `JWKSNoMatchingKey` for a key that nobody has, and CoatcheckError
 * `authorization_server_unavailable` when that cannot be known.
 */
export function publishedKeys(
  jwksUri: string,
  { fetch, timeout, once, platform: { now, waitUntil } }: PublishedKeysParts,
): JWTVerifyGetKey {
  let known: { find: JWTVerifyGetKey; fetchedAt: number } | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let allowance = { fetches: burst, at: now() }
  /** Until when somebody is at it, unless that request died. Milliseconds since 1970. */
  let busyUntil = 0
  let failure: CoatcheckError | undefined

  async function ask(): Promise<NonNullable<typeof known>> {
    askedAt = now()
    allowance = { fetches: Math.max(0, allowed() - 1), at: askedAt }
    busyUntil = askedAt + timeout
    try {
      const headers = { accept: 'application/json, application/jwk-set+json' }
      const answer = await fetch(jwksUri, { headers, signal: AbortSignal.timeout(Math.ceil(timeout)) })
      if (!answer.ok) throw unavailable(answer.status >= 500 ? 'server_error' : 'response_malformed')
      // What is no key set is noticed where it becomes one.
      const find = createLocalJWKSet((await answer.json()) as JSONWebKeySet)
      known = { find, fetchedAt: now() }
      failure = undefined
      return known
    } catch (error) {
      failure = error instanceof CoatcheckError ? error : unavailable('response_malformed', error)
      throw failure
    } finally {
      busyUntil = 0
    }
  }

  const allowed = () => Math.min(burst, allowance.fetches + (now() - allowance.at) / spacing)
  const mayAsk = () => (usable() ? allowed() >= 1 : now() >= askedAt + retryAfter)

  function usable() {
    return known && now() < known.fetchedAt + longestAge ? known : undefined
  }

  /** Keys that are newer than `old`, or the same when nobody may ask yet. */
  function newerThan(old: typeof known): Promise<NonNullable<typeof known>> {
    return once({
      key: `keys ${jwksUri}`,
      find: async () => (usable() === old ? undefined : usable()),
      async work() {
        if (mayAsk()) {
          const asked = ask()
          waitUntil(asked.catch(() => {}))
          return asked
        }
        if (failure) throw failure
        if (old) return old
        throw unavailable('unreachable')
      },
    })
  }

  return async (header, token) => {
    const before = usable()
    const keys = before ?? (await newerThan(undefined))
    if (now() > keys.fetchedAt + keysAge && mayAsk()) waitUntil(ask().catch(() => {}))
    try {
      return await keys.find(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || before === undefined) throw error
      // A rotation is noticed by the first token of the new key, or as soon as somebody may ask again.
      if (busyUntil <= now() && !mayAsk()) throw failure ?? error
      const next = await newerThan(before)
      return next.find(header, token)
    }
  }
}

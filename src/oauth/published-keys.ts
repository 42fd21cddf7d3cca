// The public keys of one authorization server: kept, renewed beside the traffic, and used on while they cannot be had. Each kind
// of token has them fetched on a budget of its own, so that no flood of forged ones keeps the others from their keys.
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import { type AuthorizationServerFetch, isData, unavailable } from './authorization-server-fetch.ts'
import { createAttempts } from './once.ts'

/** Keys older than this are fetched again, beside the request that notices. Milliseconds. */
const keysAge = 300_000
/** Keys older than this are not believed before somebody has asked for newer ones. Milliseconds. */
const waitingAge = 600_000
/** Keys older than this are believed no more, however long the server is away. Milliseconds. */
const longestAge = 86_400_000
/**
 * Fetches in a row that may bring nothing, and how soon there may be one more, in milliseconds: five in a minute. Every kind
 * of token has its own.
 */
const [burst, spacing] = [3, 20_000]
/** After a failure nobody waits for keys while there are old ones that will do. Milliseconds. */
const failureRemembered = 60_000

/** What is signed with these keys. Whoever can send the one kind need not be able to send the other. */
const kinds = ['id_token', 'authorization_response', 'logout_token', 'access_token'] as const
export type TokenKind = (typeof kinds)[number]

export interface PublishedKeys {
  readonly uri: string
  /**
   * What finds the key of a token of this kind. It throws `JWKSNoMatchingKey` for a key that nobody has, and CoatcheckError
   * `authorization_server_unavailable` when that cannot be known.
   */
  readonly of: Readonly<Record<TokenKind, JWTVerifyGetKey>>
  /** Another object as soon as the keys are others: what was found out with the old ones is to be found out again. */
  edition(): object
}

interface KeySet {
  readonly find: JWTVerifyGetKey
  readonly text: string
  readonly fetchedAt: number
}

/** @param timeout for each fetch, in milliseconds. */
export function publishedKeys(
  uri: string,
  timeout: number,
  { fetch, ...platform }: Pick<Platform, 'now' | 'waitUntil'> & { fetch: AuthorizationServerFetch },
): PublishedKeys {
  const { now, waitUntil } = platform
  let known: KeySet | undefined
  let edition = {}
  let askedAt = Number.NEGATIVE_INFINITY
  let failure: { readonly error: CoatcheckError; readonly at: number } | undefined

  const attempts = createAttempts(fetched, timeout, platform)

  async function fetched(): Promise<KeySet> {
    askedAt = now()
    try {
      const headers = { accept: 'application/json, application/jwk-set+json' }
      const answer = await fetch(uri, { headers, signal: AbortSignal.timeout(Math.ceil(timeout)) })
      if (!answer.ok) throw unavailable(answer.status >= 500 ? 'server_error' : 'response_malformed')
      if (!isData(answer)) throw unavailable('response_malformed')
      const text = await answer.text()
      // What is no key set is noticed where it becomes one.
      const find = known?.text === text ? known.find : createLocalJWKSet(JSON.parse(text) as JSONWebKeySet)
      if (known && known.find !== find) edition = {}
      known = { find, text, fetchedAt: now() }
      failure = undefined
      return known
    } catch (error) {
      const told = error instanceof CoatcheckError ? error : unavailable('response_malformed', error)
      failure = { error: told, at: now() }
      throw told
    }
  }

  function usable(): KeySet | undefined {
    return known && now() < known.fetchedAt + longestAge ? known : undefined
  }

  function finder(kind: TokenKind): JWTVerifyGetKey {
    const budget = createBudget(now)
    /** A fetch that costs only if it brings nothing: whoever forges a token cannot name a key that is about to be there. */
    async function ask<T>(use: (keys: KeySet) => T | Promise<T>): Promise<T> {
      let spent = false
      const keys = await attempts(() => {
        spent = budget.spend()
        if (!spent) throw failure?.error ?? (usable() ? new errors.JWKSNoMatchingKey() : unavailable('unreachable'))
      }).catch((error) => {
        // Nobody but the server itself sends ID tokens, and each only when asked: they work again as soon as the keys are back.
        if (spent && kind === 'id_token') budget.restore()
        throw error
      })
      const result = await use(keys)
      if (spent) budget.restore()
      return result
    }

    /** Keys that are new enough, or as new as they can be had. */
    async function believed(keys: KeySet): Promise<KeySet> {
      const age = now() - keys.fetchedAt
      const isFailing = failure !== undefined && now() < failure.at + failureRemembered
      if (age > waitingAge && !isFailing) return ask((newer) => newer).catch(() => keys)
      if (age > keysAge && now() >= askedAt + spacing) waitUntil(ask(() => {}).catch(() => {}))
      return keys
    }

    return async (header, token) => {
      const before = usable()
      if (before === undefined) return ask(({ find }) => find(header, token))
      const keys = await believed(before)
      try {
        return await keys.find(header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey) || keys !== before) throw error
        // A rotation is noticed by the first token of the new key, or as soon as somebody may ask again.
        return ask(({ find }) => find(header, token))
      }
    }
  }

  return {
    uri,
    of: Object.fromEntries(kinds.map((kind) => [kind, finder(kind)])) as Record<TokenKind, JWTVerifyGetKey>,
    edition: () => edition,
  }
}

function createBudget(now: () => number) {
  let left = { fetches: burst, at: now() }
  const allowed = () => Math.min(burst, left.fetches + (now() - left.at) / spacing)
  return {
    /** Whether there may be one more, which is then counted. */
    spend(): boolean {
      const fetches = allowed()
      if (fetches >= 1) left = { fetches: fetches - 1, at: now() }
      return fetches >= 1
    },
    restore() {
      left = { fetches: Math.min(burst, allowed() + 1), at: now() }
    },
  }
}

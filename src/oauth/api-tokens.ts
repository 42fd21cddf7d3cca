// Access tokens for one API each: fetched once, kept sealed in the store until they expire, shared by every instance.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import { keyedHash, type Sealer } from '../session/seal.ts'
import type { Session } from '../session/session.ts'
import { unavailable } from './authorization-server-fetch.ts'
import type { Breakers } from './breaker.ts'
import type { ExchangePolicy } from './grants.ts'
import { createOnce } from './once.ts'
import { createRecentFailures } from './recent-failures.ts'
import type { Refresher } from './refresh.ts'
import { type RelyingParty, relyingPartyOf } from './relying-party.ts'
import { type AccessToken, type Api, inPlaceOf, isExpired, isReplaceable, isStale } from './token-set.ts'

/**
 * Each gives a token at once where one is remembered that is fresh. A stale one that is still good is used while another is
 * fetched behind the request.
 *
 * @param refused a token that the API did not accept: then another is fetched, unless somebody has it already.
 * @throws CoatcheckError `authorization_server_unavailable`; `forbidden` or `insufficient_scope` when the authorization
 * server gives no such token; what a refresh throws
 */
export interface ApiTokens {
  /** The user's token for an API, by a refresh (RFC 8707, section 2.2). */
  ofUser(session: Session, api: NamedApi, refused?: AccessToken): AccessToken | Promise<AccessToken>
  /** What the user's token is exchanged for (RFC 8693). */
  exchanged(session: Session, api: NamedExchange, refused?: AccessToken): AccessToken | Promise<AccessToken>
  /** A token of the application itself (RFC 6749, section 4.4). */
  ofClient(provider: string, api: NamedApi, refused?: AccessToken): AccessToken | Promise<AccessToken>
  /** Forgets what was opened here, because the session keys are others. */
  reload(): void
}

/** An API, and a text that no other API of any route has. */
export type NamedApi = Api & { readonly name: string }
export type NamedExchange = ExchangePolicy & { readonly name: string }

export interface ApiTokensParts {
  sealer: Sealer
  refresher: Refresher
  relyingParties: ReadonlyMap<string, RelyingParty>
  breakers: Breakers
  platform: Pick<Platform, 'now' | 'log' | 'store' | 'waitUntil'>
}

/** Where one token is kept, and how another is had. */
interface Place {
  /** In the memory of this process. */
  readonly name: string
  /** In the store. */
  key(): Promise<string>
  /** Names what is asked for, and with what: while that is the same, so is what the server says to it. */
  request(): string
  /** What opens it besides the session keys; empty for what belongs to nobody's session. */
  readonly half: string
  /** Fetches another and keeps it, or waits for whoever does. */
  renew(need: Need): Promise<void>
}

interface Need {
  readonly place: Place
  readonly refused: AccessToken | undefined
  /** Whether it runs behind a request. */
  readonly unasked: boolean
  /** What the server gave for this, which may be the refused one again: then the API is shown that, and its refusal goes through. */
  received?: AccessToken
}

/** Sends a token request, unless the server is being left alone. */
type Ask = (what: (relyingParty: RelyingParty) => Promise<AccessToken>) => Promise<AccessToken>

/** What is remembered of tokens here. */
const remembered = { max: 20_000, maxSize: 32 * 1_024 * 1_024 }

export function createApiTokens(config: Pick<Config, 'refresh'>, parts: ApiTokensParts): ApiTokens {
  const { sealer, refresher, relyingParties, breakers, platform } = parts
  const { now, log, store, waitUntil } = platform
  const once = createOnce(config.refresh.timeout, platform)
  const known = new LRUCache<string, AccessToken>({
    ...remembered,
    sizeCalculation: ({ accessToken, scope }) => 300 + accessToken.length + scope.length,
  })
  const failures = createRecentFailures(now)
  /** Until when somebody here is fetching behind a request. Milliseconds since 1970. */
  const busy = new LRUCache<string, number>({ max: 5_000 })

  /** What is there and can still be used. */
  async function look({ place, refused }: Pick<Need, 'place' | 'refused'>): Promise<AccessToken | undefined> {
    const usable = (token: AccessToken | undefined) =>
      token === undefined || isExpired(token, now()) || token.accessToken === refused?.accessToken ? undefined : token
    const here = usable(known.get(place.name))
    if (here && !isStale(here, now())) return here
    const seal = await store.get(await place.key())
    const unsealed = seal === undefined ? undefined : await sealer.unseal('token', seal, place.half)
    // It came out of our own seal of this purpose, so it has the shape we gave it.
    const there = unsealed?.failure === undefined ? usable(unsealed?.data as AccessToken | undefined) : undefined
    if (there === undefined || (here && here.expiresAt >= there.expiresAt)) return here
    known.set(place.name, there)
    return there
  }

  /** A token that need not be replaced yet. */
  async function fresh(need: Pick<Need, 'place' | 'refused'>): Promise<AccessToken | undefined> {
    const token = await look(need)
    return token && !isStale(token, now()) ? token : undefined
  }

  async function keep(need: Need, received: AccessToken): Promise<void> {
    const { place, refused } = need
    const token = refused ? inPlaceOf(refused, received, now()) : received
    need.received = token
    known.set(place.name, token)
    const seal = await sealer.seal('token', token, token.expiresAt, place.half)
    // Who cannot be told fetches one for themselves.
    await store.set(await place.key(), seal, Math.max(1, token.expiresAt - now())).catch(() => {})
  }

  /** What somebody got who took the turn before. @throws CoatcheckError what the server said to the very same a moment ago */
  async function outcome(need: Need): Promise<AccessToken | undefined> {
    const token = await fresh(need)
    const failure = token ? undefined : failures.of(need.place.request())
    if (failure) throw failure
    return token
  }

  async function renew(need: Need): Promise<void> {
    try {
      await need.place.renew(need)
    } catch (error) {
      if (error instanceof CoatcheckError) failures.note(need.place.request(), error)
      throw error
    }
  }

  async function get(place: Place, refused: AccessToken | undefined): Promise<AccessToken> {
    const found = await look({ place, refused })
    if (found && !isStale(found, now())) return found
    if (found) {
      // Still good: another is fetched behind this request, and the next one finds it.
      if ((busy.get(place.name) ?? 0) > now() || failures.of(place.request())) return found
      busy.set(place.name, now() + config.refresh.timeout)
      const behind = renew({ place, refused, unasked: true }).catch(() => {})
      waitUntil(behind.then(() => busy.delete(place.name)))
      return found
    }
    const need: Need = { place, refused, unasked: false }
    const work = renew(need)
    // A browser that goes away does not take the token with it.
    waitUntil(work.catch(() => {}))
    await work
    const token = (await look(need)) ?? need.received
    if (!token) throw unavailable('response_malformed')
    return token
  }

  /** The remembered token, if nothing has to be done about it. */
  function steady(name: string, refused: AccessToken | undefined): AccessToken | undefined {
    const token = known.get(name)
    return token && !isStale(token, now()) && token.accessToken !== refused?.accessToken ? token : undefined
  }

  /** Fetches with a lease, so that of all instances one asks. */
  function leased(
    relyingParty: RelyingParty | undefined,
    grant: 'client' | 'exchange',
    fetch: (ask: Ask, need: Need) => Promise<AccessToken>,
  ): Place['renew'] {
    return async (need) => {
      if (!relyingParty) throw new CoatcheckError('reauth_required', 'issuer_unknown')
      const provider = relyingParty.provider.id
      await once<AccessToken>({
        key: await need.place.key(),
        find: () => outcome(need),
        async work() {
          const request = need.place.request()
          // Breakers of their own: what strangers call, or one API takes, must not keep sessions from their refresh.
          const ask: Ask = (what) => breakers.run(`${provider} ${grant}`, () => what(relyingParty))
          const token = await fetch(ask, need).catch((error) => {
            const told = error instanceof CoatcheckError ? error : unavailable('unexpected', error)
            log({ event: 'token.failed', provider, reason: told.reason })
            // While the turn lasts: whoever has the next one looks for it.
            for (const name of [request, need.place.request()]) failures.note(name, told)
            throw told
          })
          await keep(need, token)
          return token
        },
      })
    }
  }

  const ofSession = ({ family, half }: Session, name: string) => ({
    name: `${family} ${name}`,
    half,
    request: () => `${family} ${name}`,
    key: async () => `${family}/token-${await keyedHash(name, 'api')}`,
  })

  return {
    ofUser(session, api, refused) {
      const token = steady(`${session.family} ${api.name}`, refused)
      if (token) return token
      return get(
        {
          ...ofSession(session, api.name),
          renew: (need) =>
            refresher.obtain(
              session,
              {
                api,
                isThere: async () => need.received !== undefined || (await outcome(need)) !== undefined,
                keep: (received) => keep(need, received),
                refuse: (error) => failures.note(need.place.request(), error),
              },
              need.unasked ? 'unasked' : undefined,
            ),
        },
        refused,
      )
    },

    exchanged(session, api, refused) {
      const token = steady(`${session.family} ${api.name}`, refused)
      if (token) return token
      const renew = leased(relyingPartyOf(relyingParties, session.holding), 'exchange', async (ask, { unasked }) => {
        const exchange = () => ask((relyingParty) => relyingParty.exchange(session.holding.tokens, api))
        const { tokens: subject } = session.holding
        return exchange().catch(async (error) => {
          const isSubject = error instanceof CoatcheckError && error.reason === 'subject_token_refused'
          if (!isSubject || subject.refreshToken === undefined || !isReplaceable(subject, now())) throw error
          await refresher.renewRefused(session, subject.accessToken, unasked ? 'unasked' : undefined).catch((cause) => {
            const isPassing = cause instanceof CoatcheckError && cause.code === 'authorization_server_unavailable'
            throw isPassing ? error : cause
          })
          return exchange()
        })
      })
      const place = ofSession(session, api.name)
      // Every token of the session is a subject of its own.
      const request = () => `${place.name} ${session.holding.generation}`
      return get({ ...place, request, renew }, refused)
    },

    ofClient(provider, api, refused) {
      const name = `${provider} ${api.name}`
      const token = steady(name, refused)
      if (token) return token
      const key = async () => `c-${(await sealer.hashes('client', name))[0]?.slice(0, 22)}/token`
      const renew = leased(relyingParties.get(provider), 'client', (ask) =>
        ask((relyingParty) => relyingParty.clientToken(api)),
      )
      return get({ name, half: '', key, request: () => name, renew }, refused)
    },

    reload: () => known.clear(),
  }
}

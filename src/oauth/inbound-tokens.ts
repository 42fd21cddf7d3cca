// Who stands behind an access token that a caller brings: checked once, then remembered for as long as that may be believed.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import { type BearerIdentity, type BearerPolicy, invalidToken, isJwt } from './access-token.ts'
import { unavailable } from './authorization-server-fetch.ts'
import type { Breakers } from './breaker.ts'
import { createOnceHere } from './once.ts'
import type { RelyingParty } from './relying-party.ts'

export interface InboundTokens {
  /**
   * The caller that a token speaks for: at once where it was checked a moment ago, which is the steady state.
   * @throws CoatcheckError `invalid_token`; `authorization_server_unavailable` when the token cannot be checked: then it
   * is not passed on
   * @param asker a WebSocket that is open asks from time to time, and takes no turn of those who call.
   */
  identify(token: string, policy: BearerPolicy, asker?: Asker): BearerIdentity | Promise<BearerIdentity>
}

export type Asker = keyof typeof mostAtOnce

export interface InboundTokensParts {
  relyingParties: ReadonlyMap<string, RelyingParty>
  breakers: Breakers
  platform: Pick<Platform, 'now' | 'log' | 'waitUntil'>
}

/**
 * What came of checking a token, and until when that is believed (milliseconds since 1970); where it was verified with keys,
 * while these are in use.
 */
type Verdict = { readonly until: number; readonly keys?: VerifiedWith | undefined } & (
  | { readonly identity: BearerIdentity; readonly error?: undefined }
  | { readonly identity?: undefined; readonly error: CoatcheckError }
)

interface VerifiedWith {
  readonly by: RelyingParty
  readonly edition: object | undefined
}

/** What is remembered of good tokens. Forged ones have room of their own, so that they cannot push these out. */
const good = { max: 10_000, maxSize: 32 * 1_024 * 1_024 }
const bad = { max: 5_000, maxSize: 8 * 1_024 * 1_024 }

/** A JWT is verified again after this, or as soon as other keys are in use: its own may have been withdrawn. Milliseconds. */
const verifyEvery = 300_000
/** How long a refusal is remembered that took a signature or a request to find out. Milliseconds. */
const refusedFor = 10_000
/** The same of a server that did not answer: whoever waited for the same token is not to wait again. Milliseconds. */
const awayFor = 1_000

/** Tokens that a server is asked about at one time; who comes beyond that is told to come back. */
const mostAtOnce = { caller: 64, watcher: 16 }

/** Longest token that is looked at. Characters. */
const longest = 16_384

export function createInboundTokens(
  config: Pick<Config, 'refresh'>,
  { relyingParties, breakers, platform }: InboundTokensParts,
): InboundTokens {
  const { now, log, waitUntil } = platform
  const once = createOnceHere(config.refresh.timeout, platform)
  const sizeCalculation = (_: Verdict, key: string) => key.length * 3 + 500
  const accepted = new LRUCache<string, Verdict>({ ...good, sizeCalculation })
  const refused = new LRUCache<string, Verdict>({ ...bad, sizeCalculation })
  const takeTurn = createTurns(config.refresh.timeout, now)

  function remembered(key: string): Verdict | undefined {
    const verdict = accepted.get(key) ?? refused.get(key)
    if (verdict === undefined || verdict.until <= now()) return undefined
    const { keys } = verdict
    return keys === undefined || keys.by.keysInUse() === keys.edition ? verdict : undefined
  }

  function accept(key: string, identity: BearerIdentity, time: number, keys?: VerifiedWith): Verdict {
    const verdict = { identity, keys, until: Math.min(identity.expiresAt ?? Number.POSITIVE_INFINITY, now() + time) }
    accepted.set(key, verdict)
    refused.delete(key)
    return verdict
  }

  function refuse(key: string, error: CoatcheckError, time: number): Verdict {
    const verdict = { error, until: now() + time }
    accepted.delete(key)
    refused.set(key, verdict)
    return verdict
  }

  /** A token that is refused comes to a verdict; that nobody could say is thrown, after it was told to the operator. */
  async function unchecked(provider: string, work: () => Promise<BearerIdentity>): Promise<BearerIdentity> {
    return work().catch((error) => {
      const told = error instanceof CoatcheckError ? error : unavailable('unexpected', error)
      if (told.code !== 'invalid_token') log({ event: 'bearer.unchecked', provider, reason: told.reason })
      throw told
    })
  }

  async function verify(key: string, token: string, policy: BearerPolicy, by: RelyingParty): Promise<Verdict> {
    // Keys that come meanwhile are others than it may have been verified with.
    const edition = by.keysInUse()
    try {
      const identity = await unchecked(policy.provider, () => by.verifyAccessToken(token, policy))
      return accept(key, identity, verifyEvery, { by, edition })
    } catch (error) {
      // Whatever else is wrong costs no more to see again than to look up.
      const isWorthIt = error instanceof CoatcheckError && error.reason === 'access_token_signature'
      if (isWorthIt) refuse(key, error, refusedFor)
      throw error
    }
  }

  /** Asks the server, once for all who bring this token now. */
  function introspect(
    key: string,
    token: string,
    policy: BearerPolicy,
    by: RelyingParty,
    asker: Asker,
  ): Promise<Verdict> {
    const { provider, introspection } = policy
    const time = introspection?.cacheFor ?? 0
    return once<Verdict>({
      key,
      find: async () => remembered(key),
      async work() {
        const done = takeTurn(provider, asker)
        try {
          // A breaker of its own: what strangers send must not keep sessions from their refresh.
          const ask = () => breakers.run(`${provider} introspection`, () => by.introspect(token, policy))
          return accept(key, await unchecked(provider, ask), time)
        } catch (error) {
          if (!(error instanceof CoatcheckError)) throw error
          return refuse(key, error, error.code === 'invalid_token' ? Math.min(time, refusedFor) : awayFor)
        } finally {
          done()
        }
      },
    })
  }

  async function learn(key: string, token: string, policy: BearerPolicy, asker: Asker): Promise<BearerIdentity> {
    const relyingParty = relyingParties.get(policy.provider)
    if (!relyingParty) throw new CoatcheckError('internal_error', 'provider_unknown')
    // What is a JWT is judged as one: introspection is no second chance for it.
    const isSigned = isJwt(token)
    const asks = policy.introspection && (!isSigned || policy.introspection.tokens === 'all')
    if (!asks && !isSigned) throw invalidToken('access_token_opaque')
    const verdict = asks
      ? introspect(key, token, policy, relyingParty, asker)
      : verify(key, token, policy, relyingParty)
    // A caller that goes away does not take with it what others wait for.
    waitUntil(verdict.catch(() => {}))
    return identityIn(await verdict)
  }

  return {
    identify(token, policy, asker = 'caller') {
      if (token.length > longest) throw invalidToken('bearer_malformed')
      // A token is good for a policy, never in itself: another route may ask for another audience.
      const key = `${policy.name} ${token}`
      const verdict = remembered(key)
      return verdict ? identityIn(verdict) : learn(key, token, policy, asker)
    },
  }
}

/**
 * Counts what is under way at each provider. A turn that is never given back, because its request died, is over when the
 * server would have had to answer.
 * @throws CoatcheckError (what is returned) `authorization_server_unavailable` beyond `mostAtOnce`
 */
function createTurns(timeout: number, now: () => number): (provider: string, asker: Asker) => () => void {
  const taken = new Map<string, { readonly until: number }[]>()
  return (provider, asker) => {
    const kind = `${asker} ${provider}`
    const others = (taken.get(kind) ?? []).filter(({ until }) => until > now())
    if (others.length >= mostAtOnce[asker]) throw unavailable('introspection_busy', undefined, 1)
    const turn = { until: now() + timeout }
    taken.set(kind, [...others, turn])
    return () => {
      taken.set(kind, taken.get(kind)?.filter((one) => one !== turn) ?? [])
    }
  }
}

/** @throws CoatcheckError of a verdict against the token */
function identityIn({ identity, error }: Verdict): BearerIdentity {
  if (error) throw error
  return identity
}

// Callers with an access token of their own, such as mobile apps and services, on routes that let them in: no cookie, no
// session, and the token goes up as it came.
import { CoatcheckError } from '../errors.ts'
import type { BearerIdentity } from '../oauth/access-token.ts'
import type { InboundTokens } from '../oauth/inbound-tokens.ts'
import { type Exchange, headerText } from '../platform.ts'
import type { Reason } from '../reasons.ts'
import { refuseElsewhere } from '../security.ts'
import type { Cookies } from '../session/cookies.ts'
import { bearerChallenge } from '../upstream/challenges.ts'
import { requireTokenGrants } from '../upstream/policy.ts'
import type { RateLimit } from '../upstream/rate-limit.ts'
import type { Route } from '../upstream/routes.ts'
import type { ForwardedCall } from './attempt.ts'
import type { Forwarding } from './forwarding.ts'
import { longestTimer } from './websocket.ts'

export interface BearerParts {
  publicUrl: string
  cookies: Pick<Cookies, 'readSession'>
  inboundTokens: InboundTokens
  rateLimit: RateLimit
  send: Forwarding
  /** Milliseconds since 1970. */
  now: () => number
}

export interface BearerCallers {
  /**
   * The access token that a request brings, if it brings credentials of its own at all. It then needs no proof that a page
   * of the application sent it: there is no cookie that another site could have used.
   *
   * @param query of the request target.
   * @throws CoatcheckError `bad_request` for a session beside it or two tokens; `invalid_token` for another scheme;
   * `csrf_rejected` for what a browser says comes from elsewhere, and a WebSocket handshake without an `Origin`
   */
  tokenOf(exchange: Exchange, query: string): string | undefined
  /** Forwards a call with the token that came with it, once that is known to be good. @throws CoatcheckError */
  forward(call: BearerCall, token: string): Promise<Response>
}

/** A call before it is known who calls. */
type BearerCall = Omit<ForwardedCall, 'session' | 'credential' | 'waited'>

/** How often a WebSocket looks whether its token is still good, unless `introspection.cacheFor` is less; and at least so long. Milliseconds. */
const lookEvery = 30_000
const leastPause = 5_000

const tokenIn = /^bearer +([\w.~+/-]+=*)$/i

export function createBearerCallers({
  publicUrl,
  cookies,
  inboundTokens,
  rateLimit,
  send,
  now,
}: BearerParts): BearerCallers {
  /** Who calls and may, and how long it took to know. Milliseconds. @throws CoatcheckError */
  async function admit(
    { route, address, startedAt }: BearerCall,
    token: string,
  ): Promise<{ identity: BearerIdentity; waited: number }> {
    const { bearer } = route
    if (!bearer) throw new CoatcheckError('internal_error', 'unexpected')
    // Addresses are counted first: checking tokens is work, too.
    const isByAddress = route.rateLimit?.per === 'address'
    if (isByAddress) await rateLimit(route, undefined, address)
    const found = inboundTokens.identify(token, bearer)
    const identity = found instanceof Promise ? await found : found
    const waited = found instanceof Promise ? now() - startedAt : 0
    if (route.rateLimit && !isByAddress) await rateLimit(route, identity, address)
    requireTokenGrants(route, identity)
    return { identity, waited }
  }

  /** A token is over when its time is, and sooner when it would open no call any more. */
  function whenOver(token: string, route: Route, admitted: BearerIdentity, ended: () => void): () => void {
    const { bearer } = route
    const pause = Math.min(Math.max(bearer?.introspection?.cacheFor ?? lookEvery, leastPause), lookEvery)
    let expiry: ReturnType<typeof setTimeout> | undefined
    let isOver = false
    const stop = () => {
      isOver = true
      clearTimeout(expiry)
      clearTimeout(next)
    }
    const end = () => {
      if (isOver) return
      stop()
      ended()
    }
    const expireWith = ({ expiresAt = Number.POSITIVE_INFINITY }: BearerIdentity) => {
      clearTimeout(expiry)
      const rest = expiresAt - now()
      expiry = rest > longestTimer ? undefined : setTimeout(end, rest)
    }
    // Not all at the same moment, or those who were opened together would ask together.
    const later = () => setTimeout(look, pause * (1 + Math.random() / 4))
    const soon = () => setTimeout(look, leastPause * (0.2 + Math.random()))
    async function look(): Promise<void> {
      try {
        const identity = bearer && (await inboundTokens.identify(token, bearer, 'watcher'))
        if (isOver) return
        if (identity?.subject !== admitted.subject) return end()
        requireTokenGrants(route, identity)
        expireWith(identity)
        next = later()
      } catch (error) {
        if (isOver) return
        // That nobody could say is no reason.
        if (error instanceof CoatcheckError && error.code !== 'authorization_server_unavailable') return end()
        next = error instanceof CoatcheckError && error.reason === 'introspection_busy' ? soon() : later()
      }
    }
    expireWith(admitted)
    let next = later()
    return stop
  }

  return {
    tokenOf(exchange, query) {
      const { headers } = exchange
      const authorization = headerText(headers, 'authorization')
      if (authorization === undefined) return undefined
      const isRepeated = exchange.hasMore('authorization')
      // Says nothing, and Workers never show it.
      if (authorization === '' && !isRepeated) return undefined
      refuseElsewhere(headers, publicUrl)
      if (cookies.readSession(headerText(headers, 'cookie')).names.length > 0) throw malformed('bearer_mixed')
      if (isRepeated) throw malformed('bearer_malformed')
      // RFC 6750, section 2: a request has one token, wherever it could be.
      if (query.length > 1 && new URLSearchParams(query).has('access_token')) throw malformed('bearer_malformed')
      if (!/^bearer(?![\w.~+/-])/i.test(authorization)) {
        throw new CoatcheckError('invalid_token', 'bearer_scheme', { challenge: bearerChallenge() })
      }
      const token = tokenIn.exec(authorization)?.[1]
      if (token === undefined) throw malformed('bearer_malformed')
      return token
    },

    async forward(call, token) {
      const { identity, waited } = await admit(call, token)
      const credential = { header: 'authorization', value: `Bearer ${token}` }
      return send({
        ...call,
        session: undefined,
        credential,
        waited,
        bearer: { whenOver: (ended) => whenOver(token, call.route, identity, ended) },
      })
    },
  }
}

/** RFC 6750, section 3.1: 400, and what is said is about the request. */
function malformed(reason: Reason): CoatcheckError {
  return new CoatcheckError('bad_request', reason, { challenge: bearerChallenge('invalid_request') })
}

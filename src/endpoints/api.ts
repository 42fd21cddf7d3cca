// One call of an API, from the browser's request to the upstream's answer: each step is called from here and returns here.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError, errorCodes } from '../errors.ts'
import type { Refresher } from '../oauth/refresh.ts'
import { type Exchange, headerText, type Platform, type UpstreamCall } from '../platform.ts'
import { requireDataDestination, requireSameOrigin } from '../security.ts'
import type { OpenedSession, Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { isInvalidToken, type StepUp, stepUpAskedFor } from '../upstream/challenges.ts'
import type { ClientAddress } from '../upstream/client-address.ts'
import { towardsBrowser, towardsUpstream } from '../upstream/headers.ts'
import { requireAddress, requireGrants } from '../upstream/policy.ts'
import type { RateLimit } from '../upstream/rate-limit.ts'
import { browserLocation, type Route, type Target, upstreamPath } from '../upstream/routes.ts'
import { loginPath } from './login.ts'

export interface ApiParts {
  config: Pick<Config, 'publicUrl'>
  platform: Pick<Platform, 'transport' | 'log' | 'waitUntil'>
  sessions: Sessions
  refresher: Refresher
  clientAddress: ClientAddress
  rateLimit: RateLimit
}

/** Forwards one request along its route. */
export type Api = (route: Route, target: Target, exchange: Exchange) => Promise<Response>

export function createApi({ config, platform, sessions, refresher, clientAddress, rateLimit }: ApiParts): Api {
  const { protocol, host } = new URL(config.publicUrl)
  const proto = protocol.slice(0, -1)
  const isSecure = proto === 'https'
  /** Fresh tokens that an upstream refused, by session and route: asking for another will not help. */
  const refusedTokens = new LRUCache<string, string>({ max: 5_000 })

  /** The session, if the route can do without one or there is one. @throws CoatcheckError */
  function required({ token }: Route, { session, refusal }: OpenedSession): Session | undefined {
    if (session || token === 'user-or-none') return session
    const { code, reason, setCookie } = refusal
    throw new CoatcheckError(code, reason, { setCookie, loginUrl: loginPath })
  }

  /** Sends the call as often as it takes: a refused token is worth one refresh and one more try. */
  async function send(call: ForwardedCall): Promise<Response> {
    const { session, route } = call
    const first = await attempt(call, mayRetry(call), () => {
      // This call cannot be sent again, but the next one need not fail as well.
      const isFresh = session && refusedTokens.get(`${session.id} ${route.path}`) === session.holding.tokens.accessToken
      if (!session?.holding.tokens.refreshToken || isFresh) return
      platform.waitUntil(refresher.renewRefused(session, session.holding.tokens.accessToken, 'unasked').catch(() => {}))
    })
    if (first || !session) return first ?? neverWithheld()
    await refresher.renewRefused(session, session.holding.tokens.accessToken)
    const before = session.holding.tokens.accessToken
    const second = await attempt(call, false, () => {
      refusedTokens.set(`${session.id} ${route.path}`, before)
      platform.log({ event: 'upstream.token_refused', route: route.path, reason: 'upstream_token_refused' })
    })
    return second ?? neverWithheld()
  }

  /**
   * Only when there is a session to refresh, nothing that would have to be sent twice, and no reason to believe that this
   * upstream refuses fresh tokens too: else each call would cost a refresh.
   */
  function mayRetry({ session, exchange, route }: ForwardedCall): boolean {
    if (session?.holding.tokens.refreshToken === undefined || exchange.hasBody) return false
    return refusedTokens.get(`${session.id} ${route.path}`) !== session.holding.tokens.accessToken
  }

  /** One try. `undefined`: the token was refused, and that is withheld from the browser. @throws CoatcheckError */
  async function attempt(
    call: ForwardedCall,
    mayWithhold: boolean,
    onRefused?: () => void,
  ): Promise<Response | undefined> {
    let stepUp: StepUp | undefined
    const withhold = (status: number, challenge: string | undefined) => {
      if (status !== 401 || challenge === undefined) return false
      stepUp = call.session && stepUpAskedFor(challenge)
      if (stepUp) return true
      if (!isInvalidToken(challenge)) return false
      if (!mayWithhold) onRefused?.()
      return mayWithhold
    }
    const answer = await platform.transport(upstreamCall(call, withhold), call.exchange)
    if (answer || !stepUp) return answer
    const loginUrl = `${loginPath}?${new URLSearchParams({ ...stepUp })}`
    throw new CoatcheckError('step_up_required', 'sign_in_too_weak', { loginUrl })
  }

  function upstreamCall(
    { route, path, exchange, address, session }: ForwardedCall,
    withhold: (status: number, challenge: string | undefined) => boolean,
  ): UpstreamCall {
    const { method, headers, hasBody } = exchange
    return {
      origin: route.origin,
      path,
      method,
      headers: towardsUpstream(headers, {
        authorization: session && `Bearer ${session.holding.tokens.accessToken}`,
        contentLength: hasBody ? headerText(headers, 'content-length') : undefined,
        clientAddress: address,
        proto,
        host,
      }),
      timeout: route.timeout,
      bodyLimit: route.bodyLimit,
      receive(status, answer) {
        if (withhold(status, headerText(answer, 'www-authenticate'))) return undefined
        const location = headerText(answer, 'location')
        const rewritten = location === undefined ? undefined : browserLocation(route, location, path)
        if (location !== undefined && rewritten === undefined) {
          platform.log({ event: 'upstream.redirect_blocked', route: route.path, reason: 'upstream_redirect' })
        }
        const setCookie = session ? sessions.cookiesFor(session) : []
        return towardsBrowser(answer, { fromSession: route.usesSession, isSecure, setCookie, location: rewritten })
      },
      broken(reason) {
        if (reason === 'client_gone') platform.log({ event: 'client.gone', route: route.path })
        else platform.log({ event: 'upstream.failed', route: route.path, code: 'upstream_unreachable', reason })
      },
      ...(session && { watch: (abort: () => void) => watchSession(session, route, abort) }),
    }
  }

  /** A stream does not outlive its session. */
  function watchSession(session: Session, { path: route }: Route, abort: () => void): () => void {
    return sessions.whenOver(session, () => {
      platform.log({ event: 'stream.ended', route, session: session.id })
      abort()
    })
  }

  return async function api(route, target, exchange) {
    const { headers, method } = exchange
    requireSameOrigin(headers, config.publicUrl, route.csrf)
    requireDataDestination(headers)
    if (!route.methods.includes(method as never)) {
      throw new CoatcheckError('method_not_allowed', 'method_refused', { allow: route.allow })
    }
    const address = clientAddress(exchange)
    requireAddress(route, address)
    if (Number(headers['content-length'] ?? 0) > route.bodyLimit) {
      throw new CoatcheckError('body_too_large', 'body_too_large')
    }
    const path = upstreamPath(route, target)
    if (path === undefined) throw new CoatcheckError('bad_request', 'target_malformed')

    // What is there already is not awaited. In the steady state that is everything but the upstream.
    const opened = route.usesSession ? sessions.open(headerText(exchange.headers, 'cookie')) : undefined
    const session = opened && required(route, opened instanceof Promise ? await opened : opened)
    if (route.rateLimit) await rateLimit(route, session, address)
    try {
      if (session) {
        const fresh = refresher.ensureFresh(session)
        if (fresh) await fresh
        requireGrants(route, session, loginPath)
        const touched = sessions.touch(session)
        if (touched) await touched
      }
      return await send({ route, path, exchange, address, session })
    } catch (error) {
      throw withRoute(error, route, session)
    }
  }

  /** The error as it leaves this route: told to the operator, and with the cookies that would be lost with it. */
  function withRoute(error: unknown, { path: route }: Route, session: Session | undefined): unknown {
    if (!(error instanceof CoatcheckError)) return error
    const { code, reason, details } = error
    if (code.startsWith('upstream_')) platform.log({ event: 'upstream.failed', route, code, reason })
    const loginUrl = errorCodes[code].status === 401 ? { loginUrl: loginPath } : {}
    const setCookie = details.setCookie ?? (session ? sessions.cookiesFor(session) : [])
    return new CoatcheckError(code, reason, { ...loginUrl, ...details, setCookie }, error)
  }
}

/** The transport withholds only what it was told to. */
function neverWithheld(): never {
  throw new CoatcheckError('internal_error', 'unexpected')
}

/** One request on its way along a route. */
interface ForwardedCall {
  readonly route: Route
  readonly path: string
  readonly exchange: Exchange
  readonly address: string | undefined
  readonly session: Session | undefined
}

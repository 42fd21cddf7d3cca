// One call of an API, from the browser's request to the upstream's answer: each step is called from here and returns here.
import type { Config } from '../config.ts'
import { CoatcheckError, errorCodes } from '../errors.ts'
import type { Refresher } from '../oauth/refresh.ts'
import { type Exchange, headerText, type Platform, type UpstreamCall } from '../platform.ts'
import { requireDataDestination, requireSameOrigin } from '../security.ts'
import type { OpenedSession, Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { isInvalidToken } from '../upstream/challenges.ts'
import type { ClientAddress } from '../upstream/client-address.ts'
import { towardsBrowser, towardsUpstream } from '../upstream/headers.ts'
import { requireAddress, requireGrants } from '../upstream/policy.ts'
import type { RateLimit } from '../upstream/rate-limit.ts'
import { browserLocation, type Route, type Target, upstreamPath } from '../upstream/routes.ts'
import { loginPath } from './login.ts'

export interface ApiParts {
  config: Pick<Config, 'publicUrl'>
  platform: Pick<Platform, 'transport' | 'log'>
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

  /** The session, if the route can do without one or there is one. @throws CoatcheckError */
  function required({ token }: Route, { session, refusal }: OpenedSession): Session | undefined {
    if (session || token === 'user-or-none') return session
    const { code, reason, setCookie } = refusal
    throw new CoatcheckError(code, reason, { setCookie, loginUrl: loginPath })
  }

  /** Sends the call as often as it takes: a refused token is worth one refresh and one more try. */
  async function forward(call: ForwardedCall): Promise<Response> {
    const { session, exchange } = call
    // Only when there is a session to refresh, and nothing that would have to be sent twice.
    const mayRetry = session?.holding.tokens.refreshToken !== undefined && !exchange.hasBody
    const answer = await platform.transport(upstreamCall(call, mayRetry), exchange)
    if (answer) return answer
    if (session) await refresher.renewRefused(session, session.holding.tokens.accessToken)
    return (await platform.transport(upstreamCall(call, false), exchange)) as Response
  }

  function upstreamCall(
    { route, path, exchange, address, session }: ForwardedCall,
    mayWithhold: boolean,
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
        if (mayWithhold && status === 401 && isInvalidToken(headerText(answer, 'www-authenticate'))) return undefined
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
      return await forward({ route, path, exchange, address, session })
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

/** One request on its way along a route. */
interface ForwardedCall {
  readonly route: Route
  readonly path: string
  readonly exchange: Exchange
  readonly address: string | undefined
  readonly session: Session | undefined
}

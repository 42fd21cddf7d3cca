// One call of an API, from the browser's request to the upstream's answer: each step is called from here and returns here.
import { CoatcheckError, errorCodes } from '../errors.ts'
import type { InboundTokens } from '../oauth/inbound-tokens.ts'
import { type Exchange, headerText } from '../platform.ts'
import { requireDataDestination, requireSameOrigin } from '../security.ts'
import type { OpenedSession, Session } from '../session/session.ts'
import type { ClientAddress } from '../upstream/client-address.ts'
import { requireAddress, requireGrants } from '../upstream/policy.ts'
import type { RateLimit } from '../upstream/rate-limit.ts'
import { type Route, type Target, upstreamPath } from '../upstream/routes.ts'
import { offeredProtocols } from '../upstream/websocket-handshake.ts'
import { type BearerParts, createBearerCallers } from './bearer.ts'
import { createForwarding, type ForwardingParts } from './forwarding.ts'

export interface ApiParts extends ForwardingParts {
  clientAddress: ClientAddress
  rateLimit: RateLimit
  cookies: BearerParts['cookies']
  inboundTokens: InboundTokens
}

/** Forwards one request along its route. */
export type Api = (route: Route, target: Target, exchange: Exchange) => Promise<Response>

export function createApi(parts: ApiParts): Api {
  const { config, platform, sessions, credentials, clientAddress, rateLimit, scopes, loginUrl } = parts
  const send = createForwarding(parts)
  const signIns = { loginUrl, scopes }
  const bearers = createBearerCallers({ ...parts, publicUrl: config.publicUrl, send, now: platform.now })

  /** The session, if the route can do without one or there is one. @throws CoatcheckError */
  function required(route: Route, { session, refusal }: OpenedSession): Session | undefined {
    if (session) return session
    // Only who brings no session at all is somebody else: a session that failed must not become another identity.
    const isNobody = route.token.kind === 'user-or-none' || refusal.reason === 'session_absent'
    if (route.servesAnybody && isNobody) return undefined
    const { code, reason, setCookie, provider } = refusal
    throw new CoatcheckError(code, reason, { setCookie, loginUrl: loginUrl(provider) })
  }

  return async function api(route, target, exchange) {
    const startedAt = platform.now()
    const { headers, method } = exchange
    const isUpgrade = exchange.isUpgrade === true && platform.upgrade !== undefined && route.websocket !== false
    const token = route.bearer && bearers.tokenOf(exchange, target.query)
    // No page can add a header to a handshake; its `Origin` says it all.
    if (token === undefined) requireSameOrigin(headers, config.publicUrl, isUpgrade ? 'fetch-metadata' : route.csrf)
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
    const protocols = isUpgrade ? offeredProtocols(headers) : undefined

    if (token !== undefined) {
      return bearers.forward({ route, path, exchange, address, startedAt, protocols }, token).catch((error) => {
        throw withRoute(error, route, undefined)
      })
    }

    // What is there already is not awaited. In the steady state that is everything but the upstream.
    const opened = route.usesSession ? sessions.open(headerText(exchange.headers, 'cookie')) : undefined
    const session = opened && required(route, opened instanceof Promise ? await opened : opened)
    if (route.rateLimit) await rateLimit(route, session, address)
    try {
      const found = credentials.of(route, session)
      const credential = found instanceof Promise ? await found : found
      const waited = found instanceof Promise ? platform.now() - startedAt : 0
      if (session) {
        requireGrants(route, session, credential?.token, signIns)
        const touched = sessions.touch(session)
        if (touched) await touched
      }
      return await send({ route, path, exchange, address, session, credential, protocols, startedAt, waited })
    } catch (error) {
      throw withRoute(error, route, session)
    }
  }

  /** The error as it leaves this route: told to the operator, and with the cookies that would be lost with it. */
  function withRoute(error: unknown, { path: route }: Route, session: Session | undefined): unknown {
    if (!(error instanceof CoatcheckError)) return error
    const { code, reason, details } = error
    if (code.startsWith('upstream_')) platform.log({ event: 'upstream.failed', route, code, reason })
    // Who brings a token is told in a challenge what is wrong with it, and has no browser to sign in with.
    const mayLogIn = errorCodes[code].status === 401 && details.challenge === undefined
    const signIn = mayLogIn ? { loginUrl: loginUrl(session?.holding.provider) } : {}
    const setCookie = details.setCookie ?? (session ? sessions.cookiesFor(session) : [])
    return new CoatcheckError(code, reason, { ...signIn, ...details, setCookie }, error)
  }
}

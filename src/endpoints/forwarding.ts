// Sends one call to its upstream, as often as its challenges are worth: a refused token is one renewal and one more try.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { AnswerCookies } from '../oauth/answer-cookies.ts'
import type { Credential, Credentials } from '../oauth/credentials.ts'
import { type Exchange, headerText, type Platform, type UpstreamCall } from '../platform.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { isInvalidToken, scopeAskedFor, stepUpAskedFor } from '../upstream/challenges.ts'
import { towardsBrowser, towardsUpstream } from '../upstream/headers.ts'
import { browserLocation, type Route } from '../upstream/routes.ts'
import { strongerSignIn, widerSignIn } from '../upstream/stronger-sign-in.ts'
import { loginPath } from './login.ts'

/** One request on its way along a route. */
export interface ForwardedCall {
  readonly route: Route
  readonly path: string
  readonly exchange: Exchange
  readonly address: string | undefined
  readonly session: Session | undefined
  readonly credential: Credential | undefined
}

export interface ForwardingParts {
  config: Pick<Config, 'publicUrl'>
  platform: Pick<Platform, 'now' | 'transport' | 'log' | 'waitUntil'>
  sessions: Sessions
  credentials: Credentials
  answerCookies: AnswerCookies
  /** Scopes that a sign-in may be asked for. */
  scopes: ReadonlySet<string>
}

/** Sends a call, and whatever it takes to have it accepted. @throws CoatcheckError */
export type Forwarding = (call: ForwardedCall) => Promise<Response>

/** A body up to this long is read before it is sent, so that it can be sent again. Bytes. */
const repeatableBody = 65_536

type ForwardedBody = UpstreamCall['body']

/** Looks at the head of an answer; `true` withholds it from the browser. */
type Withhold = (status: number, challenge: string | undefined) => boolean

export function createForwarding({
  config,
  platform,
  sessions,
  credentials,
  answerCookies,
  scopes,
}: ForwardingParts): Forwarding {
  const { protocol, host } = new URL(config.publicUrl)
  const proto = protocol.slice(0, -1)
  const isSecure = proto === 'https'
  /** Fresh tokens that an upstream refused, by caller and route: asking for another will not help. */
  const refusedTokens = new LRUCache<string, string>({ max: 5_000 })
  const nameOf = ({ session, route }: ForwardedCall) => `${session?.id ?? ''} ${route.path}`

  /** Sends the call as often as it takes: a refused token is worth one renewal and one more try. */
  async function send(call: ForwardedCall, body: ForwardedBody): Promise<Response> {
    const { session, route, credential } = call
    const token = credential?.token
    const isWorthIt = token !== undefined && isRenewable(call)
    const isRepeatable = isWorthIt && (!call.exchange.hasBody || body !== undefined)
    const first = await attempt(call, body, isRepeatable, () => {
      // This call cannot be sent again, but the next one need not fail as well.
      if (isWorthIt) platform.waitUntil(credentials.renew(route, session, token, 'unasked').catch(() => {}))
    })
    if (first || token === undefined) return first ?? neverWithheld()
    const renewed = await credentials.renew(route, session, token)
    const second = await attempt({ ...call, credential: renewed }, body, false, () => {
      if (renewed?.token) refusedTokens.set(nameOf(call), renewed.token.accessToken)
      platform.log({ event: 'upstream.token_refused', route: route.path, reason: 'upstream_token_refused' })
    })
    return second ?? neverWithheld()
  }

  /** There is something to renew with, and no reason to believe that this upstream refuses fresh tokens too. */
  function isRenewable(call: ForwardedCall): boolean {
    const { session, route, credential } = call
    return credentials.isRenewable(route, session) && refusedTokens.get(nameOf(call)) !== credential?.token?.accessToken
  }

  /** One try. `undefined`: the token was refused, and that is withheld from the browser. @throws CoatcheckError */
  async function attempt(
    call: ForwardedCall,
    body: ForwardedBody,
    mayWithhold: boolean,
    onRefused: () => void,
  ): Promise<Response | undefined> {
    const { session } = call
    let refusal: CoatcheckError | undefined
    const withhold: Withhold = (status, challenge) => {
      if (challenge === undefined || (status !== 401 && status !== 403)) return false
      refusal = session && refusalFor(session, status, challenge)
      if (refusal) return true
      if (status !== 401 || !isInvalidToken(challenge)) return false
      if (!mayWithhold) onRefused()
      return mayWithhold
    }
    const following = session && answerCookies.follow(session)
    const forwarded = upstreamCall(call, body, withhold, () => following?.take() ?? [])
    try {
      const answer = await platform.transport(forwarded, call.exchange)
      if (answer || !refusal) return answer
    } finally {
      following?.take()
    }
    throw refusal
  }

  /** What an upstream asks of the user, who may be able to give it. */
  function refusalFor(session: Session, status: number, challenge: string): CoatcheckError | undefined {
    const stepUp = status === 401 ? stepUpAskedFor(challenge) : undefined
    if (stepUp) return strongerSignIn(stepUp, session, loginPath, platform.now())
    const wanted = status === 403 ? scopeAskedFor(challenge) : undefined
    return wanted && widerSignIn(wanted, session, loginPath, scopes, 'upstream_scope')
  }

  function upstreamCall(
    { route, path, exchange, address, session, credential }: ForwardedCall,
    body: ForwardedBody,
    withhold: Withhold,
    takeCookies: () => readonly string[],
  ): UpstreamCall {
    const { method, headers, hasBody } = exchange
    return {
      origin: route.origin,
      path,
      method,
      headers: towardsUpstream(headers, {
        credential,
        contentLength: hasBody ? headerText(headers, 'content-length') : undefined,
        clientAddress: address,
        proto,
        host,
      }),
      body,
      timeout: route.timeout,
      bodyLimit: route.bodyLimit,
      receive(status, answer) {
        if (withhold(status, headerText(answer, 'www-authenticate'))) return undefined
        const location = headerText(answer, 'location')
        const rewritten = location === undefined ? undefined : browserLocation(route, location, path)
        if (location !== undefined && rewritten === undefined) {
          platform.log({ event: 'upstream.redirect_blocked', route: route.path, reason: 'upstream_redirect' })
        }
        const setCookie = takeCookies()
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

  return async (call) => {
    const { exchange, route } = call
    const length = exchange.hasBody ? Number(exchange.headers['content-length'] ?? Number.NaN) : Number.NaN
    const mayBuffer = call.credential?.token !== undefined && length <= repeatableBody
    const body = mayBuffer ? await exchange.readBody(route.timeout) : undefined
    return send(call, body)
  }
}

/** The transport withholds only what it was told to. */
function neverWithheld(): never {
  throw new CoatcheckError('internal_error', 'unexpected')
}

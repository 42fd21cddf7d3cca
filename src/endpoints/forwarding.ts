// Sends one call to its upstream, as often as its challenges are worth: a refused token is one renewal and one more try.
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { LoginUrl } from '../login-url.ts'
import type { AnswerCookies } from '../oauth/answer-cookies.ts'
import type { Credential, Credentials } from '../oauth/credentials.ts'
import type { Dpop, ProvenTry } from '../oauth/dpop.ts'
import type { AccessToken, BindingKey } from '../oauth/token-set.ts'
import { type Exchange, type HeaderRecord, headerText, type Platform, type UpstreamCall } from '../platform.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { challengeFor, isInvalidToken, scopeAskedFor, stepUpAskedFor } from '../upstream/challenges.ts'
import { towardsBrowser, towardsUpstream } from '../upstream/headers.ts'
import { browserLocation, type Route } from '../upstream/routes.ts'
import { type ScopeProof, strongerSignIn, widerSignInFor } from '../upstream/stronger-sign-in.ts'
import { createCallEvents } from './call-events.ts'
import { webSocketCall } from './websocket.ts'

/** One request on its way along a route. */
export interface ForwardedCall {
  readonly route: Route
  readonly path: string
  readonly exchange: Exchange
  readonly address: string | undefined
  readonly session: Session | undefined
  readonly credential: Credential | undefined
  /** When it came, and how long it waited for its credential. Milliseconds, since 1970 and long. */
  readonly startedAt: number
  readonly waited: number
  /** Whether the caller brought the credential itself, and is told what the upstream has against it. */
  readonly isBearer?: boolean
  /** Subprotocols that the browser offers, if this is the handshake of a WebSocket. */
  readonly protocols: readonly string[] | undefined
}

export interface ForwardingParts {
  config: Pick<Config, 'publicUrl'>
  platform: Pick<Platform, 'now' | 'transport' | 'upgrade' | 'log' | 'waitUntil'>
  sessions: Sessions
  credentials: Credentials
  answerCookies: AnswerCookies
  dpop: Dpop
  /** Scopes that a sign-in may be asked for. */
  scopes: ReadonlySet<string>
  proveScope: ScopeProof
  loginUrl: LoginUrl
}

/** Sends a call, and whatever it takes to have it accepted. @throws CoatcheckError */
export type Forwarding = (call: ForwardedCall) => Promise<Response>

/** A body up to this long is read before it is sent, so that it can be sent again. Bytes. */
const repeatableBody = 65_536
/** The same where the API may ask for a nonce first (RFC 9449, section 9). Bytes. */
const repeatableBodyWithProof = 1_048_576
/** What all bodies that are kept may take together; beyond this they are streamed, and sent once. Bytes. */
const mostKept = 67_108_864

/** What may be wrong with the credential of a try, such that another try may be accepted. */
type Refused = 'token' | 'proof'

/** Whether each of them is worth another try. */
interface Worth extends ProvenTry {
  token: boolean
  /** Whether the last try was refused for its token, and that goes through. */
  isRefused: boolean
}

const isBound = (token: AccessToken): token is AccessToken & { readonly key: BindingKey } => token.key !== undefined

type ForwardedBody = UpstreamCall['body']

/** Looks at the head of an answer; `true` withholds it from the browser. */
type Withhold = (status: number, challenge: string | undefined, answer: HeaderRecord) => boolean

export function createForwarding({
  config,
  platform,
  sessions,
  credentials,
  answerCookies,
  dpop,
  proveScope,
  loginUrl,
}: ForwardingParts): Forwarding {
  const { protocol, host } = new URL(config.publicUrl)
  const proto = protocol.slice(0, -1)
  const isSecure = proto === 'https'
  const events = createCallEvents(platform)
  let kept = 0

  /** Sends the call as often as it takes: a refused token is worth one renewal, a refused proof a better one. */
  async function send(first: ForwardedCall): Promise<Response> {
    const length = lengthToKeep(first)
    kept += length
    try {
      const body = length > 0 ? await first.exchange.readBody(first.route.stallTimeout) : undefined
      // Whoever signed out while it came does not act any more.
      if (body && first.session) await sessions.requireLive(first.session)
      const isRepeatable = !first.exchange.hasBody || body !== undefined
      const token = isRepeatable && isRenewable(first)
      const worth: Worth = { token, proof: isRepeatable, nonce: undefined, isRefused: false }
      let call = first
      for (;;) {
        const proof = proofFor(call, worth.nonce)
        const outcome = await attempt(call, body, proof && (await proof), worth, () => refusedForGood(call, first))
        if (call !== first && typeof outcome !== 'string' && !worth.isRefused) credentials.wasWorthIt(call.credential)
        if (typeof outcome !== 'string') return outcome
        worth[outcome] = false
        if (outcome === 'token') call = await renewed(call)
      }
    } catch (error) {
      events.failed(first, error)
      throw error
    } finally {
      kept -= length
    }
  }

  async function renewed(call: ForwardedCall): Promise<ForwardedCall> {
    const { route, session, credential } = call
    const next = credential?.token && (await credentials.renew(route, session, credential.token))
    return { ...call, credential: next }
  }

  /** The refusal of a token goes through. */
  function refusedForGood(call: ForwardedCall, first: ForwardedCall): void {
    const { session, route, credential } = call
    const token = credential?.token
    if (token === undefined) return
    if (call !== first) {
      platform.log({ event: 'upstream.token_refused', route: route.path, reason: 'upstream_token_refused' })
    } else if (isRenewable(call)) {
      // This call cannot be sent again, but the next one need not fail as well.
      platform.waitUntil(credentials.renew(route, session, token, 'unasked').catch(() => {}))
    }
  }

  /** There is something to renew with, and no reason to believe that fresh tokens are refused too. */
  const isRenewable = ({ session, route, credential }: ForwardedCall) =>
    credentials.isRenewable(route, session, credential?.token)

  /** One try. What is worth another is withheld from the browser, and named instead. @throws CoatcheckError */
  async function attempt(
    call: ForwardedCall,
    body: ForwardedBody,
    proof: string | undefined,
    worth: Worth,
    onRefused: () => void,
  ): Promise<Response | Refused> {
    const { session, credential, route } = call
    let refusal: CoatcheckError | Refused | undefined
    let wanted: readonly string[] | undefined
    const withhold: Withhold = (status, challenge, answer) => {
      const better = proof === undefined ? undefined : dpop.learn(route.origin, status, answer, worth)
      if (challenge === undefined || (status !== 401 && status !== 403)) return false
      if (session) {
        const stepUp = status === 401 ? stepUpAskedFor(challenge) : undefined
        if (stepUp) refusal = strongerSignIn(stepUp, session, loginUrl, platform.now())
        else if (status === 403) wanted = scopeAskedFor(challenge)
      }
      if (refusal || wanted) return true
      if (status !== 401 || credential?.token === undefined) return false
      worth.nonce = better?.nonce
      if (better) refusal = 'proof'
      else if (isInvalidToken(challenge)) {
        refusal = worth.token ? 'token' : undefined
        worth.isRefused = refusal === undefined
        if (worth.isRefused) onRefused()
      }
      return refusal !== undefined
    }
    const forwarded = upstreamCall(call, body, proof, withhold, () => following?.take() ?? [])
    // Nothing that may fail between this and the try: it asks again and again until it is told to stop.
    const following = session && answerCookies.follow(session)
    try {
      const carry = (forwarded.websocket && platform.upgrade) ?? platform.transport
      const answer = await carry(forwarded, call.exchange)
      if (answer) return answer
    } finally {
      following?.take()
    }
    if (typeof refusal === 'string') return refusal
    if (wanted && session) throw await widerSignInFor(wanted, route, session, { loginUrl, proveScope })
    throw refusal ?? new CoatcheckError('internal_error', 'unexpected', {}, route.path)
  }

  /** The proof that goes with a token that is bound to a key. */
  function proofFor({ credential, route, path, exchange: { method } }: ForwardedCall, nonce: string | undefined) {
    const token = credential?.token
    if (token === undefined || !isBound(token)) return undefined
    const end = path.indexOf('?')
    return dpop.prove(token, { method, url: route.origin + (end === -1 ? path : path.slice(0, end)) }, nonce)
  }

  function upstreamCall(
    call: ForwardedCall,
    body: ForwardedBody,
    proof: string | undefined,
    withhold: Withhold,
    takeCookies: () => readonly string[],
  ): UpstreamCall {
    const { route, path, exchange, address, session, credential, isBearer, protocols } = call
    const { method, headers, hasBody } = exchange
    const websocket = protocols && route.websocket
    const sentAt = platform.now()
    let answered = 0
    let waited = 0
    return {
      destination: route.destination,
      path,
      method,
      headers: towardsUpstream(headers, {
        credential,
        proof,
        contentLength: hasBody ? headerText(headers, 'content-length') : undefined,
        clientAddress: address,
        proto,
        host,
        origin: websocket && websocket.origin === 'upstream' ? route.origin : undefined,
      }),
      body,
      timeout: route.timeout,
      stallTimeout: route.stallTimeout,
      bodyLimit: route.bodyLimit,
      receive(status, answer) {
        const asked = headerText(answer, 'www-authenticate')
        if (withhold(status, asked, answer)) return undefined
        answered = status
        waited = platform.now() - sentAt
        const location = headerText(answer, 'location')
        const rewritten = location === undefined ? undefined : browserLocation(route, location, path)
        if (location !== undefined && rewritten === undefined) {
          platform.log({ event: 'upstream.redirect_blocked', route: route.path, reason: 'upstream_redirect' })
        }
        const setCookie = takeCookies()
        return towardsBrowser(answer, {
          fromSession: route.usesSession,
          isSecure,
          setCookie,
          challenge: isBearer ? challengeFor(status, asked) : undefined,
          location: rewritten,
        })
      },
      ended: (bytes) => events.over(call, answered, answered ? waited : platform.now() - sentAt, bytes),
      broken: (reason) => events.broken(route.path, reason),
      websocket: websocket
        ? webSocketCall(route.path, websocket, protocols, { session, credential, platform, sessions })
        : undefined,
      watch: session && ((abort) => watchSession(session, route, abort)),
    }
  }

  /** A stream does not outlive its session. */
  function watchSession(session: Session, { path: route }: Route, abort: () => void): () => void {
    return sessions.whenOver(session, () => {
      platform.log({ event: 'stream.ended', route, session: session.id })
      abort()
    })
  }

  /** Bytes of the body, if it is read before it is sent, so that it can be sent again; else 0. */
  function lengthToKeep({ exchange, credential }: ForwardedCall): number {
    if (!exchange.hasBody || credential?.token === undefined) return 0
    const length = Number(exchange.headers['content-length'] ?? Number.NaN)
    const most = isBound(credential.token) ? repeatableBodyWithProof : repeatableBody
    return length <= most && kept + length <= mostKept ? length : 0
  }

  return send
}

// One try of a call: what goes up, and what is made of the head of the answer.
import type { Config } from '../config.ts'
import type { CoatcheckError } from '../errors.ts'
import type { LoginUrl } from '../login-url.ts'
import type { AnswerCookies } from '../oauth/answer-cookies.ts'
import type { Credential, Credentials } from '../oauth/credentials.ts'
import type { Dpop, ProvenTry } from '../oauth/dpop.ts'
import {
  type Exchange,
  type HeaderList,
  type HeaderRecord,
  headerText,
  type Platform,
  type UpstreamCall,
} from '../platform.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { challengeFor, isInvalidToken, scopeAskedFor, stepUpAskedFor } from '../upstream/challenges.ts'
import { towardsBrowser, towardsUpstream } from '../upstream/headers.ts'
import { browserLocation, type Route } from '../upstream/routes.ts'
import { strongerSignIn } from '../upstream/stronger-sign-in.ts'
import type { CallEvents } from './call-events.ts'
import { webSocketCall } from './websocket.ts'

/** A caller with an access token of its own. */
export interface Bearer {
  /** Calls `ended` once, when the token is not good any more: soon after it expired or was found to be revoked. Returns what takes that back. */
  whenOver(ended: () => void): () => void
}

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
  /** There if the caller brought the credential itself, and is told what the upstream has against it. */
  readonly bearer?: Bearer
  /** Subprotocols that the browser offers, if this is the handshake of a WebSocket. */
  readonly protocols: readonly string[] | undefined
}

/** What may be wrong with the credential of a try, such that another try may be accepted. */
export type Refused = 'token' | 'proof'

/** Whether each of them is worth another try. */
export interface Worth extends ProvenTry {
  token: boolean
  /** Whether the last try was refused for its token, and that goes through. */
  isRefused: boolean
}

/**
 * One try, as the transport is given it: with what came of it, where that is withheld from the browser and worth another try or an
 * error of ours. There is one for every call: so it has fields, and no closures.
 */
export interface Attempt extends UpstreamCall {
  readonly call: ForwardedCall
  /** Whether its token took the place of a refused one. */
  readonly isRenewed: boolean
  readonly proof: string | undefined
  readonly worth: Worth
  /** Milliseconds since 1970. */
  readonly sentAt: number
  following: ReturnType<AnswerCookies['follow']> | undefined
  /** What the browser saw, and how long the upstream took to say so. */
  status: number
  upstreamWaited: number
  refusal: CoatcheckError | Refused | undefined
  /** Scopes that a sign-in must bring. */
  wanted: readonly string[] | undefined
}

export interface AttemptParts {
  config: Pick<Config, 'publicUrl'>
  platform: Pick<Platform, 'now' | 'log' | 'waitUntil'>
  sessions: Sessions
  credentials: Credentials
  dpop: Dpop
  loginUrl: LoginUrl
  events: CallEvents
}

/** Makes an attempt, ready to be sent. @param proof that goes with a token that is bound to a key */
export type Attempts = (
  call: ForwardedCall,
  isRenewed: boolean,
  body: UpstreamCall['body'],
  proof: string | undefined,
  worth: Worth,
) => Attempt

export function createAttempts({
  config,
  platform,
  sessions,
  credentials,
  dpop,
  loginUrl,
  events,
}: AttemptParts): Attempts {
  const { protocol, host } = new URL(config.publicUrl)
  const proto = protocol.slice(0, -1)
  const isSecure = proto === 'https'

  function attempt(
    call: ForwardedCall,
    isRenewed: boolean,
    body: UpstreamCall['body'],
    proof: string | undefined,
    worth: Worth,
  ): Attempt {
    const { route, path, exchange, address, session, credential, bearer, protocols } = call
    const { method, headers, hasBody } = exchange
    const websocket = protocols && route.websocket
    return {
      call,
      isRenewed,
      proof,
      worth,
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
      sentAt: platform.now(),
      following: undefined,
      status: 0,
      upstreamWaited: 0,
      refusal: undefined,
      wanted: undefined,
      websocket: websocket
        ? webSocketCall(route.path, websocket, protocols, { session, credential, bearer, platform, sessions })
        : undefined,
      receive,
      ended,
      broken,
      watch: session && watch,
    }
  }

  function receive(this: Attempt, status: number, answer: HeaderRecord): HeaderList | undefined {
    const { route, path, bearer } = this.call
    const asked = headerText(answer, 'www-authenticate')
    if (isWithheld(this, status, asked, answer)) return undefined
    this.status = status
    this.upstreamWaited = platform.now() - this.sentAt
    const location = headerText(answer, 'location')
    const rewritten = location === undefined ? undefined : browserLocation(route, location, path)
    if (location !== undefined && rewritten === undefined) {
      platform.log({ event: 'upstream.redirect_blocked', route: route.path, reason: 'upstream_redirect' })
    }
    return towardsBrowser(answer, {
      fromSession: route.usesSession,
      isSecure,
      setCookie: this.following?.take() ?? [],
      challenge: bearer ? challengeFor(status, asked) : undefined,
      location: rewritten,
    })
  }

  /** Whether an answer is withheld from the browser, because it is worth another try, or an error that says more. */
  function isWithheld(one: Attempt, status: number, challenge: string | undefined, answer: HeaderRecord): boolean {
    const { call, proof, worth } = one
    const { session, credential, route } = call
    const better = proof === undefined ? undefined : dpop.learn(route.origin, status, answer, worth)
    if (challenge === undefined || (status !== 401 && status !== 403)) return false
    if (session) {
      const stepUp = status === 401 ? stepUpAskedFor(challenge) : undefined
      if (stepUp) one.refusal = strongerSignIn(stepUp, session, loginUrl, platform.now())
      else if (status === 403) one.wanted = scopeAskedFor(challenge)
    }
    if (one.refusal || one.wanted) return true
    if (status !== 401 || credential?.token === undefined) return false
    worth.nonce = better?.nonce
    if (better) one.refusal = 'proof'
    else if (isInvalidToken(challenge)) {
      if (worth.token && isRenewable(call)) one.refusal = 'token'
      worth.isRefused = one.refusal === undefined
      if (worth.isRefused) refusedForGood(one)
    }
    return one.refusal !== undefined
  }

  function ended(this: Attempt, bytes: number | undefined): void {
    events.over(this.call, this.status, this.status ? this.upstreamWaited : platform.now() - this.sentAt, bytes)
  }

  function broken(this: Attempt, reason: Parameters<UpstreamCall['broken']>[0]): void {
    events.broken(this.call.route.path, reason)
  }

  /** A stream does not outlive its session. */
  function watch(this: Attempt, abort: () => void): () => void {
    const { session, route } = this.call
    if (!session) return () => {}
    return sessions.whenOver(session, () => {
      platform.log({ event: 'stream.ended', route: route.path, session: session.id })
      abort()
    })
  }

  /** The refusal of a token goes through. */
  function refusedForGood({ call, isRenewed }: Attempt): void {
    const { session, route, credential } = call
    const token = credential?.token
    if (token === undefined) return
    if (isRenewed) {
      platform.log({ event: 'upstream.token_refused', route: route.path, reason: 'upstream_token_refused' })
    } else if (isRenewable(call)) {
      // This call cannot be sent again, but the next one need not fail as well.
      platform.waitUntil(credentials.renew(route, session, token, 'unasked').catch(() => {}))
    }
  }

  /** There is something to renew with, and no reason to believe that fresh tokens are refused too. */
  const isRenewable = ({ session, route, credential }: ForwardedCall) =>
    credentials.isRenewable(route, session, credential?.token)

  return attempt
}

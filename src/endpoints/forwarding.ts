// Sends one call to its upstream, as often as its challenges are worth: a refused token is one renewal and one more try.
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { LoginUrl } from '../login-url.ts'
import type { AnswerCookies } from '../oauth/answer-cookies.ts'
import type { Credentials } from '../oauth/credentials.ts'
import type { Dpop } from '../oauth/dpop.ts'
import type { AccessToken, BindingKey } from '../oauth/token-set.ts'
import type { Platform } from '../platform.ts'
import type { Sessions } from '../session/sessions.ts'
import { type ScopeProof, widerSignInFor } from '../upstream/stronger-sign-in.ts'
import { type Attempt, createAttempts, type ForwardedCall, type Worth } from './attempt.ts'
import { createCallEvents } from './call-events.ts'

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

const isBound = (token: AccessToken): token is AccessToken & { readonly key: BindingKey } => token.key !== undefined

export function createForwarding(parts: ForwardingParts): Forwarding {
  const { platform, sessions, credentials, answerCookies, dpop, proveScope, loginUrl } = parts
  const events = createCallEvents(platform)
  const attempt = createAttempts({ ...parts, events })
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
      const worth: Worth = { token: isRepeatable, proof: isRepeatable, nonce: undefined, isRefused: false }
      let call = first
      for (;;) {
        const proof = proofFor(call, worth.nonce)
        const one = attempt(call, call !== first, body, proof && (await proof), worth)
        // Nothing that may fail between this and the answer: it asks again and again until it is told to stop.
        one.following = call.session && answerCookies.follow(call.session)
        try {
          const carry = (one.websocket && platform.upgrade) ?? platform.transport
          const answer = await carry(one, call.exchange)
          if (answer) {
            if (call !== first && !worth.isRefused) credentials.wasWorthIt(call.credential)
            return answer
          }
        } finally {
          one.following?.take()
        }
        if (typeof one.refusal !== 'string') throw await errorOf(one)
        worth[one.refusal] = false
        if (one.refusal === 'token') call = await renewed(call)
      }
    } catch (error) {
      events.failed(first, error)
      throw error
    } finally {
      kept -= length
    }
  }

  async function errorOf({ refusal, wanted, call: { session, route } }: Attempt): Promise<unknown> {
    if (wanted && session) return widerSignInFor(wanted, route, session, { loginUrl, proveScope })
    return refusal ?? new CoatcheckError('internal_error', 'unexpected', {}, route.path)
  }

  async function renewed(call: ForwardedCall): Promise<ForwardedCall> {
    const { route, session, credential } = call
    const next = credential?.token && (await credentials.renew(route, session, credential.token))
    return { ...call, credential: next }
  }

  /** The proof that goes with a token that is bound to a key. */
  function proofFor({ credential, route, path, exchange: { method } }: ForwardedCall, nonce: string | undefined) {
    const token = credential?.token
    if (token === undefined || !isBound(token)) return undefined
    const end = path.indexOf('?')
    return dpop.prove(token, { method, url: route.origin + (end === -1 ? path : path.slice(0, end)) }, nonce)
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

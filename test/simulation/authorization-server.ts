// A model of an authorization server that takes rotation seriously: a refresh token that is presented again after it was
// spent ends the sign-in. It keeps book of every presentation and of what became of the answer.
import type { FetchInit } from '../../src/platform.ts'
import type { Clock } from './clock.ts'
import type { AccessToken, Grant, Presentation, RefreshToken, ServerFault } from './grants.ts'
import { clientId, issuer, jwk, jwt, metadata } from './published.ts'
import type { Random } from './random.ts'

export interface ServerOptions {
  clock: Clock
  random: Random
  rotate: boolean
  idTokenOnRefresh: boolean
  /** Seconds. */
  expiresIn: number
  /** Longest way of a message, in milliseconds. */
  distance: number
  /** Told before a presentation is answered. */
  onPresented: (presentation: Presentation) => void
  note: (line: string) => void
}

interface Call {
  readonly instance: number
  readonly path: string
  readonly body: URLSearchParams
}

type Answer = { status: number; body: unknown }

export type SimulatedServer = ReturnType<typeof createServer>

export function createServer(options: ServerOptions) {
  const { clock, random, note } = options
  const faults = new Map<ServerFault, number>()
  const codes = new Map<string, { grant: Grant; nonce: string; used: boolean }>()
  const refreshTokens = new Map<string, RefreshToken>()
  const accessTokens = new Map<string, AccessToken>()
  const grants: Grant[] = []
  let faultyUntil = Number.NEGATIVE_INFINITY
  let failedAt = Number.NEGATIVE_INFINITY

  const has = (fault: ServerFault) => (faults.get(fault) ?? 0) > clock.now()
  const seconds = () => Math.floor(clock.now() / 1_000)
  const way = () => clock.sleep(random.between(0, options.distance))

  function idToken(user: string, sid: string, more: object = {}): string {
    const time = { iat: seconds(), exp: seconds() + 300 }
    return jwt({ iss: issuer, aud: clientId, sub: user, sid, ...time, ...more })
  }

  function issue(grant: Grant, from: Presentation | undefined, withRefreshToken: boolean) {
    const serial = ++grant.issued
    const user = from && has('impostor') ? 'mallory' : grant.user
    const access = { text: `at-${grant.name}-${serial}`, grant, serial, user }
    accessTokens.set(access.text, { ...access, expiresAt: clock.now() + options.expiresIn * 1_000 })
    const answer: Record<string, unknown> = { access_token: access.text, token_type: 'Bearer' }
    answer.expires_in = options.expiresIn
    if (!withRefreshToken) return answer
    const text = `rt-${grant.name}-${serial}`
    const token: RefreshToken = {
      ...{ text, grant, from, presentations: [] },
      ...{ spent: false, revoked: false, revocationFailed: false },
    }
    refreshTokens.set(text, token)
    if (from) from.brought = token
    return { ...answer, refresh_token: text }
  }

  function redeemCode(body: URLSearchParams): Answer {
    const code = codes.get(body.get('code') ?? '')
    if (!code) return { status: 400, body: { error: 'invalid_grant' } }
    if (code.used) {
      // RFC 6749, section 4.1.2: what the code brought should be revoked.
      code.grant.over ??= 'code used twice'
      note(`AS: the code of ${code.grant.name} came twice, the grant is over`)
      return { status: 400, body: { error: 'invalid_grant' } }
    }
    code.used = true
    const { user, sid } = code.grant
    return {
      status: 200,
      body: { ...issue(code.grant, undefined, true), id_token: idToken(user, sid, { nonce: code.nonce }) },
    }
  }

  function refresh(presentation: Presentation): Answer {
    const { token } = presentation
    const { grant } = token
    if (token.spent && grant.over === undefined) {
      grant.over = 'reuse'
      note(`AS: ${token.text} came again, ${grant.name} is over`)
    }
    if (grant.over !== undefined || token.revoked) {
      presentation.outcome = 'refused'
      return { status: 400, body: { error: 'invalid_grant' } }
    }
    presentation.outcome = 'renewed'
    if (options.rotate) token.spent = true
    const isImpostor = has('impostor')
    if (isImpostor) grant.impostor = true
    const answer = issue(grant, presentation, options.rotate)
    const withIdToken = options.idTokenOnRefresh || isImpostor
    const body = withIdToken ? { ...answer, id_token: idToken(isImpostor ? 'mallory' : grant.user, grant.sid) } : answer
    return { status: 200, body }
  }

  function revoke(body: URLSearchParams): Answer {
    const text = body.get('token') ?? ''
    const token = refreshTokens.get(text)
    // Deliberately no more than asked: the tokens that came after a spent one live on.
    if (token) token.revoked = true
    note(`AS: ${text} revoked`)
    return { status: 200, body: '' }
  }

  function decide({ path, body }: Call, presentation: Presentation | undefined): Answer {
    switch (path) {
      case '/.well-known/openid-configuration':
        return { status: 200, body: metadata }
      case '/jwks':
        return has('no-keys') ? { status: 503, body: 'away' } : { status: 200, body: { keys: [jwk] } }
      case '/token':
        if (presentation) return refresh(presentation)
        if (body.get('grant_type') === 'authorization_code') return redeemCode(body)
        return { status: 400, body: { error: 'invalid_grant' } }
      case '/revoke':
        return revoke(body)
      default:
        return { status: 404, body: 'not here' }
    }
  }

  /** From the arrival of a request to its answer, through whatever is wrong at that moment. */
  async function handle(call: Call, presentation: Presentation | undefined): Promise<Response> {
    await way()
    const failed = (status: number, body: unknown) => {
      if (presentation) presentation.outcome = 'failed'
      failedAt = clock.now()
      return response({ status, body })
    }
    const broken = () => new TypeError('fetch failed')
    if (has('reset-before')) {
      if (presentation) presentation.outcome = 'failed'
      throw broken()
    }
    if (has('error-500')) return failed(500, 'oops')
    if (has('error-429')) return failed(429, { error: 'slow_down' })
    if (has('nonsense')) return failed(200, 'not what was asked for')
    if (has('hang')) {
      if (random.chance(0.5)) decide(call, presentation)
      return new Promise(() => {})
    }
    await clock.sleep(has('slow') ? random.between(500, 14_000) : random.between(0, 20))
    const answer = decide(call, presentation)
    if (has('reset-after')) throw broken()
    await way()
    return response(answer)
  }

  function present(instance: number, body: URLSearchParams): Presentation | undefined {
    const token = body.get('grant_type') === 'refresh_token' && refreshTokens.get(body.get('refresh_token') ?? '')
    if (!token) return undefined
    const presentation: Presentation = { token, instance, sentAt: clock.now() }
    options.onPresented(presentation)
    token.presentations.push(presentation)
    return presentation
  }

  return {
    grants,
    accessTokens,
    refreshTokens,

    /** What an instance reaches the server with. */
    fetch(instance: number, url: string, init: FetchInit): Promise<Response> {
      const path = new URL(url).pathname
      const body = new URLSearchParams(init.body === undefined || init.body === null ? '' : String(init.body))
      const presentation = present(instance, body)
      note(`I${instance} -> AS ${path} ${body.get('refresh_token') ?? body.get('token') ?? ''}`)
      const revoked = path === '/revoke' ? refreshTokens.get(body.get('token') ?? '') : undefined
      let isDone = false
      const finish = (told: boolean) => {
        isDone = true
        if (!told) failedAt = clock.now()
        if (presentation) presentation.finished ??= { at: clock.now(), told }
        if (revoked && !told) revoked.revocationFailed = true
      }
      return new Promise((resolve, reject) => {
        init.signal?.addEventListener('abort', () => {
          if (isDone) return
          finish(false)
          note(`I${instance} gave up waiting for AS ${path}`)
          reject(init.signal?.reason)
        })
        handle({ instance, path, body }, presentation).then(
          (answer) => {
            finish(true)
            if (revoked && !revoked.revoked) revoked.revocationFailed = true
            note(`I${instance} <- AS ${path} ${answer.status}`)
            resolve(answer)
          },
          (error) => {
            finish(false)
            note(`I${instance} <- AS ${path} broken connection`)
            reject(error)
          },
        )
      })
    },

    /** The user signs in at the server: an authorization request becomes the address of the callback. */
    authorize(address: string, user: string): { callback: URL; grant: Grant } {
      const { searchParams } = new URL(address)
      const name = `g${grants.length + 1}`
      const grant: Grant = { name, user, sid: `sid-${name}`, issued: 0 }
      grants.push(grant)
      codes.set(`code-${name}`, { grant, nonce: searchParams.get('nonce') ?? '', used: false })
      const callback = new URL(searchParams.get('redirect_uri') ?? '')
      callback.search = new URLSearchParams({
        code: `code-${name}`,
        state: searchParams.get('state') ?? '',
        iss: issuer,
      }).toString()
      return { callback, grant }
    },

    logoutToken(about: { sub?: string; sid?: string }, jti: string): string {
      const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
      const claims = { iss: issuer, aud: clientId, iat: seconds(), exp: seconds() + 120, jti, events, ...about }
      return jwt(claims, { typ: 'logout+jwt' })
    },

    break(fault: ServerFault, milliseconds: number): void {
      const until = clock.now() + milliseconds
      faults.set(fault, Math.max(until, faults.get(fault) ?? 0))
      faultyUntil = Math.max(faultyUntil, until)
    },
    heal(): void {
      faults.clear()
      faultyUntil = Math.min(faultyUntil, clock.now())
    },
    /** When a request last came to nothing. */
    failedAt: () => failedAt,
    /** Until when anything was, or will be, wrong. */
    faultyUntil: () => faultyUntil,
  }
}

function response({ status, body }: Answer): Response {
  const isData = typeof body !== 'string'
  const headers = { 'content-type': isData ? 'application/json' : 'text/plain' }
  return new Response(isData ? JSON.stringify(body) : body, { status, headers })
}

// An authorization server says that a session is over (OpenID Connect Back-Channel Logout 1.0).
import type { Context } from 'hono'
import { ownAnswerHeaders, problemResponse } from '../answers.ts'
import { CoatcheckError } from '../errors.ts'
import { claimedIssuer } from '../oauth/logout-token.ts'
import type { RelyingParty } from '../oauth/relying-party.ts'
import { headerText, type Platform } from '../platform.ts'
import type { Names } from '../session/names.ts'
import type { Sealer } from '../session/seal.ts'
import type { Sessions } from '../session/sessions.ts'

export interface BackchannelLogoutParts {
  platform: Pick<Platform, 'exchange' | 'log' | 'now' | 'store'>
  relyingParties: ReadonlyMap<string, RelyingParty>
  sessions: Sessions
  names: Names
  sealer: Sealer
}

/** Longest body that is read. Bytes. */
const longestBody = 32_768
/** How long it may take to arrive. Milliseconds. */
const bodyTime = 10_000

/** `POST /auth/backchannel-logout`: a call from server to server, without cookies, proven by the token alone. */
export function createBackchannelLogout(parts: BackchannelLogoutParts): (c: Context) => Promise<Response> {
  const { platform, relyingParties, sessions, names, sealer } = parts
  const { log, store, now } = platform
  const byIssuer = new Map([...relyingParties.values()].map((one) => [one.provider.issuer, one]))

  /**
   * Whether this token was never here before, and when it came first. Under the names by all keys, because instances may
   * differ in the newest.
   */
  async function noted(issuer: string, jti: string, expiresAt: number): Promise<{ isNew: boolean; since: number }> {
    const time = now()
    const keys = (await sealer.hashes('jti', JSON.stringify([issuer, jti]))).map((hash) => `jti-${hash}`)
    const told = await Promise.all(keys.map((key) => store.add(key, String(time), Math.max(1, expiresAt - time))))
    if (told.every(Boolean)) return { isNew: true, since: time }
    const times = await Promise.all(keys.map((key) => store.get(key)))
    return { isNew: false, since: Math.min(time, ...times.flatMap((one) => (one === undefined ? [] : Number(one)))) }
  }

  /** A session is the smaller thing: with both, only it ends (section 2.7), or the user's of which no `sid` is known. */
  async function marksOf(issuer: string, sid: string | undefined, subject = ''): Promise<readonly string[]> {
    if (sid === undefined) return names.user(issuer, subject)
    const named = await names.providerSession(issuer, sid)
    return subject === '' ? named : [...named, ...(await names.nameless(issuer, subject))]
  }

  async function end(c: Context): Promise<void> {
    const token = await logoutTokenOf(c, platform)
    const relyingParty = byIssuer.get(claimedIssuer(token) ?? '')
    if (!relyingParty) throw new CoatcheckError('bad_request', 'logout_token_malformed')
    const { issuer, sid, subject, jti, expiresAt } = await relyingParty.logoutToken(token)
    const marks = await marksOf(issuer, sid, subject)
    const { isNew, since } = await noted(issuer, jti, expiresAt).catch(async (error) => {
      // Perhaps it was noted, and only the answer was lost. Then the next try is no news to anybody.
      await sessions.endByName(marks).catch(() => {})
      throw error
    })
    if (!isNew) {
      // Whoever noted it may have died before they told anybody. What began since then lives on.
      await sessions.endByName(marks, since)
      throw new CoatcheckError('bad_request', 'logout_token_replayed')
    }
    await sessions.endByName(marks)
    log({ event: 'backchannel.logout', provider: relyingParty.provider.id, wholeUser: sid === undefined })
  }

  return async (c) => {
    try {
      await end(c)
      return new Response(null, { status: 200, headers: ownAnswerHeaders })
    } catch (error) {
      if (!(error instanceof CoatcheckError) || error.code !== 'bad_request') throw error
      log({ event: 'request.refused', code: error.code, reason: error.reason })
      // Section 2.8 has the members of RFC 6749, section 5.2; the rest is as everywhere here.
      return problemResponse('bad_request', { oauthError: 'invalid_request' })
    }
  }
}

/** The one parameter of the form. @throws CoatcheckError `bad_request` */
async function logoutTokenOf(c: Context, { exchange }: Pick<Platform, 'exchange'>): Promise<string> {
  const { headers } = exchange(c)
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(headerText(headers, 'content-type') ?? '')
  const body = isForm ? await bounded(c.req.raw.body) : undefined
  const [token, ...more] = new URLSearchParams(body).getAll('logout_token')
  if (token === undefined || token === '' || more.length > 0) {
    throw new CoatcheckError('bad_request', 'logout_token_malformed')
  }
  return token
}

async function bounded(body: ReadableStream<Uint8Array> | null): Promise<string> {
  const decoder = new TextDecoder()
  const reader = body?.getReader()
  const tooMuch = new CoatcheckError('bad_request', 'logout_token_malformed')
  let text = ''
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(tooMuch)
      // On Node this is the end of the connection: the answer goes first. What is only too long is not cancelled therefore.
      setTimeout(() => void reader?.cancel().catch(() => {}))
    }, bodyTime)
  })
  try {
    for (;;) {
      const piece = await Promise.race([reader?.read(), late])
      if (piece === undefined || piece.done) return text
      text += decoder.decode(piece.value, { stream: true })
      if (text.length > longestBody) throw tooMuch
    }
  } finally {
    clearTimeout(timer)
  }
}

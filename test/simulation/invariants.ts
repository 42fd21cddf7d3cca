// The invariants of ARCHITECTURE ("One refresh", "One end") as questions to what happened. Each function answers with
// what is wrong, or with nothing. What is excused, and why, stands beside each of them.
import type { Presentation } from './grants.ts'
import type { KnownSession, Model, Outcome, RequestRecord } from './model.ts'

export const invariants = {
  oneRedemption:
    'One redemption. A refresh token of a generation is spent by whoever holds the lease, and by nobody who finds a successor.',
  noResurrection:
    'No resurrection. A tombstone is looked for before a session is used, after a successor was written down, and before a cookie is set.',
  revoked: 'No resurrection. Tokens that came back for a session that had ended are revoked.',
  noRegression: 'No regression. A newer generation is adopted, an older one never.',
  noLostSession:
    'No lost session by a passing fault. Only invalid_grant, or a refreshed ID token of somebody else, ends a session.',
  nobodyWaits:
    'Nobody waits for nothing. While the token is good the request goes out with it, and the refresh runs behind.',
  noWrongUser: 'No wrong user. What reaches an API, or a page, is of the user whose session the request brought.',
  noDefect: 'Whatever happens, an answer is one of our own, for a reason, and in time.',
} as const

export type Invariant = keyof typeof invariants

/** Nobody is let in on older knowledge of endings than this. Milliseconds. */
const freshness = 1_000

/** A token is about to be presented: are the earlier times over, and did they come to nothing? */
export function oneRedemption(model: Model, presentation: Presentation, session: KnownSession): string | undefined {
  const { sentAt, token } = presentation
  for (const earlier of token.presentations) {
    const lease = model.leaseOf.get(earlier)
    const who = `${token.text} is presented by I${presentation.instance}, and was by I${earlier.instance} at ${earlier.sentAt}`
    // Dead men tell no tales: the lease runs out, and somebody else has to try.
    if (model.diedAt.has(earlier.instance)) continue
    // Whoever cannot reach the store cannot hold on to a lease. It is made longer than a redemption takes.
    const ranOut = lease !== undefined && lease.heldUntil <= sentAt && lease.releasedAt === undefined
    if (earlier.finished === undefined) {
      // Who ends a session takes its tokens out of the store. An instance that remembers an older generation may then try
      // that one's token, and where the server does not rotate it is the same. What comes back is revoked.
      const isOther = session.ending !== undefined && lease?.key !== model.leaseOf.get(presentation)?.key
      if (!ranOut && !isOther) return `${who}, which is still under way`
      continue
    }
    const cameBack = earlier.finished.told && earlier.outcome === 'renewed'
    // After an error, or an answer that was lost, trying again is all there is: whether the token is spent nobody knows.
    if (!cameBack || !model.rotate) continue
    // Tokens that came with somebody else's ID token were thrown away. That others may not hear of it is the store's fault.
    if (token.grant.impostor && model.store.failedAt() >= earlier.sentAt) continue
    const writtenAt = lease && model.successorAt.get(lease.key)
    if (writtenAt === undefined) {
      // The store was away until the lease ran out: what the other got, nobody could know.
      if (!ranOut) return `${who}, who got tokens for it and left them nowhere`
      continue
    }
    // A browser that missed the answer and was away for longer than the replay window has lost its session. That is what
    // the window is; but it must have been given the chance.
    const inCookies = model.config.session.storage === 'cookie'
    const isForgotten = sentAt >= writtenAt + model.config.refresh.replayWindow
    // The same: a request that began before the end may try what it has.
    if (isForgotten && session.ending !== undefined) continue
    const wasOffered = [...session.offered].some((text) => isAfter(model, text, token.text))
    if (!inCookies || !isForgotten) return `${who}, whose successor was written at ${writtenAt}`
    if (!wasOffered) return `${who}, whose successor no answer ever brought to the browser`
  }
  return undefined
}

/** Whether an access token came after a refresh token was spent. */
function isAfter({ server }: Model, accessToken: string, refreshToken: string): boolean {
  const serialOf = (text: string) => Number(text.slice(text.lastIndexOf('-') + 1))
  return server.accessTokens.has(accessToken) && serialOf(accessToken) > serialOf(refreshToken)
}

/** Whether this request may use the session it brought, for all that its instance must know. */
export function noResurrection(session: KnownSession, { instance, startedAt }: RequestRecord): string | undefined {
  const knownAt = session.knownBy.get(instance)
  if (knownAt !== undefined && knownAt <= startedAt) {
    return `${session.name} is used on I${instance}, which had answered at ${knownAt} that it is over`
  }
  if (session.toldAt !== undefined && startedAt > session.toldAt + freshness) {
    return `${session.name} is used by a request of ${startedAt}, and everybody was told at ${session.toldAt} that it is over`
  }
  return undefined
}

/** Whether the answer to a request may set cookies of a session. */
export function noCookieOfTheDead(session: KnownSession, request: RequestRecord, at: number): string | undefined {
  const knownAt = session.knownBy.get(request.instance)
  if (knownAt !== undefined && knownAt <= at) {
    return `I${request.instance} sets a cookie of ${session.name}, of which it had answered at ${knownAt} that it is over`
  }
  return noResurrection(session, request)
}

/** Whether a call went out with tokens of the session that was brought, and none older than those. */
export function rightTokens(
  { brought, session, calls }: RequestRecord,
  { server }: Pick<Model, 'server'>,
): [Invariant, string] | undefined {
  const token = calls.at(-1)?.token
  if (token === undefined || session === undefined) return ['noWrongUser', 'A call went out with a token of nobody']
  if (token.grant !== session.grant || token.user !== session.grant.user) {
    return ['noWrongUser', `${token.text} of ${token.user} went out for ${session.name} of ${session.grant.user}`]
  }
  const had = server.accessTokens.get(brought.holding?.tokens.accessToken ?? '')
  if (had && had.serial > token.serial) {
    return ['noRegression', `${token.text} went out for a request that brought ${had.text}`]
  }
  return undefined
}

/** Whether a call whose token was good went out without waiting for the authorization server. */
export function nobodyWaits(model: Model, { brought, calls, startedAt, instance }: RequestRecord): string | undefined {
  const { at, token } = calls[0] ?? {}
  const { accessToken, expiresAt = 0 } = brought.holding?.tokens ?? {}
  if (at === undefined || at + model.skewOf(instance) >= expiresAt) return undefined
  // What others got for it already may be over by this clock, though not by theirs.
  if (token?.text !== accessToken && model.clocksDisagree) return undefined
  // The store may have to be asked what ended, and a store that is away says so within two seconds.
  const longest = model.store.failedAt(instance) >= startedAt ? 5_000 : 1_000
  return at - startedAt > longest ? `A call with a good token waited for ${at - startedAt} ms` : undefined
}

/** Why a browser may be told that its session is over; `undefined` when there is no reason. */
export function causeOfEnd(model: Model, { session, brought, browser, instance }: RequestRecord): string | undefined {
  const {
    session: lifetimes,
    session: { storage },
  } = model.config
  const { ticket, holding } = brought
  if (ticket === undefined || session === undefined) return model.overtaken.has(browser) ? 'mixed cookies' : undefined
  if (session.ending) return session.ending.why
  // Reuse, too: who is to blame for it was asked when the token was presented.
  if (session.grant.over !== undefined) return session.grant.over
  if (session.grant.impostor) return 'identity changed'
  const now = model.clock.now() + model.skewOf(instance)
  if (now >= ticket.seenAt + lifetimes.idleTimeout) return 'idle'
  if (now >= ticket.createdAt + lifetimes.absoluteTimeout) return 'too old'
  if (storage === 'cookie' && holding === undefined && model.overtaken.has(browser)) return 'mixed cookies'
  // All sessions of a user, or of one at the server, end that have begun by then, or seem to
  // where clocks disagree.
  if (endedWithOthers(model, session)) return 'ended with others'
  return undefined
}

/**
 * Whether a session was among those that ended together, as the log has it.
 * @param by which instance told it, and since when: where clocks disagree, another may have told that more of them ended.
 */
export function endedWithOthers(
  { endings }: Pick<Model, 'endings'>,
  { marks, family, createdAt }: KnownSession,
  by?: Pick<RequestRecord, 'instance' | 'startedAt'>,
): boolean {
  return endings.some(
    (one) =>
      (by === undefined || (one.at >= by.startedAt && one.instance === by.instance)) &&
      one.before >= createdAt &&
      one.marks.some((mark) => mark !== family && marks.includes(mark)),
  )
}

/** How long after a fault its consequences may last: the pause of the breaker, and a lease that nobody gives back. */
const aftermath = 50_000

/** Whether an error is one that this moment explains. */
export function noDefect(model: Model, request: RequestRecord, { at, status, code }: Outcome): string | undefined {
  const took = at - request.startedAt
  if (took > 60_000) return `The answer took ${took} ms`
  if (status < 500) return undefined
  const said = `${status} ${code ?? 'from an API'}`
  const since = request.startedAt - aftermath
  const died = [...model.diedAt.values()].some((time) => time >= since)
  if (code === 'store_unavailable' && model.store.failedAt(request.instance) >= request.startedAt - 5_000)
    return undefined
  if (code === 'authorization_server_unavailable') {
    // A lease that could not be given back keeps the others waiting until it runs out.
    if (model.server.faultyUntil() >= since || died || model.store.failedAt() >= since) return undefined
  }
  return `${said}, and nothing is wrong`
}

/** At the end of all days: does anybody still have tokens of a session that was signed out? */
export function revoked(model: Model, session: KnownSession): string | undefined {
  const { signedOutAt, toldAt, grant } = session
  // A sign-out that was refused, or of a session that was over already, is none.
  if (signedOutAt === undefined || toldAt === undefined || grant.over !== undefined || !model.rotate) return undefined
  for (const token of model.server.refreshTokens.values()) {
    if (token.grant !== grant || token.spent || token.revoked) continue
    // The server did not take the revocation; or the answer with this token never arrived, and nobody knows of it.
    const lost = token.from !== undefined && !(token.from.finished?.told ?? false)
    // Who died, or could not reach the store, could neither see the end nor show the tokens.
    const who = [...model.diedAt.keys(), ...(token.from ? [token.from.instance] : [])]
    const cutOff = who.some((one) => model.diedAt.has(one) || model.store.failedAt(one) >= signedOutAt - 20_000)
    // A server that failed a moment ago is not asked again at once.
    const unreachable = model.server.failedAt() >= signedOutAt - 2_000
    // Tokens that came with somebody else's ID token are thrown away: they are not ours to revoke.
    const isOthers = grant.impostor === true
    if (token.revocationFailed || unreachable || lost || cutOff || isOthers || session.blindLogout) continue
    return `${token.text} lives on after the sign-out of ${session.name}`
  }
  return undefined
}

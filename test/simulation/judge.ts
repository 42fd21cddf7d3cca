// Watches everything that crosses a border of the code under test, keeps the model up to date, and asks the invariants.
import { errorHeader } from '../../src/wire.ts'
import type { Grant, Presentation } from './grants.ts'
import {
  causeOfEnd,
  endedWithOthers,
  type Invariant,
  invariants,
  nobodyWaits,
  noCookieOfTheDead,
  noDefect,
  noResurrection,
  oneRedemption,
  revoked,
  rightTokens,
} from './invariants.ts'
import type { KnownSession, Model, Outcome, RequestRecord, Violation } from './model.ts'

export type Judge = ReturnType<typeof createJudge>

export function createJudge(model: Model, note: (line: string) => void) {
  const violations: Violation[] = []
  const { clock, sessions } = model

  function blame(invariant: Invariant, message: string | undefined): void {
    if (message === undefined) return
    note(`VIOLATION ${invariant}: ${message}`)
    violations.push({ invariant: invariants[invariant], message, at: clock.now() })
  }

  const byGrant = (grant: Grant) => sessions.find((session) => session.grant === grant)

  /** Says what asked for the end of a session, once. */
  function ending(session: KnownSession, why: NonNullable<KnownSession['ending']>['why']): void {
    session.ending ??= { why, at: clock.now() }
  }

  function presented(presentation: Presentation): void {
    const session = byGrant(presentation.token.grant)
    if (!session) return
    const { instance } = presentation
    const lease = model.store.leases.findLast(
      (one) => one.instance === instance && one.key.startsWith(`${session.family}/next-`),
    )
    model.leaseOf.set(presentation, lease)
    blame('oneRedemption', oneRedemption(model, presentation, session))
  }

  async function put(key: string, value: string): Promise<void> {
    const [family = '', name = ''] = key.split('/')
    if (name.startsWith('next-') && value.startsWith('Fe26')) {
      if (!model.successorAt.has(key)) model.successorAt.set(key, clock.now())
    }
    const session = name === 'holding' ? sessions.find((one) => one.family === family) : undefined
    const holding = session && (await model.oracle.openHolding(value, session.half))
    if (!session || !holding) return
    const { generation } = holding
    // Whoever writes late what nobody can use any more does no harm: the tombstone is looked for first.
    if (generation < session.storedGeneration && session.ending === undefined) {
      blame(
        'noRegression',
        `Generation ${generation} of ${session.name} overwrites ${session.storedGeneration} in the store`,
      )
    }
    session.storedGeneration = Math.max(session.storedGeneration, generation)
  }

  /** An ending was entered in the log. */
  function told(entry: string, instance: number): void {
    const [first, , ...marks] = entry.split(' ')
    const before = Number(first)
    model.endings.push({ at: clock.now(), before, marks, instance })
    for (const session of sessions) {
      const found = marks.filter((mark) => session.marks.includes(mark))
      // Of a user, or of a session at the server, those end that have begun, and clocks that disagree disagree about that.
      const isMeant = session.ending !== undefined && session.createdAt <= before
      if (found.includes(session.family) || (found.length > 0 && isMeant)) session.toldAt ??= clock.now()
    }
  }

  function reachedUpstream(request: RequestRecord): void {
    const { session } = request
    const wrong = rightTokens(request, model)
    if (wrong) blame(...wrong)
    if (session) blame('noResurrection', noResurrection(session, request))
    if (request.calls.length === 1) blame('nobodyWaits', nobodyWaits(model, request))
  }

  /** What a cookie gives must be newer than what was brought, and of a session that lives. */
  function setsCookies(request: RequestRecord, outcome: Outcome): void {
    const { sets } = outcome
    const session = sessions.find(({ id }) => id === sets.ticket?.id)
    if (!session) return
    blame('noResurrection', noCookieOfTheDead(session, request, outcome.at))
    const { holding } = sets
    if (outcome.setsHolding && holding === undefined) blame('noDefect', 'A cookie was set that opens with no ticket')
    const had = request.brought.holding
    if (!outcome.setsHolding || !holding) return
    session.offered.add(holding.tokens.accessToken)
    if (had && had.id === holding.id && had.generation >= holding.generation) {
      blame('noRegression', `Generation ${holding.generation} is set over ${had.generation} of ${session.name}`)
    }
  }

  function answered(request: RequestRecord, outcome: Outcome): void {
    const { session } = request
    if (outcome.setsTicket || outcome.setsHolding) setsCookies(request, outcome)
    const isRefused = outcome.code === 'session_expired' || outcome.code === 'session_required'
    const isOut = isRefused || (isInfo(outcome.body) && !outcome.body.authenticated)
    const isLogout = request.method === 'POST' && request.path === '/auth/logout'
    if (request.brought.ticket && (isOut || (outcome.clears && !isLogout && request.path !== '/auth/sessions'))) {
      const cause = causeOfEnd(model, request)
      note(`#${request.number} signed out: ${cause ?? 'no reason'}`)
      if (cause === undefined)
        blame('noLostSession', `${session?.name ?? 'A session'} is refused, and nothing had ended it`)
    }
    if (isInfo(outcome.body) && outcome.body.authenticated) {
      if (session) blame('noResurrection', noResurrection(session, request))
      if (outcome.body.user?.sub !== session?.grant.user) {
        blame('noWrongUser', `A page of ${session?.grant.user} is told it is of ${String(outcome.body.user?.sub)}`)
      }
    }
    blame('noDefect', noDefect(model, request, outcome))
  }

  return {
    violations,
    blame,
    ending,
    presented,
    put,
    told,
    reachedUpstream,
    answered,
    /** An instance answered that these sessions are over. */
    acknowledged({ instance, startedAt }: RequestRecord, ended: readonly KnownSession[]): void {
      const hasStore = model.store.failedAt(instance) < startedAt
      for (const session of ended) {
        const isItself = session.ending?.why === 'logout' || session.ending?.why === 'replaced'
        // With a store at hand nobody says so before everybody can know. Of a user, those sessions end that have begun; where
        // clocks disagree, what was told decides which these are.
        if (hasStore && (isItself || !model.clocksDisagree)) session.toldAt ??= clock.now()
        const isOver = isItself || !model.clocksDisagree || endedWithOthers(model, session, { instance, startedAt })
        if (isOver && !session.knownBy.has(instance)) session.knownBy.set(instance, clock.now())
      }
    },
    /** An instance told its operator that a user signed out. */
    signedOut(id: string): void {
      const session = sessions.find((one) => one.id === id)
      if (session) session.signedOutAt ??= clock.now()
    },
    /** Asked when everything has come to rest. */
    finish(): void {
      for (const session of sessions) blame('revoked', revoked(model, session))
    },
  }
}

interface Info {
  readonly authenticated: boolean
  readonly user?: { readonly sub?: unknown }
}

function isInfo(body: unknown): body is Info {
  return typeof body === 'object' && body !== null && 'authenticated' in body
}

/** The error code of an answer, if it is one of our own. */
export const codeOf = (answer: Response) => answer.headers.get(errorHeader) ?? undefined

// Which sign-in would help a call that was refused for want of one, and when none would: that is what makes loops impossible.
import { CoatcheckError } from '../errors.ts'
import type { Session } from '../session/session.ts'
import type { StepUp } from './challenges.ts'

/** A sign-in this young is as recent as another would be. Milliseconds. */
const justNow = 30_000

/**
 * The error for an upstream that asks for a stronger or more recent sign-in (RFC 9470, section 3): with the address of one,
 * or `forbidden` when this session's sign-in was just that.
 */
export function strongerSignIn(asked: StepUp, { holding, createdAt }: Session, loginPath: string, now: number) {
  const { acr_values: acr, max_age } = asked
  // It says that the sign-in will not do, and not what would: then another one, with the user present.
  const maxAge = acr === undefined && max_age === undefined ? 0 : max_age === undefined ? undefined : Number(max_age)
  const isStrong = acr === undefined || acr.split(' ').includes(holding.acr ?? '')
  const age = holding.authTime === undefined ? Number.POSITIVE_INFINITY : now / 1_000 - holding.authTime
  // What the sign-in happened to be like the upstream may not have seen. What it was asked for, and was, it will not see twice.
  const wasAsked = (holding.askedMaxAge ?? Number.POSITIVE_INFINITY) <= (maxAge ?? 0)
  const isRecent = maxAge === undefined || (wasAsked && (age <= maxAge || now - createdAt < justNow))
  if (isStrong && isRecent) return new CoatcheckError('forbidden', 'step_up_in_vain')
  const params = new URLSearchParams({
    ...(acr !== undefined && { acr_values: acr }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
  })
  return new CoatcheckError('step_up_required', 'sign_in_too_weak', { loginUrl: `${loginPath}?${params}` })
}

/** What shows `/auth/login` that we made up a request for these scopes, and not a page. */
export type ScopeProof = (scope: string) => Promise<string>

/**
 * The error for a call that needs scopes the session was not granted: with the address of a sign-in that asks for those that
 * the configuration names and that were not refused already.
 */
export function widerSignIn(
  scopes: readonly string[],
  session: Session,
  loginPath: string,
  mayBeAsked: ReadonlySet<string>,
): CoatcheckError {
  const helpful = missing(scopes, session).filter((scope) => mayBeAsked.has(scope))
  return insufficientScope('scope_missing', helpful, session, loginPath, {})
}

/** The same for what an upstream asks for, which the configuration need not name: then the address carries a proof. */
export async function widerSignInFor(
  upstreamAsks: readonly string[],
  session: Session,
  loginPath: string,
  prove: ScopeProof,
): Promise<CoatcheckError> {
  const helpful = missing(upstreamAsks, session)
  return insufficientScope('upstream_scope', helpful, session, loginPath, {
    scope_proof: await prove(helpful.join(' ')),
  })
}

function missing(scopes: readonly string[], { holding }: Session): readonly string[] {
  const granted = holding.tokens.scope.split(' ')
  return scopes.filter((scope) => !granted.includes(scope))
}

function insufficientScope(
  reason: 'scope_missing' | 'upstream_scope',
  helpful: readonly string[],
  { holding }: Session,
  loginPath: string,
  more: Record<string, string>,
): CoatcheckError {
  const wasRefused = helpful.some((scope) => holding.refusedScope?.includes(scope))
  // A server that remembers a refusal would repeat it without asking.
  const loginUrl = `${loginPath}?${new URLSearchParams({ scope: helpful.join(' '), prompt: 'consent', ...more })}`
  return new CoatcheckError('insufficient_scope', reason, helpful.length > 0 && !wasRefused ? { loginUrl } : {})
}

// Which sign-in would help a call that was refused for want of one, and when none would: that is what makes loops impossible.
import { CoatcheckError } from '../errors.ts'
import type { LoginUrl } from '../login-url.ts'
import type { Session } from '../session/session.ts'
import type { StepUp } from './challenges.ts'
import type { Route } from './routes.ts'

/** A sign-in this young is as recent as another would be. Milliseconds. */
const justNow = 30_000

/**
 * The error for an upstream that asks for a stronger or more recent sign-in (RFC 9470, section 3): with the address of one,
 * or `forbidden` when this session's sign-in was just that.
 */
export function strongerSignIn(asked: StepUp, { holding, createdAt }: Session, loginUrl: LoginUrl, now: number) {
  const { acr_values: acr, max_age } = asked
  // It says that the sign-in will not do, and not what would: then another one, with the user present.
  const maxAge = acr === undefined && max_age === undefined ? 0 : max_age === undefined ? undefined : Number(max_age)
  const isStrong = acr === undefined || acr.split(' ').includes(holding.acr ?? '')
  const age = holding.authTime === undefined ? Number.POSITIVE_INFINITY : now / 1_000 - holding.authTime
  // What the sign-in happened to be like the upstream may not have seen. What it was asked for, and was, it will not see twice.
  const wasAsked = (holding.askedMaxAge ?? Number.POSITIVE_INFINITY) <= (maxAge ?? 0)
  const isRecent = maxAge === undefined || (wasAsked && (age <= maxAge || now - createdAt < justNow))
  if (isStrong && isRecent) return new CoatcheckError('forbidden', 'step_up_in_vain')
  const params = {
    ...(acr !== undefined && { acr_values: acr }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
  }
  return new CoatcheckError('step_up_required', 'sign_in_too_weak', { loginUrl: loginUrl(holding.provider, params) })
}

/** What shows `/auth/login` that we made up a request for these scopes for this session, and not a page. */
export type ScopeProof = (scope: string, session: Pick<Session, 'id'>) => Promise<string>

/**
 * The error for a call that needs scopes the session was not granted: with the address of a sign-in that asks for those that
 * the configuration names and that were not refused already.
 */
export function widerSignIn(
  { require, api }: Route,
  session: Session,
  loginUrl: LoginUrl,
  mayBeAsked: ReadonlySet<string>,
): CoatcheckError {
  const wanted = missing(require.scope, session, api).filter((scope) => mayBeAsked.has(scope))
  return insufficientScope('scope_missing', wanted, session, loginUrl, {})
}

/** The same for what an upstream asks for, which the configuration need not name: then the address carries a proof. */
export async function widerSignInFor(
  upstreamAsks: readonly string[],
  { token, api, exchange }: Route,
  session: Session,
  { loginUrl, proveScope }: { loginUrl: LoginUrl; proveScope: ScopeProof },
): Promise<CoatcheckError> {
  const wanted = token.kind === 'static' ? [] : missing(upstreamAsks, session, api ?? exchange)
  const proof = await proveScope(wanted.join(' '), session)
  return insufficientScope('upstream_scope', wanted, session, loginUrl, { scope_proof: proof })
}

/** What the user could grant: a token for an API never has scopes that its route does not ask for. */
function missing(scopes: readonly string[], { holding }: Session, api: Route['api']): readonly string[] {
  const granted = holding.tokens.scope.split(' ')
  const asked = api?.scope?.split(' ') ?? scopes
  return scopes.filter((scope) => !granted.includes(scope) && asked.includes(scope))
}

function insufficientScope(
  reason: 'scope_missing' | 'upstream_scope',
  wanted: readonly string[],
  { holding }: Session,
  loginUrl: LoginUrl,
  more: Record<string, string>,
): CoatcheckError {
  const wasRefused = wanted.some((scope) => holding.refusedScope?.includes(scope))
  if (wanted.length === 0 || wasRefused) return new CoatcheckError('insufficient_scope', reason)
  // A server that remembers a refusal would repeat it without asking.
  const params = { scope: wanted.join(' '), prompt: 'consent', ...more }
  return new CoatcheckError('insufficient_scope', reason, { loginUrl: loginUrl(holding.provider, params) })
}

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
  const askedJustNow = now - createdAt < justNow && (holding.askedMaxAge ?? Number.POSITIVE_INFINITY) <= (maxAge ?? 0)
  const isRecent = maxAge === undefined || age <= maxAge || askedJustNow
  if (isStrong && isRecent) return new CoatcheckError('forbidden', 'step_up_in_vain')
  const params = new URLSearchParams({
    ...(acr !== undefined && { acr_values: acr }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
  })
  return new CoatcheckError('step_up_required', 'sign_in_too_weak', { loginUrl: `${loginPath}?${params}` })
}

/**
 * The error for a call that needs scopes the session was not granted: with the address of a sign-in that asks for those, as
 * far as the configuration names them and they were not refused already.
 */
export function widerSignIn(
  scopes: readonly string[],
  { holding }: Session,
  loginPath: string,
  mayBeAsked: ReadonlySet<string>,
  reason: 'scope_missing' | 'upstream_scope',
) {
  const granted = holding.tokens.scope.split(' ')
  const helpful = scopes.filter((scope) => !granted.includes(scope) && mayBeAsked.has(scope))
  const wasRefused = helpful.some((scope) => holding.refusedScope?.includes(scope))
  // A server that remembers a refusal would repeat it without asking.
  const loginUrl = `${loginPath}?${new URLSearchParams({ scope: helpful.join(' '), prompt: 'consent' })}`
  return new CoatcheckError('insufficient_scope', reason, helpful.length > 0 && !wasRefused ? { loginUrl } : {})
}

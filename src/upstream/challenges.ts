// What an upstream means by `WWW-Authenticate`. The header itself never reaches the browser. Pure.

/** Whether the upstream says that the access token is no good (RFC 6750, section 3.1). */
export function isInvalidToken(challenge: string | undefined): boolean {
  return hasError(challenge, 'invalid_token')
}

/** Whether the upstream wants a proof with the nonce that it sends (RFC 9449, section 9). */
export function isNonceWanted(challenge: string): boolean {
  return hasError(challenge, 'use_dpop_nonce')
}

/** What a stronger sign-in must be like, in the names of the authorization request. */
export interface StepUp {
  acr_values?: string
  max_age?: string
}

/**
 * What the upstream asks for when the sign-in is too weak or too old for it (RFC 9470, section 3); `undefined` if that is
 * not what it says.
 */
export function stepUpAskedFor(challenge: string | undefined): StepUp | undefined {
  if (challenge === undefined || !hasError(challenge, 'insufficient_user_authentication')) return undefined
  // Values that could not be in an authorization request are left out.
  const acr = /\bacr_values\s*=\s*"([\x21\x23-\x5b\x5d-\x7e ]{1,512})"/i.exec(challenge)?.[1]
  const age = /\bmax_age\s*=\s*"?(\d{1,9})\b/i.exec(challenge)?.[1]
  return { ...(acr !== undefined && { acr_values: acr }), ...(age !== undefined && { max_age: age }) }
}

/** The scopes that the upstream says are missing (RFC 6750, section 3.1), which may be none by name; else `undefined`. */
export function scopeAskedFor(challenge: string | undefined): readonly string[] | undefined {
  if (challenge === undefined || !hasError(challenge, 'insufficient_scope')) return undefined
  const scope = /\bscope\s*=\s*"([\x21\x23-\x5b\x5d-\x7e ]{1,512})"/i.exec(challenge)?.[1] ?? ''
  return scope.split(' ').filter((name) => name !== '')
}

/** In two steps, each linear in the length: an upstream chooses how long its challenge is, and what it repeats. */
function hasError(challenge: string | undefined, error: string): boolean {
  if (challenge === undefined) return false
  const at = challenge.search(/\b(?:bearer|dpop)\b/i)
  return at !== -1 && new RegExp(`\\berror\\s*=\\s*"?${error}\\b`, 'i').test(challenge.slice(at))
}

// What an upstream means by `WWW-Authenticate`. The header itself never reaches the browser. Pure.

/** Whether the upstream says that the access token is no good (RFC 6750, section 3.1). */
export function isInvalidToken(challenge: string | undefined): boolean {
  return hasError(challenge, 'invalid_token')
}

/** Whether the upstream wants a proof with the nonce that it sends (RFC 9449, section 9). */
export function isNonceWanted(challenge: string): boolean {
  return hasError(challenge, 'use_dpop_nonce')
}

/** Whether the upstream does not accept the proof (RFC 9449, section 7.1). */
export function isProofRefused(challenge: string): boolean {
  return hasError(challenge, 'invalid_dpop_proof')
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

/**
 * A challenge of our own (RFC 6750, section 3). What could end a quoted string is left out with all of its parameter.
 * @param error `undefined` for callers that have not tried with a token (section 3.1).
 */
export function bearerChallenge(error?: string, parameters: Readonly<Record<string, string | undefined>> = {}): string {
  const quoted = Object.entries({ error, ...parameters }).flatMap(([name, value]) =>
    value !== undefined && /^[\x21\x23-\x5b\x5d-\x7e ]+$/.test(value) ? [`${name}="${value}"`] : [],
  )
  return ['Bearer', quoted.join(', ')].join(' ').trimEnd()
}

/**
 * What a caller that brought its own token is told of an upstream's challenge: the error and what would satisfy it, said
 * anew. Nothing else that stood there.
 */
export function challengeFor(status: number, challenge: string | undefined): string | undefined {
  if (status === 401) {
    const stepUp = stepUpAskedFor(challenge)
    if (stepUp) return bearerChallenge('insufficient_user_authentication', { ...stepUp })
    return bearerChallenge(isInvalidToken(challenge) ? 'invalid_token' : undefined)
  }
  const scope = status === 403 ? scopeAskedFor(challenge) : undefined
  return scope && bearerChallenge('insufficient_scope', { scope: scope.join(' ') })
}

/** In two steps, each linear in the length: an upstream chooses how long its challenge is, and what it repeats. */
function hasError(challenge: string | undefined, error: string): boolean {
  if (challenge === undefined) return false
  const at = challenge.search(/\b(?:bearer|dpop)\b/i)
  return at !== -1 && new RegExp(`\\berror\\s*=\\s*"?${error}\\b`, 'i').test(challenge.slice(at))
}

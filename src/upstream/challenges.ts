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
  const acr = parameter(challenge, 'acr_values', sayable)
  const age = parameter(challenge, 'max_age', /^\d{1,9}$/)
  return { ...(acr !== undefined && { acr_values: acr }), ...(age !== undefined && { max_age: age }) }
}

/** The scopes that the upstream says are missing (RFC 6750, section 3.1), which may be none by name; else `undefined`. */
export function scopeAskedFor(challenge: string | undefined): readonly string[] | undefined {
  if (challenge === undefined || !hasError(challenge, 'insufficient_scope')) return undefined
  const scope = parameter(challenge, 'scope', sayable) ?? ''
  return scope.split(' ').filter((name) => name !== '')
}

/** Names with spaces between, as an authorization request has them (RFC 6749, section 3.3). */
const sayable = /^[\x21\x23-\x5b\x5d-\x7e ]{1,512}$/

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

function hasError(challenge: string | undefined, error: string): boolean {
  if (challenge === undefined) return false
  return parametersOf(challenge).some(([name, value]) => name === 'error' && value.toLowerCase() === error)
}

function parameter(challenge: string, wanted: string, shape: RegExp): string | undefined {
  return parametersOf(challenge).find(([name, value]) => name === wanted && shape.test(value))?.[1]
}

/**
 * The parameters of the challenges for access tokens, names in lower case (RFC 9110, sections 11.2 and 11.6.1): a value is a
 * quoted string, or stands there as it is. One step through the text: an upstream chooses how long it is, and what it repeats.
 */
function parametersOf(challenge: string): [name: string, value: string][] {
  const found: [string, string][] = []
  let isOurs = false
  for (const [, word = '', quoted, bare] of challenge.matchAll(
    /([^\s,="]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g,
  )) {
    const value = quoted?.replace(/\\(.)/g, '$1') ?? bare
    if (value === undefined) isOurs = /^(?:bearer|dpop)$/i.test(word)
    else if (isOurs) found.push([word.toLowerCase(), value])
  }
  return found
}

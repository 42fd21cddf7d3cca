// What an upstream means by `WWW-Authenticate`. The header itself never reaches the browser. Pure.

/** Whether the upstream says that the access token is no good (RFC 6750, section 3.1). */
export function isInvalidToken(challenge: string | undefined): boolean {
  return challenge !== undefined && /\b(?:bearer|dpop)\b.*\berror\s*=\s*"?invalid_token"?/is.test(challenge)
}

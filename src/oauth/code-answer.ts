// The answer to a code, strictly read: nothing is lost with it but one sign-in.
import { CoatcheckError } from '../errors.ts'
import type { Reason } from '../reasons.ts'
import { keptOf, type Members, refreshAnswer } from './refresh-answer.ts'
import type { BindingKey, TokenResponse } from './token-set.ts'

/** A token response as RFC 6749, section 5.1, and OpenID Connect Core, section 3.1.3.3, have it. */
export interface CodeAnswer extends TokenResponse {
  readonly token_type: string
  readonly id_token: string
  readonly authorization_details?: unknown
}

/**
 * What came for a code, out of an answer that was kept from openid-client.
 * @param key what the tokens are to be bound to (RFC 9449, section 5: a bearer token in the place of a bound one is a downgrade)
 * @throws CoatcheckError `login_failed` for what is no such response, `token_type_mismatch` among the reasons
 */
export function codeAnswer(answer: Members, key: BindingKey | undefined): CodeAnswer {
  const said = keptOf(answer)
  const { access_token, token_type, refresh_token, id_token, scope, expires_in, authorization_details } = said
  // What can stand in a header (RFC 6750, section 2.1), and in a form.
  if (typeof access_token !== 'string' || !/^[\x21-\x7e]+$/.test(access_token)) throw refused('response_malformed')
  if (typeof token_type !== 'string' || token_type.toLowerCase() !== (key ? 'dpop' : 'bearer')) {
    throw refused('token_type_mismatch')
  }
  const isRefreshToken = typeof refresh_token === 'string' && /^[\x20-\x7e]+$/.test(refresh_token)
  if (refresh_token !== undefined && !isRefreshToken) throw refused('response_malformed')
  if (scope !== undefined && typeof scope !== 'string') throw refused('response_malformed')
  if (expires_in !== undefined && !isLifetime(expires_in)) throw refused('response_malformed')
  if (typeof id_token !== 'string') throw refused('id_token_missing')
  return { ...refreshAnswer(answer), id_token, authorization_details }
}

/** Seconds, as a number or as the text of one, which some servers make of it. */
function isLifetime(value: unknown): boolean {
  const seconds = typeof value === 'string' ? Number.parseFloat(value) : value
  return typeof seconds === 'number' && seconds >= 0
}

function refused(reason: Reason): CoatcheckError {
  return new CoatcheckError('login_failed', reason)
}

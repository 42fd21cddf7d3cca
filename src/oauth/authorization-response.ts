// What comes back from the authorization server by way of the browser, and whose answer it is.
import type { ServerMetadata } from 'openid-client'
import { CoatcheckError } from '../errors.ts'

/** The parameters of an authorization response (RFC 6749, sections 4.1.2 and 4.1.2.1; RFC 9207), none of them repeated. */
export type AuthorizationResponse = Partial<
  Record<'state' | 'code' | 'iss' | 'error' | 'error_description' | 'response', string>
>

/**
 * RFC 9207, section 2.4: simple string comparison; advertised means obligatory, also on errors.
 * @throws CoatcheckError `login_failed`
 */
export function checkIssuer(iss: string | undefined, issuer: string, metadata: ServerMetadata): void {
  if (iss !== undefined && iss !== issuer) throw new CoatcheckError('login_failed', 'issuer_mismatch')
  if (iss === undefined && metadata.authorization_response_iss_parameter_supported === true) {
    throw new CoatcheckError('login_failed', 'issuer_missing')
  }
}

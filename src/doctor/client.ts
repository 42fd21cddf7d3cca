// Whether the client is believed at the token endpoint: by a code and a refresh token that cannot be right.
import { CoatcheckError } from '../errors.ts'
import { oauthErrorOf } from '../oauth/failures.ts'
import type { RelyingParty } from '../oauth/relying-party.ts'
import type { TokenSet } from '../oauth/token-set.ts'
import type { Reason } from '../reasons.ts'
import { randomText } from '../session/seal.ts'
import { type Finding, finding } from './findings.ts'
import { transactionFor } from './sign-in.ts'
import type { Patient } from './world.ts'

/** How a server took something that it must not take. */
interface Refusal {
  readonly reason: Reason
  /** `error` of RFC 6749, section 5.2. */
  readonly said: string | undefined
}

const away = new Set<Reason>(['timeout', 'unreachable', 'server_error', 'response_malformed', 'response_too_large'])

export async function checkClient(patient: Patient, relyingParty: RelyingParty): Promise<Finding[]> {
  const { about } = patient
  const method = patient.provider.clientAuth.method
  const [byCode, byRefreshToken] = await Promise.all([
    refusalOf(redeemCode(patient, relyingParty)),
    refusalOf(redeemRefreshToken(relyingParty)),
  ])
  const refusals = [byCode, byRefreshToken]
  if (refusals.some(isUnknownClient)) {
    return [finding('client_auth_refused', about, `Client authentication by ${method} is refused.`)]
  }
  const found: Finding[] = []
  if (byCode.said === 'unauthorized_client' || byCode.said === 'unsupported_grant_type') {
    found.push(finding('code_grant_refused', about, `The token endpoint answers a code with ${byCode.said}.`))
  } else if (byCode.reason === 'invalid_grant' || byRefreshToken.reason === 'invalid_grant') {
    found.push(finding('client_auth_ok', about, `Client authentication by ${method} is accepted.`))
  } else if (away.has(byCode.reason)) {
    found.push(finding('token_endpoint_failed', about, 'The token endpoint gives no proper answer.'))
  } else {
    const said = byCode.said ?? 'something else'
    found.push(finding('client_auth_unclear', about, `An invalid code is answered with ${said}.`))
  }
  if (byRefreshToken.said === 'unauthorized_client' || byRefreshToken.said === 'unsupported_grant_type') {
    const what = `The token endpoint answers a refresh token with ${byRefreshToken.said}.`
    found.push(finding('refresh_unsupported', about, what))
  }
  return found
}

/** A challenge (401 with `WWW-Authenticate`) has no error code of its own; `unauthorized_client` is known, but not allowed. */
function isUnknownClient({ reason, said }: Refusal): boolean {
  return reason === 'client_rejected' && said !== 'unauthorized_client'
}

async function redeemCode(patient: Patient, relyingParty: RelyingParty): Promise<unknown> {
  const transaction = await transactionFor(patient, relyingParty)
  const answer = { code: `doctor-${randomText(16)}`, state: transaction.state, iss: patient.provider.issuer }
  return relyingParty.finish(answer, transaction)
}

async function redeemRefreshToken(relyingParty: RelyingParty): Promise<unknown> {
  const refreshToken = `doctor-${randomText(16)}`
  const key = await relyingParty.bindingKey()
  const tokens: TokenSet = { key, accessToken: '', refreshToken, scope: '', expiresAt: 0, refreshAt: 0 }
  return relyingParty.refresh({ subject: '', tokens })
}

async function refusalOf(attempt: Promise<unknown>): Promise<Refusal> {
  try {
    await attempt
    return { reason: 'unexpected', said: 'tokens' }
  } catch (error) {
    return { reason: error instanceof CoatcheckError ? error.reason : 'unexpected', said: oauthErrorOf(error) }
  }
}

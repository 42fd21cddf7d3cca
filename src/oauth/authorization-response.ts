// What comes back from the authorization server by way of the browser: whose answer it is, and what it says.
import { decodeJwt } from 'jose'
import type { ServerMetadata } from 'openid-client'
import type { ProviderConfig } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Reason } from '../reasons.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { requiresIssuer } from './security-profile.ts'

const parameters = ['state', 'code', 'iss', 'error', 'error_description'] as const

/**
 * The parameters of an authorization response (RFC 6749, sections 4.1.2 and 4.1.2.1; RFC 9207), none of them repeated; or
 * `response` alone, which has them all in a signed JWT (JARM, section 2.1).
 */
export type AuthorizationResponse = Partial<Record<(typeof parameters)[number] | 'response', string>>

/**
 * Path of a provider's redirect URI. Every one has its own, so that an answer says by its address which of them it claims
 * to come from (RFC 9700, section 4.4.2.2); the first has the plain one.
 */
export function callbackPathOf(providers: readonly { readonly id: string }[], { id }: { readonly id: string }): string {
  return providers[0]?.id === id ? '/auth/callback' : `/auth/callback/${id}`
}

/** The state it names, believed or not: that only says which sign-in it claims to belong to. */
export function claimedState({ state, response }: AuthorizationResponse): string | undefined {
  if (state !== undefined || response === undefined) return state
  try {
    const claims = decodeJwt(response)
    return typeof claims.state === 'string' ? claims.state : undefined
  } catch {
    return undefined
  }
}

/**
 * What a response says: its parameters, taken out of their signature where this provider is to sign them.
 * @throws CoatcheckError `login_failed` for one that should be signed and is not, that is not signed by this server for this
 * client, or is signed without having been asked for; `authorization_server_unavailable` when the keys cannot be fetched
 */
export async function opened(
  { response, ...plain }: AuthorizationResponse,
  { issuer, clientId, responseMode }: ProviderConfig,
  { idTokens }: AuthorizationServer,
): Promise<AuthorizationResponse> {
  if (responseMode === 'query') {
    if (response !== undefined) throw refused('authorization_response_malformed')
    return plain
  }
  if (response === undefined) throw refused('authorization_response_unsigned')
  // What is signed and what stands beside it unsigned would be two answers.
  if (Object.keys(plain).length > 0) throw refused('authorization_response_malformed')
  const claims = await idTokens.verifyAuthorizationResponse(response, { issuer, clientId }).catch((error) => {
    throw asResponseError(error)
  })
  const said = parameters.flatMap((name) => (typeof claims[name] === 'string' ? [[name, claims[name]]] : []))
  return Object.fromEntries(said)
}

/**
 * RFC 9207, section 2.4: simple string comparison; advertised means obligatory, also on errors.
 * @throws CoatcheckError `login_failed`
 */
export function checkIssuer(iss: string | undefined, provider: ProviderConfig, metadata: ServerMetadata): void {
  if (iss !== undefined && iss !== provider.issuer) throw refused('issuer_mismatch')
  if (iss === undefined && requiresIssuer(provider, metadata)) throw refused('issuer_missing')
}

/**
 * Whether the rights granted are of types that were asked for (RFC 9396, section 7). That there are fewer of them is for the
 * API to say: what a token may do is in the token.
 */
export function isOfTypesAsked(granted: unknown, { authorizationDetails = [] }: ProviderConfig): boolean {
  if (granted === undefined) return true
  const types = new Set<unknown>(authorizationDetails.map(({ type }) => type))
  return Array.isArray(granted) && granted.every((one: { type?: unknown } | null) => types.has(one?.type))
}

function refused(reason: Reason, cause?: unknown): CoatcheckError {
  return new CoatcheckError('login_failed', reason, {}, cause)
}

/** What the verifier says of ID tokens, said of authorization responses. */
function asResponseError(error: unknown): unknown {
  if (!(error instanceof CoatcheckError) || error.code === 'authorization_server_unavailable') return error
  if (error.reason === 'id_token_time') return refused('authorization_response_time', error)
  if (error.details.claim !== undefined) return refused('authorization_response_claim', error)
  if (error.reason === 'id_token_key') return refused('authorization_response_key', error)
  return refused('authorization_response_signature', error)
}

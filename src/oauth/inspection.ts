// What one authorization server knows of access tokens that callers bring themselves: by its keys, or by asking it.
import type { JWTPayload } from 'jose'
import * as client from 'openid-client'
import type { ProviderConfig } from '../config.ts'
import type { Platform } from '../platform.ts'
import {
  type BearerIdentity,
  type BearerPolicy,
  identityOf,
  invalidToken,
  requireNotNamedOtherwise,
  verifiedAccessToken,
} from './access-token.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { unavailable } from './authorization-server-fetch.ts'
import { reasonOf } from './failures.ts'
import type { PublishedKeys } from './published-keys.ts'
import { acceptableAlgorithms } from './security-profile.ts'

export interface Inspection {
  /**
   * Verifies an access token that is a JWT of this server (RFC 9068).
   * @throws CoatcheckError `invalid_token`, `authorization_server_unavailable`
   */
  verifyAccessToken(jwt: string, policy: BearerPolicy): Promise<BearerIdentity>
  /** Another object as soon as access tokens are verified with other keys than before. */
  keysInUse(): object | undefined
  /**
   * Asks the server about an access token (RFC 7662).
   * @throws CoatcheckError `invalid_token`, `authorization_server_unavailable`
   */
  introspect(token: string, policy: BearerPolicy): Promise<BearerIdentity>
}

export function createInspection(
  provider: ProviderConfig,
  server: () => Promise<AuthorizationServer>,
  { now }: Pick<Platform, 'now'>,
): Inspection {
  const { issuer, clientId } = provider
  const acceptable = acceptableAlgorithms(provider)
  let keys: PublishedKeys | undefined

  return {
    async verifyAccessToken(jwt, policy) {
      const { metadata, keys: published } = await server()
      keys = published
      const advertised = metadata.id_token_signing_alg_values_supported ?? ['RS256']
      return verifiedAccessToken(jwt, policy, {
        issuer,
        clientId,
        keys: published.of.access_token,
        trusted: advertised.filter((alg) => acceptable.has(alg)),
        now: now(),
      })
    },

    keysInUse: () => keys?.edition(),

    async introspect(token, policy) {
      const { configuration, metadata } = await server()
      if (metadata.introspection_endpoint === undefined) throw unavailable('metadata_incomplete')
      const answer: Readonly<Record<string, unknown>> = await client
        .tokenIntrospection(configuration, token, { token_type_hint: 'access_token' })
        .catch((error) => {
          throw unavailable(reasonOf(error), error)
        })
      if (answer.active !== true) throw invalidToken('access_token_inactive')
      const { token_type: type, aud } = answer
      if (type !== undefined && String(type).toLowerCase() !== 'bearer') throw invalidToken('access_token_type')
      requireNotNamedOtherwise(answer)
      const isForAnybody = policy.introspection?.anyAudience === true && aud === undefined
      // A refresh token is active too. Something must say that this is none: for whom it is, or what it is.
      if (isForAnybody && type === undefined) throw invalidToken('access_token_type')
      // What must be of which type is checked there, as it is for the claims of a JWT.
      const claims = { iss: issuer, ...answer } as JWTPayload
      const identity = identityOf(claims, isForAnybody ? undefined : policy.audience, { issuer, now: now() })
      // No answer is kept beyond `exp` (RFC 7662, section 4), however clocks differ: the server can be asked again.
      return { ...identity, expiresAt: claims.exp === undefined ? undefined : claims.exp * 1_000 }
    },
  }
}

// Opens DPoP proofs as a server must (RFC 9449, section 4.3): throws for one that is not in order.
import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, type JWTPayload, jwtVerify } from 'jose'

export interface Proof {
  readonly payload: JWTPayload & { readonly nonce?: string; readonly htu?: string }
  /** What a token is bound to (`jkt`). */
  readonly thumbprint: string
}

const seen = new Set<string>()

/**
 * @param url what the server believes it is asked at, without query
 * @param accessToken the one that came with it, towards an API
 * @param ahead how far the clock of the server is ahead, in milliseconds
 */
export async function openProof(
  { method, headers }: { method: string; headers: Record<string, string | string[] | undefined> },
  url: string,
  accessToken?: string,
  ahead = 0,
): Promise<Proof> {
  const { payload, protectedHeader } = await jwtVerify(String(headers.dpop), EmbeddedJWK, {
    typ: 'dpop+jwt',
    maxTokenAge: 60,
    currentDate: new Date(Date.now() + ahead),
  })
  const { jwk } = protectedHeader
  if (jwk === undefined || 'd' in jwk) throw new Error('The proof has no public key, or a private one')
  if (payload.htm !== method || payload.htu !== url) throw new Error(`The proof is for ${payload.htm} ${payload.htu}`)
  if (payload.jti === undefined || seen.has(payload.jti)) throw new Error('The proof was used before')
  seen.add(payload.jti)
  const hash = accessToken && createHash('sha256').update(accessToken).digest('base64url')
  if (payload.ath !== hash) throw new Error('The proof is for another access token')
  return { payload: payload as Proof['payload'], thumbprint: await calculateJwkThumbprint(jwk) }
}

// The public keys of this client, for authorization servers to verify what it signed.
import { ownAnswerHeaders } from '../answers.ts'
import type { RelyingParty } from '../oauth/relying-party.ts'

/** `GET /auth/jwks.json`: a JWK Set (RFC 7517, section 5) of the public halves, and of nothing else. */
export function createJwks(relyingParties: ReadonlyMap<string, RelyingParty>): () => Promise<Response> {
  let body: string | undefined
  return async () => {
    // Made anew until it is there once: on Workers no request may wait for the promise of another.
    body ??= JSON.stringify({ keys: await keysOf([...relyingParties.values()]) })
    const headers = {
      ...ownAnswerHeaders,
      'content-type': 'application/jwk-set+json',
    }
    return new Response(body, { headers })
  }
}

/** A key that is used at several servers is one key. */
async function keysOf(relyingParties: readonly RelyingParty[]): Promise<readonly object[]> {
  const keys = (await Promise.all(relyingParties.map((one) => one.publicKeys()))).flat()
  return [...new Map(keys.map((key) => [JSON.stringify(key), key])).values()]
}

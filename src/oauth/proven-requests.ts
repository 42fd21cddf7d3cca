// Requests to one authorization server that prove a key (RFC 9449): with its nonce and by its clock, as far as they are known.
import { decodeJwt } from 'jose'
import { LRUCache } from 'lru-cache'
import * as client from 'openid-client'
import type { FetchInit } from '../platform.ts'
import type { AuthorizationServerFetch } from './authorization-server-fetch.ts'
import { keyPairOf } from './dpop.ts'
import { answerOf, isProofRefused } from './failures.ts'
import { createProofWishes } from './proof-wishes.ts'
import type { BindingKey } from './token-set.ts'

/** The option of openid-client that proves a key. */
type ProofOption = { DPoP?: client.DPoPHandle }

export interface ProvenRequests {
  /** Learns from every answer that comes this way. */
  learning(fetch: AuthorizationServerFetch): AuthorizationServerFetch
  /**
   * Sends a request that proves the key a token is, or will be, bound to; without a key just sends it. One whose proof is
   * refused is sent once more where the clock of the server says why.
   */
  send<T>(
    configuration: client.Configuration,
    key: BindingKey | undefined,
    request: (proof: ProofOption) => Promise<T>,
  ): Promise<T>
}

/** The nonce in the proof that a request had, if it had one. */
function nonceIn({ headers }: FetchInit): string | undefined {
  const proof = new Headers(headers).get('dpop')
  return proof === null ? undefined : decodeJwt<{ nonce?: string }>(proof).nonce
}

export function createProvenRequests(now: () => number): ProvenRequests {
  const wishes = createProofWishes(now)
  const pairs = new LRUCache<string, client.CryptoKeyPair>({ max: 5_000 })

  async function pairOf(key: BindingKey): Promise<client.CryptoKeyPair> {
    const pair = pairs.get(key.d) ?? (await keyPairOf(key))
    pairs.set(key.d, pair)
    return pair
  }

  return {
    learning: (fetch) => async (url, init) => {
      const answer = await fetch(url, init)
      // That of a refusal is for the request that was refused: it may be good once, and others must not be faster.
      if (answer.ok) wishes.learn(new URL(url).origin, answer.headers.get('dpop-nonce') ?? nonceIn(init))
      return answer
    },

    async send(configuration, key, request) {
      if (key === undefined) return request({})
      const pair = await pairOf(key)
      let origin = ''
      const attempt = () => {
        // A handle for this request alone: it knows no nonce but the one that this request was challenged with.
        const DPoP = client.getDPoPHandle(configuration, pair, {
          [client.modifyAssertion](_, payload) {
            origin = new URL(String(payload.htu)).origin
            const { nonce, iat } = wishes.of(origin)
            Object.assign(payload, { nonce: payload.nonce ?? nonce, iat })
          },
        })
        return request({ DPoP })
      }
      return attempt().catch((error) => {
        if (!isProofRefused(error) || !wishes.goBy(origin, answerOf(error)?.headers.get('date'))) throw error
        return attempt()
      })
    },
  }
}

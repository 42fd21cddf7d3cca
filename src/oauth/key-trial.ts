// Whether published keys would do, tried as ID tokens try them: with a signature that cannot be right.
import { base64url, compactVerify, createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'

/**
 * What comes of verifying a signature by a published key: it is tried (`usable`), nobody can tell which key is meant
 * (`ambiguous`), the key is too short or malformed (`weak`), or it is of another kind (`unfit`).
 */
export type KeyTrial = 'usable' | 'ambiguous' | 'weak' | 'unfit'

/** More keys than these are not looked at. */
const mostKeys = 100

/** From the best to the worst that one algorithm can say of a key. */
const order: readonly KeyTrial[] = ['usable', 'ambiguous', 'weak', 'unfit']

/**
 * Tries every key of a key set with a token that says it was signed with that key.
 * @param keySet what `jwks_uri` answers; nothing in it is believed
 * @returns for each key the best that came of any of the algorithms; `undefined` for what is no key set
 */
export async function tryKeys(keySet: unknown, algorithms: readonly string[]): Promise<KeyTrial[] | undefined> {
  let find: JWTVerifyGetKey
  try {
    // Looks at every member itself, and throws for what is no JWK Set.
    find = createLocalJWKSet(keySet as JSONWebKeySet)
  } catch {
    return undefined
  }
  const { keys } = keySet as JSONWebKeySet
  return Promise.all(
    keys.slice(0, mostKeys).map(async ({ kid }) => {
      const trials = await Promise.all(algorithms.map((alg) => trial(find, alg, kid)))
      return order.find((one) => trials.includes(one)) ?? 'unfit'
    }),
  )
}

async function trial(find: JWTVerifyGetKey, alg: string, kid: unknown): Promise<KeyTrial> {
  const header = { alg, ...(typeof kid === 'string' && { kid }) }
  const token = [JSON.stringify(header), '{}', 'no signature'].map((part) => base64url.encode(part)).join('.')
  try {
    await compactVerify(token, find, { algorithms: [alg] })
    return 'usable'
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return 'usable'
    if (error instanceof errors.JWKSMultipleMatchingKeys) return 'ambiguous'
    return error instanceof errors.JWKSNoMatchingKey ? 'unfit' : 'weak'
  }
}

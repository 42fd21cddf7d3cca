// The keys of an authorization server, held against the algorithms it announces and those that are believed here.
import { acceptableAlgorithms } from '../oauth/security-profile.ts'
import { type Finding, finding } from './findings.ts'
import { ask, endpointOf, failureOf, listOf, named, type Patient, shown, type World } from './world.ts'

type Key = Readonly<Record<string, unknown>>

/** What kind of key makes which signatures (RFC 7518, section 3.1; RFC 8037, section 3.1). */
const keyTypes: readonly (readonly [algorithm: RegExp, type: string, curve?: RegExp])[] = [
  [/^(RS|PS)\d{3}$/, 'RSA'],
  [/^ES256$/, 'EC', /^P-256$/],
  [/^ES384$/, 'EC', /^P-384$/],
  [/^ES512$/, 'EC', /^P-521$/],
  [/^Ed(DSA|25519)$/, 'OKP', /^Ed25519$/],
  [/^ML-DSA-/, 'AKP'],
]

export async function checkKeys(world: World, { provider, metadata, about }: Patient): Promise<Finding[]> {
  // What is not announced is RS256 (OpenID Connect Core, section 15.1).
  const announced = listOf(metadata, 'id_token_signing_alg_values_supported') ?? ['RS256']
  const algorithms = announced.filter((algorithm) => acceptableAlgorithms(provider).has(algorithm))
  if (algorithms.length === 0) {
    return [finding('algorithm_unsupported', about, `ID tokens are signed with ${named(announced)} only.`)]
  }
  const url = endpointOf(metadata, 'jwks_uri')
  if (url === undefined) return []
  const answer = await ask(world, url).catch((error: unknown) => failureOf(error))
  if (typeof answer === 'string') return [finding('keys_unreachable', about, `${shown(url)}: ${answer}.`)]
  if (!answer.ok) return [finding('keys_unreachable', about, `${shown(url)} answers HTTP ${answer.status}.`)]
  const keys = await keysOf(answer)
  if (keys === undefined) return [finding('keys_malformed', about, `${shown(url)} answers with no JWK Set.`)]
  if (keys.some((key) => 'd' in key || 'priv' in key || key.kty === 'oct')) {
    return [finding('keys_private', about, `${shown(url)} publishes a private key.`)]
  }
  const usable = keys.filter((key) => algorithms.some((algorithm) => fits(key, algorithm)))
  if (usable.length === 0) {
    const what = `None of ${keys.length} published keys fits ${named(algorithms)}.`
    return [finding('keys_unusable', about, what)]
  }
  const kinds = usable.filter(({ kid }) => kid === undefined).map(({ kty, crv = '' }) => `${kty} ${crv}`)
  if (new Set(kinds).size < kinds.length) {
    return [finding('keys_ambiguous', about, 'Several published keys of one kind have no kid.')]
  }
  return [finding('keys_ok', about, `${usable.length} published keys fit ${named(algorithms)}.`)]
}

async function keysOf(answer: Response): Promise<readonly Key[] | undefined> {
  const body: unknown = await answer.json().catch(() => undefined)
  const { keys } = (body ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys)) return undefined
  return keys.filter((key): key is Key => typeof key === 'object' && key !== null)
}

function fits({ kty, crv, use = 'sig', alg }: Key, algorithm: string): boolean {
  if (use !== 'sig' || (alg !== undefined && alg !== algorithm && !(isEd(alg) && isEd(algorithm)))) return false
  return keyTypes.some(
    ([pattern, type, curve]) => pattern.test(algorithm) && kty === type && (curve?.test(String(crv)) ?? true),
  )
}

/** One algorithm with two names (RFC 9864). */
function isEd(algorithm: unknown): boolean {
  return algorithm === 'EdDSA' || algorithm === 'Ed25519'
}

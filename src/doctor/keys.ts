// The keys of an authorization server, held against the algorithms it announces and those that are believed here.
import { isData } from '../oauth/authorization-server-fetch.ts'
import { type KeyTrial, tryKeys } from '../oauth/key-trial.ts'
import { acceptableAlgorithms } from '../oauth/security-profile.ts'
import { bearersOf } from './bearer.ts'
import { type Finding, finding } from './findings.ts'
import { ask, endpointOf, failureOf, listOf, named, type Patient, shown, typeOf, type World } from './world.ts'

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
  if (!isData(answer)) {
    const what = `${shown(url)} answers with ${typeOf(answer)}, not with JSON.`
    return [finding('keys_malformed', about, what, 'Make jwks_uri answer with `Content-Type: application/json`.')]
  }
  const keySet: unknown = await answer.json().catch(() => undefined)
  const trials = await tryKeys(keySet, algorithms)
  if (trials === undefined) return [finding('keys_malformed', about, `${shown(url)} answers with no JWK Set.`)]
  if (hasPrivateKey(keySet)) return [finding('keys_private', about, `${shown(url)} publishes a private key.`)]
  const ofBearers = await checkBearerAlgorithms(world, provider.id, keySet)
  return [...verdicts(trials, named(algorithms), about), ...ofBearers]
}

function hasPrivateKey(keySet: unknown): boolean {
  const { keys } = keySet as { keys: readonly Readonly<Record<string, unknown>>[] }
  return keys.some((key) => 'd' in key || 'priv' in key || key.kty === 'oct')
}

function verdicts(trials: readonly KeyTrial[], algorithms: string, about: string): Finding[] {
  const count = (wanted: KeyTrial) => trials.filter((trial) => trial === wanted).length
  const [usable, ambiguous, weak] = [count('usable'), count('ambiguous'), count('weak')]
  const apart = `${ambiguous} published keys cannot be told from each other: of one kind, they have one kid or none.`
  const short = `${weak} published keys are malformed, or shorter than 2,048 bits (RSA).`
  if (usable === 0) {
    if (ambiguous > 0) {
      const change = 'Give each published key a kid of its own, and name it in the tokens.'
      return [finding('keys_unusable', about, `No key can be used: ${apart}`, change)]
    }
    if (weak > 0) {
      const change = 'Choose an RSA key of at least 2,048 bits, or an elliptic one, at the authorization server.'
      return [finding('keys_unusable', about, `No key can be used: ${short}`, change)]
    }
    return [finding('keys_unusable', about, `None of ${trials.length} published keys fits ${algorithms}.`)]
  }
  return [
    finding('keys_ok', about, `${usable} published keys fit ${algorithms}.`),
    ...(ambiguous > 0 ? [finding('keys_ambiguous', about, apart)] : []),
    ...(weak > 0 ? [finding('keys_weak', about, short)] : []),
  ]
}

/** Routes that name the algorithms of tokens which callers bring themselves. */
async function checkBearerAlgorithms({ config }: World, provider: string, keySet: unknown): Promise<Finding[]> {
  const found = bearersOf(config, provider).map(async ({ path, policy: { algs, introspection } }) => {
    if (algs === undefined || introspection?.tokens === 'all') return []
    const isThere = (await tryKeys(keySet, algs))?.includes('usable') ?? false
    if (isThere) return []
    const what = `No published key fits ${named(algs)}, which \`bearer.algs\` asks for.`
    return [finding('keys_unusable', `route ${path}`, what, 'Name in `bearer.algs` what the server signs with.')]
  })
  return (await Promise.all(found)).flat()
}

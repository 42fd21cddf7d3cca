// Callers with an access token of their own: whether somebody can be asked about those that cannot be verified here.
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { BearerPolicy } from '../oauth/access-token.ts'
import { oauthErrorOf } from '../oauth/failures.ts'
import type { RelyingParty } from '../oauth/relying-party.ts'
import { reasons } from '../reasons.ts'
import { randomText } from '../session/seal.ts'
import { bearerPolicy } from '../upstream/routes.ts'
import { type Finding, finding } from './findings.ts'
import { endpointOf, type Patient, type World } from './world.ts'

/** Routes for callers with tokens of this provider, and how these are checked. */
export function bearersOf({ providers, routes }: Config, id: string): { path: string; policy: BearerPolicy }[] {
  const all = routes.flatMap(({ path, bearer }) =>
    bearer ? [{ path, policy: bearerPolicy(bearer, providers[0]?.id ?? '') }] : [],
  )
  return all.filter(({ policy }) => policy.provider === id)
}

/** Asks this server about a token that nobody ever had, where routes would ask it (RFC 7662). */
export async function checkBearers(
  { config }: World,
  { provider, metadata }: Patient,
  relyingParty: RelyingParty,
): Promise<Finding[]> {
  const asking = bearersOf(config, provider.id).filter(({ policy }) => policy.introspection)
  const [first] = asking
  if (first === undefined) return []
  const isThere = endpointOf(metadata, 'introspection_endpoint') !== undefined
  const trouble = isThere ? await troubleWith(relyingParty, first.policy) : undefined
  return asking.map(({ path }) => {
    const about = `route ${path}`
    if (!isThere) {
      return finding('introspection_missing', about, `The metadata of ${provider.id} has no introspection_endpoint.`)
    }
    if (trouble !== undefined) return finding('introspection_failed', about, trouble)
    return finding('introspection_ok', about, `${provider.id} says of a token that nobody has that it is not active.`)
  })
}

/** What is wrong with an answer about a token that is none, in our own words. */
async function troubleWith(relyingParty: RelyingParty, policy: BearerPolicy): Promise<string | undefined> {
  try {
    await relyingParty.introspect(`doctor-${randomText(16)}`, policy)
    return 'The introspection endpoint calls a token active that nobody has.'
  } catch (error) {
    if (!(error instanceof CoatcheckError)) throw error
    if (error.reason === 'access_token_inactive') return undefined
    if (error.code === 'invalid_token') return 'The introspection endpoint calls a token active that nobody has.'
    const said = oauthErrorOf(error)
    return `Introspection fails${said === undefined ? '' : ` with ${said}`}: ${reasons[error.reason]}`
  }
}

// The metadata of an authorization server: whether it is there, whose it is, whether it is enough; and what time it is there.
import type { ProviderConfig } from '../config.ts'
import { type ClockDifference, differenceIn } from './clock.ts'
import { checkEndpoints } from './endpoints.ts'
import { type Finding, finding } from './findings.ts'
import { ask, failureOf, listOf, type Metadata, shown, typeOf, type World } from './world.ts'

export interface Discovered {
  readonly findings: readonly Finding[]
  /** `undefined` when there is nothing to go on with. */
  readonly metadata?: Metadata
  readonly clock?: ClockDifference | undefined
}

export async function discover(world: World, provider: ProviderConfig, about: string): Promise<Discovered> {
  const url = `${provider.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const sentAt = world.platform.now()
  let answer: Response
  try {
    answer = await ask(world, url, { headers: { accept: 'application/json' } })
  } catch (error) {
    return { findings: [finding('discovery_unreachable', about, `${url}: ${failureOf(error)}.`)] }
  }
  const clock = differenceIn(answer, sentAt, world.platform.now())
  const metadata = await metadataOf(answer)
  if (metadata === undefined) {
    const code = answer.status >= 500 ? 'discovery_unreachable' : 'discovery_missing'
    const said = answer.ok ? 'with something that is no metadata' : `with HTTP ${answer.status}`
    return { findings: [finding(code, about, `${url} answers ${said}.`)] }
  }
  if (typeOf(answer) !== 'application/json') {
    const what = `${url} answers with ${typeOf(answer)}, which coatcheck does not read as metadata.`
    const change =
      'Make the authorization server, or what stands in front of it, send `Content-Type: application/json`.'
    return { findings: [finding('metadata_refused', about, what, change)], clock }
  }
  const mismatch = checkIssuer(provider.issuer, metadata.issuer, about)
  if (mismatch) return { findings: [mismatch], clock }
  const found = [...checkEndpoints(provider, metadata, about), ...checkFlow(metadata, about)]
  const isUsable = found.every(({ severity }) => severity !== 'problem')
  if (!isUsable) return { findings: found, metadata, clock }
  const ok = finding('discovery_ok', about, `${provider.issuer} introduces itself by that name.`)
  return { findings: [ok, ...found], metadata, clock }
}

async function metadataOf(answer: Response): Promise<Metadata | undefined> {
  if (answer.status !== 200) return undefined
  try {
    const body: unknown = await answer.json()
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Metadata) : undefined
  } catch {
    return undefined
  }
}

function checkIssuer(issuer: string, theirs: unknown, about: string): Finding | undefined {
  if (theirs === issuer) return undefined
  const slash = typeof theirs === 'string' && theirs.replace(/\/$/, '') === issuer.replace(/\/$/, '')
  if (slash) {
    const isTheirs = theirs.endsWith('/')
    const what = `The metadata calls the issuer the same ${isTheirs ? 'with' : 'without'} a slash at the end.`
    const change = isTheirs ? 'Add a slash to the end of `issuer`.' : 'Take the slash off the end of `issuer`.'
    return finding('issuer_mismatch', about, what, change)
  }
  if (typeof theirs === 'string' && /[{}]/.test(theirs)) {
    const what = 'The metadata has a placeholder in the place of the issuer: this address is for many tenants.'
    return finding('issuer_mismatch', about, what, 'Set `issuer` to that of one tenant.')
  }
  const isAddress = typeof theirs === 'string' && /^https?:\/\//i.test(theirs) && URL.canParse(theirs)
  const change = isAddress
    ? `If that is the server you mean, set \`issuer\` to ${shown(theirs)}; behind a proxy, tell the server its public address.`
    : 'Make the authorization server publish its issuer.'
  return finding('issuer_mismatch', about, `The metadata of ${issuer} is that of ${shown(theirs)}.`, change)
}

function checkFlow(metadata: Metadata, about: string): Finding[] {
  const types = listOf(metadata, 'response_types_supported')
  const grants = listOf(metadata, 'grant_types_supported')
  const isThere = (types?.includes('code') ?? true) && (grants?.includes('authorization_code') ?? true)
  return isThere ? [] : [finding('code_flow_unsupported', about, 'The metadata does not offer the code flow.')]
}

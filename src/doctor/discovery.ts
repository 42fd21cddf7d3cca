// The metadata of an authorization server: whether it is there, whose it is, whether it is enough; and what time it is there.
import type { ProviderConfig } from '../config.ts'
import { isLoopback } from '../config-values.ts'
import { type Finding, finding } from './findings.ts'
import { ask, failureOf, listOf, type Metadata, shown, type World } from './world.ts'

export interface Discovered {
  readonly findings: readonly Finding[]
  /** `undefined` when there is nothing to go on with. */
  readonly metadata?: Metadata
}

/** Clocks that differ more cost sign-ins (30 s is what ID tokens are allowed); half of the lesser is HTTP's resolution. */
const [skew, drift] = [30_000, 5_000]

export async function discover(world: World, provider: ProviderConfig, about: string): Promise<Discovered> {
  const url = `${provider.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const sentAt = world.platform.now()
  let answer: Response
  try {
    answer = await ask(world, url, { headers: { accept: 'application/json' } })
  } catch (error) {
    return { findings: [finding('discovery_unreachable', about, `${url}: ${failureOf(error)}.`)] }
  }
  const midpoint = (sentAt + world.platform.now()) / 2
  const metadata = await metadataOf(answer)
  if (metadata === undefined) {
    const code = answer.status >= 500 ? 'discovery_unreachable' : 'discovery_missing'
    const said = answer.ok ? 'with something that is no metadata' : `with HTTP ${answer.status}`
    return { findings: [finding(code, about, `${url} answers ${said}.`)] }
  }
  const clock = checkClock(answer.headers.get('date'), midpoint, about)
  const mismatch = checkIssuer(provider.issuer, metadata.issuer, about)
  if (mismatch) return { findings: [mismatch, ...clock] }
  const found = [...checkEndpoints(provider, metadata, about), ...checkFlow(metadata, about)]
  const isUsable = found.every(({ severity }) => severity !== 'problem')
  if (!isUsable) return { findings: [...found, ...clock], metadata }
  const ok = finding('discovery_ok', about, `${provider.issuer} introduces itself by that name.`)
  return { findings: [ok, ...found, ...clock], metadata }
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
  const isUrl = typeof theirs === 'string' && URL.canParse(theirs)
  const change = isUrl
    ? `If that is the server you mean, set \`issuer\` to ${shown(theirs)}; behind a proxy, tell the server its public address.`
    : 'Make the authorization server publish its issuer.'
  return finding('issuer_mismatch', about, `The metadata of ${issuer} is that of ${shown(theirs)}.`, change)
}

function checkEndpoints({ issuer }: ProviderConfig, metadata: Metadata, about: string): Finding[] {
  const missing = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'].filter(
    (name) => typeof metadata[name] !== 'string' || !URL.canParse(metadata[name]),
  )
  if (missing.length > 0) {
    return [finding('metadata_incomplete', about, `The metadata has no usable ${missing.join(', ')}.`)]
  }
  const onLoopback = issuer.startsWith('http:')
  const insecure = Object.entries(metadata).filter(([name, value]) => {
    if (!/_endpoint$|^jwks_uri$/.test(name) || value === undefined) return false
    const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
    return url?.protocol !== 'https:' && !(onLoopback && url?.protocol === 'http:' && isLoopback(url.hostname))
  })
  return insecure
    .filter(([name]) => /^\w{1,64}$/.test(name))
    .map(([name, value]) => finding('endpoint_insecure', about, `${name} is not https: ${shown(value)}.`))
}

function checkFlow(metadata: Metadata, about: string): Finding[] {
  const types = listOf(metadata, 'response_types_supported')
  const grants = listOf(metadata, 'grant_types_supported')
  const isThere = (types?.includes('code') ?? true) && (grants?.includes('authorization_code') ?? true)
  return isThere ? [] : [finding('code_flow_unsupported', about, 'The metadata does not offer the code flow.')]
}

/** By the `Date` of an answer (RFC 9110, section 6.6.1), which is cut to the second. */
function checkClock(date: string | null, midpoint: number, about: string): Finding[] {
  const theirs = Date.parse(date ?? '')
  if (Number.isNaN(theirs)) return []
  const difference = midpoint - (theirs + 500)
  const seconds = Math.round(Math.abs(difference) / 1_000)
  const what = `This machine's clock is ${seconds} seconds ${difference > 0 ? 'ahead of' : 'behind'} that of the authorization server.`
  if (Math.abs(difference) > skew) return [finding('clock_skew', about, what)]
  if (Math.abs(difference) > drift) return [finding('clock_drift', about, what)]
  return [finding('clock_ok', about, 'The clocks agree within a few seconds.')]
}

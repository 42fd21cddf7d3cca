// Where metadata leads: whether coatcheck would go there at all, endpoint by endpoint, as the code decides that serves.
import type { ProviderConfig } from '../config.ts'
import { hasSafeEndpoints } from '../oauth/metadata.ts'
import { type Finding, finding } from './findings.ts'
import { type Metadata, shown } from './world.ts'

const required = ['authorization_endpoint', 'token_endpoint', 'jwks_uri']

/** Everything that is wrong with where metadata leads. Nobody has been asked there yet. */
export function checkEndpoints({ issuer }: ProviderConfig, metadata: Metadata, about: string): Finding[] {
  const missing = required.filter((name) => typeof metadata[name] !== 'string' || !URL.canParse(metadata[name]))
  if (missing.length > 0) {
    return [finding('metadata_incomplete', about, `The metadata has no usable ${missing.join(', ')}.`)]
  }
  return endpointsIn(metadata)
    .filter(([name, value]) => !mayBeAsked(name, value, issuer))
    .map(([name, value]) => refusalOf(/^\w{1,64}$/.test(name) ? name : 'An endpoint', value, issuer, about))
}

/** Whether `coatcheck serve` accepts metadata with this in it. */
export function mayBeAsked(name: string, value: unknown, issuer: string): boolean {
  // Nothing is believed of the value: what it is gets looked at there.
  return hasSafeEndpoints({ issuer, [name]: value } as Parameters<typeof hasSafeEndpoints>[0], issuer)
}

function endpointsIn({ mtls_endpoint_aliases: aliases, ...metadata }: Metadata): [string, unknown][] {
  const others = typeof aliases === 'object' && aliases !== null ? Object.entries(aliases) : []
  // By null some servers say that they have none.
  return [...Object.entries(metadata), ...others].filter(([, value]) => value !== null)
}

function refusalOf(name: string, value: unknown, issuer: string, about: string): Finding {
  if (typeof value !== 'string' || !URL.canParse(value)) {
    const change = 'Make the authorization server publish an address there, or leave this member out.'
    return finding('endpoint_refused', about, `${name} is no address.`, change)
  }
  const url = new URL(value)
  if (url.username || url.password || url.hash) {
    const change = 'Make the authorization server publish this address without them.'
    return finding('endpoint_refused', about, `${name} has credentials or a fragment in it: ${shown(value)}.`, change)
  }
  if (mayBeAsked('jwks_uri', value.replace(/^[a-z][a-z\d+.-]*:/i, 'https:'), issuer)) {
    return finding('endpoint_insecure', about, `${name} is not https: ${shown(value)}.`)
  }
  const what = `${name} leads to a private, link-local, loopback or otherwise special address: ${shown(value)}.`
  return finding('endpoint_refused', about, what)
}

// What is known of the product behind an issuer, held against the configuration.
import { vendorOf } from '../oauth/quirks.ts'
import { type Finding, finding } from './findings.ts'
import type { Patient, World } from './world.ts'

export function checkVendor({ config }: World, { provider, metadata, about }: Patient): Finding[] {
  const vendor = vendorOf(provider.issuer, metadata)
  if (!vendor) return []
  const found = [finding('vendor_known', about, `This looks like ${vendor.name}: see docs/providers/${vendor.id}.md.`)]
  const advise = (what: string, change: string, source: string) =>
    found.push(finding('vendor_advice', about, what, `${change} (${source})`))

  for (const { name, value, says, source } of vendor.parameters ?? []) {
    const set = provider.authorizationParams[name]
    const byRoute = config.routes.some(({ token }) => name in token)
    if (byRoute || (value === undefined ? set !== undefined : set?.split(' ').includes(value))) continue
    advise(`\`authorizationParams\` has no ${value === undefined ? name : `${name}=${value}`}.`, says, source)
  }
  for (const { issuer, says, source } of vendor.mistakenIssuers ?? []) {
    if (issuer.test(provider.issuer)) advise('The issuer is one that does not work here.', says, source)
  }
  const { ownScope, ownUserinfo, idTokenHint, typedLogoutTokens } = vendor
  const asked = [provider.scope, ...config.routes.map(({ token }) => ('scope' in token ? (token.scope ?? '') : ''))]
  const namesApi = asked.some((scope) => scope.split(' ').some((name) => !standardScopes.has(name)))
  if (ownScope && !namesApi) advise('`scope` names no API of yours.', ownScope.says, ownScope.source)
  if (ownUserinfo && namesApi && provider.userinfo !== false) {
    advise('Userinfo would be asked with the token of your API.', ownUserinfo.says, ownUserinfo.source)
  }
  if (idTokenHint && !provider.idTokenHint) {
    found.push(finding('id_token_hint_needed', about, `${idTokenHint.says} (${idTokenHint.source})`))
  }
  if (typedLogoutTokens && metadata.backchannel_logout_supported === true && !provider.backchannelLogout.anyType) {
    found.push(finding('vendor_known', about, `${typedLogoutTokens.says} (${typedLogoutTokens.source})`))
  }
  return found
}

/** Scopes that OpenID Connect itself names (Core, sections 5.4 and 11), and none. */
const standardScopes = new Set(['', 'openid', 'profile', 'email', 'address', 'phone', 'offline_access'])

// What is done about the quirks in providers.ts without being told, and how a product is recognised.
import type { ProviderConfig } from '../config.ts'
import { vendors } from './providers.ts'
import type { Vendor } from './vendor.ts'

/** The product behind an issuer, as far as its addresses say. */
export function vendorOf(issuer: string, metadata: Readonly<Record<string, unknown>> = {}): Vendor | undefined {
  return vendors.find((vendor) => {
    if (vendor.issuer?.test(issuer)) return true
    const [name, looks] = vendor.metadata ?? []
    const value = name === undefined ? undefined : metadata[name]
    return typeof value === 'string' && looks?.test(value) === true
  })
}

/** The scopes of an authorization request, and parameters besides: those of the configuration and of the page win over them. */
export function appliedTo({ issuer, scope }: Pick<ProviderConfig, 'issuer' | 'scope'>): {
  scope: string
  params: Readonly<Record<string, string>>
} {
  const { dropScope = [], insteadParams = {} } = vendorOf(issuer)?.applied ?? {}
  const names = scope.split(' ')
  const kept = names.filter((name) => !dropScope.includes(name))
  return { scope: kept.join(' '), params: kept.length < names.length ? insteadParams : {} }
}

/** Further parameters of a sign-out that is to come back to `returnUri`. */
export function signOutParams({ issuer }: Pick<ProviderConfig, 'issuer'>, returnUri: string): Record<string, string> {
  const name = vendorOf(issuer)?.applied?.returnParam
  return name === undefined ? {} : { [name]: returnUri }
}

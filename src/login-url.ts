// Where a sign-in begins. Every address of one is made here, so that none leads to another authorization server than it is for.

export const loginPath = '/auth/login'
/** Where the page of a stale callback looks whether somebody is signed in. */
export const continuePath = '/auth/continue'

/** Longest value of a parameter that is passed on to the authorization server, in characters. */
export const longestHint = 512

/**
 * The address of a sign-in.
 * @param provider the one that a session or a sign-in began with, if there is one. It is named only where there are several.
 */
export type LoginUrl = (provider?: string, params?: Readonly<Record<string, string>>) => string

export function loginUrls(providers: readonly { readonly id: string }[]): LoginUrl {
  // What is configured no more cannot be signed in at: then the user chooses, or the first is meant.
  const named = new Set(providers.length > 1 ? providers.map(({ id }) => id) : [])
  return (provider, params = {}) => {
    const isNamed = provider !== undefined && named.has(provider)
    const query = `${new URLSearchParams(isNamed ? { ...params, provider } : params)}`
    return query === '' ? loginPath : `${loginPath}?${query}`
  }
}

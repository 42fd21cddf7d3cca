// What can be known of a product that is an authorization server.

/** Something that a vendor's documentation says, in our words. */
interface Fact {
  readonly says: string
  /** Where it is from. */
  readonly source: string
}

export interface Vendor {
  /** Name of its page in docs/providers. */
  readonly id: string
  readonly name: string
  readonly documentation: string
  /** How its issuers look. */
  readonly issuer?: RegExp
  /** How one member of its metadata looks, where an issuer may look like anything. */
  readonly metadata?: readonly [name: string, looks: RegExp]
  /**
   * What the relying party does by itself, because nothing else can work there. Only by the issuer, and only where that
   * is the vendor's own host: what an operator wrote for another server is never changed.
   */
  readonly applied?: Applied & Fact
  /** Whether refresh tokens come only for the scope `offline_access`. */
  readonly offlineAccess: 'needed' | 'not needed'
  readonly refreshTokens: Fact
  readonly rotation?: Fact & { readonly byDefault: boolean }
  /** Authorization parameters that an operator most likely wants. */
  readonly parameters?: readonly (Fact & { readonly name: string; readonly value?: string })[]
  readonly mistakenIssuers?: readonly (Fact & { readonly issuer: RegExp })[]
  /** Access tokens are for an API of the vendor's own unless a scope names another. */
  readonly ownScope?: Fact
  /** Userinfo is an API of the vendor's own, so that a token for another API is nothing to ask it with. */
  readonly ownUserinfo?: Fact
  /** A sign-out needs `id_token_hint`. */
  readonly idTokenHint?: Fact
  /** Versions of it sent logout tokens without a type of their own. */
  readonly typedLogoutTokens?: Fact
}

interface Applied {
  /** Scopes that do not exist there and fail the request. */
  readonly dropScope?: readonly string[]
  /** Parameters that say the same as a dropped scope did. */
  readonly insteadParams?: Readonly<Record<string, string>>
  /** Further name under which the end-session endpoint takes the return address. */
  readonly returnParam?: string
}

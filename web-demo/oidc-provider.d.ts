// The part of oidc-provider that the demo uses; the package itself comes without types.
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  /** A Koa context inside the provider. */
  export interface ProviderContext {
    path: string
    type: string
    body: unknown
    readonly oidc: {
      readonly provider: Provider
      readonly client?: { readonly clientId: string }
      readonly params?: Readonly<Record<string, string | undefined>>
      readonly result?: { readonly consent?: { readonly grantId?: string } }
      readonly session?: { readonly accountId?: string; grantIdFor(clientId: string): string | undefined }
    }
  }

  export interface ProviderError extends Error {
    readonly error?: string
    readonly error_description?: string
    /** For the operator; not sent to anybody. */
    readonly error_detail?: string
  }

  /** What a user allowed a client to do. */
  export interface Grant {
    addOIDCScope(scope: string): void
    addResourceScope(resource: string, scope: string): void
    /** One of `authorization_details` (RFC 9396). */
    addRar(detail: object): void
    rejectResourceScope(resource: string, scope: string): void
    /** Returns the id. */
    save(): Promise<string>
  }

  /** A sign-in or a consent that waits for the user. */
  export interface Interaction {
    readonly uid: string
    readonly prompt: {
      readonly name: string
      readonly details: {
        readonly missingOIDCScope?: readonly string[]
        readonly missingResourceScopes?: Readonly<Record<string, readonly string[]>>
        readonly rar?: readonly object[]
      }
    }
    readonly params: Readonly<Record<string, string | undefined>>
    readonly session?: { readonly accountId?: string }
    readonly grantId?: string
  }

  export type InteractionResult =
    | { login: { accountId: string } }
    | { consent: { grantId: string } }
    | { error: string; error_description: string }

  interface ProviderEvents {
    'authorization.success': [ctx: ProviderContext, response: { code?: string }]
    'grant.success': [ctx: ProviderContext]
    'grant.error': [ctx: ProviderContext, error: ProviderError]
    'grant.revoked': [ctx: ProviderContext, grantId: string]
    'authorization.error': [ctx: ProviderContext, error: ProviderError]
    'pushed_authorization_request.error': [ctx: ProviderContext, error: ProviderError]
    'revocation.error': [ctx: ProviderContext, error: ProviderError]
    server_error: [ctx: ProviderContext, error: ProviderError]
  }

  export class Provider {
    constructor(issuer: string, configuration: object)
    readonly Grant: {
      new (properties: { accountId: string; clientId: string }): Grant
      find(id: string): Promise<Grant | undefined>
    }
    use(middleware: (ctx: ProviderContext, next: () => Promise<void>) => Promise<void>): this
    on<Name extends keyof ProviderEvents>(name: Name, listener: (...of: ProviderEvents[Name]) => void): this
    callback(): (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>
    /** @throws when the interaction is over or was begun in another browser. */
    interactionDetails(incoming: IncomingMessage, outgoing: ServerResponse): Promise<Interaction>
    /** Stores what came of an interaction; returns where the browser goes on. */
    interactionResult(
      incoming: IncomingMessage,
      outgoing: ServerResponse,
      result: InteractionResult,
      options?: { mergeWithLastSubmission?: boolean },
    ): Promise<string>
  }
}

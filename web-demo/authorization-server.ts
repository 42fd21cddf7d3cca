// The demo's authorization server: oidc-provider with accounts, a login page and a consent page of its own.
import { randomBytes } from 'node:crypto'
import { getRequestListener } from '@hono/node-server'
import { exportJWK, generateKeyPair } from 'jose'
import type { Provider, ProviderContext } from 'oidc-provider'
import { type Account, accounts } from './accounts.ts'
import { type Consents, createInteractions, existingGrant } from './authorization-server-interactions.ts'
import { messagePage, signedOutPage, signOutPage } from './authorization-server-pages.ts'
import { listen } from './ports.ts'

/** The API the access tokens are for, as `aud` (RFC 8707). */
export const apiResource = 'urn:coatcheck-demo:orders'
/** What can be allowed at that API. */
export const apiScopes = ['orders:read', 'orders:write'] as const

export interface AuthorizationServerOptions {
  /** 0 takes a free one. */
  port: number
  clientId: string
  clientSecret: string
  /** Where the application lives: pages link back to it, and it serves the pictures of the accounts. */
  appUrl: string
  redirectUris: readonly string[]
  postLogoutRedirectUris: readonly string[]
  /** Seconds. Default: 60. */
  accessTokenLifetime?: number | undefined
  /** Told every secret that is issued or received, so that a test can look for it where it must not be. */
  onSecret?: ((secret: Secret) => void) | undefined
}

/** Something that no browser may ever see, or see only on its way through the address bar (`code`). */
export interface Secret {
  kind:
    | 'access token'
    | 'refresh token'
    | 'ID token'
    | 'authorization code'
    | 'code verifier'
    | 'client secret'
    | 'API key'
  value: string
}

/** What happened at the token endpoint so far. */
export interface Counters {
  /** Codes redeemed. */
  logins: number
  /** Refresh tokens redeemed. */
  refreshGrants: number
  /** Refresh requests that were refused, for whatever reason. */
  refusedRefreshes: number
  /** Refresh tokens that came a second time. Each one cost the grant. */
  reuses: number
  /** Grants that ended: by reuse, or at a sign-out. */
  revokedGrants: number
}

export interface AuthorizationServer {
  readonly issuer: string
  readonly counters: Readonly<Counters>
  close(): Promise<void>
}

/** Starts an authorization server with new keys. It forgets everything when it ends. */
export async function startAuthorizationServer(options: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const counters: Counters = { logins: 0, refreshGrants: 0, refusedRefreshes: 0, reuses: 0, revokedGrants: 0 }
  const handler: { current: Parameters<typeof listen>[1] } = { current: (_, outgoing) => outgoing.writeHead(503).end() }
  // The issuer is known only once the port is.
  const server = await listen(options.port, (incoming, outgoing) => handler.current(incoming, outgoing))
  const consents: Consents = new Map()
  const settings = await configuration(options, consents)
  const provider = await quietly(async () => new (await import('oidc-provider')).Provider(server.url, settings))
  count(provider, counters)
  if (options.onSecret) reportSecrets(provider, options, options.onSecret)

  const protocol = provider.callback()
  const pages = getRequestListener(createInteractions(provider, options.appUrl, consents).fetch)
  handler.current = (incoming, outgoing) => {
    const isOurs = /^\/(interaction\/|style\.css$|favicon\.ico$|$)/.test(incoming.url ?? '')
    void (isOurs ? pages : protocol)(incoming, outgoing)
  }
  return { issuer: server.url, counters, close: server.close }
}

/** oidc-provider begins with advice for production, which would only bury the address to open. */
async function quietly<T>(work: () => Promise<T>): Promise<T> {
  const { warn } = console
  console.warn = () => {}
  return work().finally(() => {
    console.warn = warn
  })
}

async function configuration(options: AuthorizationServerOptions, consents: Consents): Promise<object> {
  const { clientId, clientSecret, appUrl, redirectUris, postLogoutRedirectUris, accessTokenLifetime = 60 } = options
  const day = 86_400
  return {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        client_name: 'Coatcheck demo',
        client_uri: appUrl,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: redirectUris,
        post_logout_redirect_uris: postLogoutRedirectUris,
      },
    ],
    jwks: { keys: await Promise.all([signingKey('RS256'), signingKey('ES256')]) },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    scopes: ['openid', 'offline_access', 'profile', 'email'],
    claims: { openid: ['sub'], profile: ['name', 'picture'], email: ['email', 'email_verified'] },
    // Access tokens are for the API and open no userinfo, so the ID token carries what there is to say.
    conformIdTokenClaims: false,
    findAccount: (_: unknown, id: string) => {
      const account = accounts.find((one) => one.id === id)
      return account && { accountId: id, claims: () => claimsOf(account, appUrl) }
    },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true, allowedPolicy: () => true },
      rpInitiatedLogout: { enabled: true, logoutSource, postLogoutSuccessSource },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => apiResource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: apiScopes.join(' '),
          audience: apiResource,
          accessTokenTTL: accessTokenLifetime,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    pkce: { required: () => true },
    responseTypes: ['code'],
    subjectTypes: ['public'],
    rotateRefreshToken: true,
    // As it comes, oidc-provider drops offline_access where prompt=consent was not asked for (docs/providers/README.md), and
    // then asks at every sign-in; here consent is asked for once.
    issueRefreshToken: (_: unknown, client: { grantTypeAllowed(type: string): boolean }) =>
      client.grantTypeAllowed('refresh_token'),
    expiresWithSession: () => false,
    loadExistingGrant: (ctx: ProviderContext) => existingGrant(ctx, consents),
    ttl: {
      AccessToken: accessTokenLifetime,
      AuthorizationCode: 60,
      RefreshToken: day,
      IdToken: 600,
      Interaction: 3_600,
      Session: day,
      Grant: day,
    },
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    clientBasedCORS: () => false,
    renderError,
  }
}

async function signingKey(alg: 'RS256' | 'ES256') {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${randomBytes(4).toString('hex')}` }
}

function claimsOf({ id, username, name, email }: Account, appUrl: string) {
  return { sub: id, name, email, email_verified: true, picture: `${appUrl}/people/${username}.svg` }
}

async function logoutSource(ctx: ProviderContext, form: string): Promise<void> {
  ctx.type = 'html'
  ctx.body = await signOutPage(form)
}

async function postLogoutSuccessSource(ctx: ProviderContext): Promise<void> {
  ctx.type = 'html'
  ctx.body = await signedOutPage()
}

async function renderError(ctx: ProviderContext, { error }: { error: string }): Promise<void> {
  ctx.type = 'html'
  ctx.body = await messagePage('This request cannot be answered', 'Go back to the application and start again.', error)
}

function count(provider: Provider, counters: Counters): void {
  provider.on('grant.success', ({ oidc }) => {
    if (oidc.params?.grant_type === 'authorization_code') counters.logins++
    if (oidc.params?.grant_type === 'refresh_token') counters.refreshGrants++
  })
  provider.on('grant.error', ({ oidc }, { error_detail }) => {
    if (oidc.params?.grant_type !== 'refresh_token') return
    counters.refusedRefreshes++
    if (error_detail === 'refresh token already used') counters.reuses++
  })
  provider.on('grant.revoked', () => {
    counters.revokedGrants++
  })
}

const tokenKinds = { access_token: 'access token', refresh_token: 'refresh token', id_token: 'ID token' } as const

function reportSecrets(
  provider: Provider,
  { clientSecret }: AuthorizationServerOptions,
  report: (secret: Secret) => void,
): void {
  report({ kind: 'client secret', value: clientSecret })
  provider.on('authorization.success', (_, { code }) => {
    if (code !== undefined) report({ kind: 'authorization code', value: code })
  })
  provider.use(async (ctx, next) => {
    await next()
    if (ctx.path !== '/token' || typeof ctx.body !== 'object' || ctx.body === null) return
    const verifier = ctx.oidc.params?.code_verifier
    if (verifier !== undefined) report({ kind: 'code verifier', value: verifier })
    const answer: Record<string, unknown> = { ...ctx.body }
    for (const [name, kind] of Object.entries(tokenKinds)) {
      const value = answer[name]
      if (typeof value === 'string') report({ kind, value })
    }
  })
}

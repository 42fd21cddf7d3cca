// oidc-provider over TLS, as somebody else's authorization server: it comes to the application only by its public address.
import { X509Certificate } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { Provider, type ProviderContext } from 'oidc-provider'
import { type BrowserResponse, exchange } from './browser.ts'
import type { Certificate } from './certificate.ts'
import { closeAfterTest, listen } from './http-server.ts'

type Json = Record<string, unknown>

export interface OidcProviderOptions {
  /** Of the server, for `localhost`. */
  readonly certificate: Certificate
  /** What the client has registered, besides its identifier and addresses. */
  readonly client: Json
  /** Features as oidc-provider has them, besides the usual ones. */
  readonly features?: Json
  readonly settings?: Json
  /**
   * Whom it gives refresh tokens: everybody, or as it comes, which is for offline_access when the request also asked for
   * consent (OpenID Connect Core, section 11).
   */
  readonly refreshTokens?: 'everybody' | 'as it comes'
  /** What browsers see, and where that is in this test. */
  readonly publicUrl: string
  readonly coatcheckUrl: string
}

export interface OidcProvider {
  readonly issuer: string
  /** A further door that asks for client certificates. */
  readonly mutualTlsUrl: string
  /** Requests by path, with the fingerprint of the certificate that came along, if one did. */
  readonly asked: { path: string; fingerprint: string | undefined }[]
  /** Grant types that were served, and what was refused and why: as oidc-provider itself tells it. */
  readonly granted: string[]
  readonly refused: string[]
  /** Somebody who signs in there, and allows everything. */
  person(): Person
}

export interface Person {
  /** Follows an address through the authorization server until it leads elsewhere; returns that address. */
  follow(address: string): Promise<URL>
  /** Signs out there, without the application. */
  signOut(): Promise<void>
}

export const clientId = 'app'
const day = 86_400

const errors = [
  'authorization.error',
  'grant.error',
  'pushed_authorization_request.error',
  'revocation.error',
  'server_error',
] as const
const accountId = 'alice'

/** Kinds of things this server signs with, so that a client can choose. */
const signingKeys = async (): Promise<JWK[]> =>
  Promise.all(
    ['RS256', 'PS256', 'ES256', 'EdDSA'].map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true })
      return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: alg }
    }),
  )

export async function startOidcProvider(options: OidcProviderOptions): Promise<OidcProvider> {
  const { certificate, publicUrl, coatcheckUrl } = options
  const asked: OidcProvider['asked'] = []
  const [granted, refused]: [string[], string[]] = [[], []]
  let handler: (request: IncomingMessage, response: ServerResponse) => unknown = () => {}

  const receive = (request: IncomingMessage, response: ServerResponse) => {
    const { fingerprint256 } = (request.socket as TLSSocket).getPeerCertificate?.() ?? {}
    asked.push({ path: new URL(request.url ?? '/', 'https://localhost').pathname, fingerprint: fingerprint256 })
    void handler(request, response)
  }
  const server = closeAfterTest(await listen(receive, { ...certificate }))
  const mutual = { ...certificate, requestCert: true, rejectUnauthorized: false }
  const mutualTls = closeAfterTest(await listen(receive, mutual))
  const issuer = server.url

  const provider = await quietly(async () => new Provider(issuer, await configuration()))
  provider.on('grant.success', ({ oidc }) => granted.push(oidc.params?.grant_type ?? ''))
  // What it does not accept, wherever: only its own words say why.
  for (const event of errors) {
    provider.on(event, (_, { error, message, error_description, error_detail }) =>
      refused.push([event, error ?? message, error_description, error_detail].join(': ')),
    )
  }
  const callback = provider.callback()
  handler = (request, response) =>
    request.url?.startsWith('/interaction/') ? interact(request, response) : callback(request, response)

  async function configuration(): Promise<Json> {
    return {
      clients: [
        {
          client_id: clientId,
          redirect_uris: [`${publicUrl}/auth/callback`],
          post_logout_redirect_uris: [`${publicUrl}/auth/logout/callback`],
          backchannel_logout_uri: `${publicUrl}/auth/backchannel-logout`,
          backchannel_logout_session_required: true,
          grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
          response_types: ['code'],
          ...options.client,
        },
      ],
      jwks: { keys: await signingKeys() },
      cookies: { keys: ['only for this test'] },
      scopes: ['openid', 'offline_access', 'profile', 'email'],
      claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
      conformIdTokenClaims: false,
      findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id, name: 'Alice' }) }),
      features: {
        devInteractions: { enabled: false },
        revocation: { enabled: true, allowedPolicy: () => true },
        clientCredentials: { enabled: true },
        backchannelLogout: { enabled: true },
        rpInitiatedLogout: { enabled: true, logoutSource, postLogoutSuccessSource: logoutSource },
        ...options.features,
      },
      pkce: { required: () => true },
      clientAuthMethods: [
        'client_secret_basic',
        'client_secret_post',
        'private_key_jwt',
        ...(options.features?.mTLS === undefined ? [] : ['tls_client_auth', 'self_signed_tls_client_auth']),
      ],
      rotateRefreshToken: true,
      ttl: {
        AccessToken: 300,
        ClientCredentials: 300,
        IdToken: 300,
        Interaction: 300,
        RefreshToken: day,
        Session: day,
        Grant: day,
      },
      ...(options.refreshTokens !== 'as it comes' && { issueRefreshToken: () => true }),
      interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
      discovery: { mtls_endpoint_aliases: aliases() },
      // The network of this test: the application is where its address says, seen from outside.
      fetch: (url: string | URL, { dispatcher, ...init }: Json) =>
        fetch(String(url).replace(publicUrl, coatcheckUrl), init as RequestInit),
      renderError: async (ctx: ProviderContext, { error, error_description }: Json) => {
        refused.push(`page: ${error}: ${error_description}`)
        ctx.type = 'text'
        ctx.body = String(error)
      },
      ...options.settings,
    }
  }

  function aliases(): Json {
    const at = (path: string) => mutualTls.url + path
    return {
      token_endpoint: at('/token'),
      revocation_endpoint: at('/token/revocation'),
      pushed_authorization_request_endpoint: at('/request'),
      userinfo_endpoint: at('/me'),
    }
  }

  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const interaction = await provider.interactionDetails(request, response)
    const isConsent = interaction.prompt.name === 'consent'
    const result = isConsent ? { consent: { grantId: await allowed(interaction) } } : { login: { accountId } }
    const location = await provider.interactionResult(request, response, result, {
      mergeWithLastSubmission: isConsent,
    })
    response.writeHead(303, { location }).end()
  }

  async function allowed({ grantId, params, prompt }: Awaited<ReturnType<Provider['interactionDetails']>>) {
    const known = grantId === undefined ? undefined : await provider.Grant.find(grantId)
    const grant = known ?? new provider.Grant({ accountId, clientId: params.client_id ?? '' })
    const { missingOIDCScope = [], missingResourceScopes = {}, rar = [] } = prompt.details
    grant.addOIDCScope(missingOIDCScope.join(' '))
    for (const [resource, scopes] of Object.entries(missingResourceScopes)) {
      grant.addResourceScope(resource, scopes.join(' '))
    }
    for (const detail of rar) grant.addRar(detail)
    return grant.save()
  }

  function person(): Person {
    const jar = new Map<string, string>()

    async function visit(address: URL, method = 'GET', body?: string): Promise<BrowserResponse> {
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
      const type = body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }
      const answer = await exchange(address, method, { cookie, ...type }, body)
      for (const line of answer.setCookie) {
        const [pair = ''] = line.split(';')
        jar.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
      }
      return answer
    }

    async function follow(address: string): Promise<URL> {
      let at = new URL(address)
      for (let step = 0; at.origin === issuer; step++) {
        const answer = await visit(at)
        const location = answer.headers.get('location')
        if (location === null || step > 10) throw new Error(`${at.pathname}: ${answer.status} ${refused.join('; ')}`)
        at = new URL(location, at)
      }
      return at
    }

    return {
      follow,
      async signOut() {
        const page = await visit(new URL('/session/end', issuer))
        const [, xsrf = ''] = /name="xsrf" value="(\w+)"/.exec(page.text) ?? []
        await visit(new URL('/session/end/confirm', issuer), 'POST', `xsrf=${xsrf}&logout=yes`)
      },
    }
  }

  return { issuer, mutualTlsUrl: mutualTls.url, asked, granted, refused, person }
}

async function logoutSource(ctx: ProviderContext, form?: string): Promise<void> {
  ctx.type = 'html'
  ctx.body = form ?? 'signed out'
}

/** As `x5c` of a registered key has it, and what the server takes a client's certificate to be. */
export function certificateOf({ cert }: Certificate): { x5c: string; fingerprint: string; jwk: JsonWebKey } {
  const parsed = new X509Certificate(cert)
  const { publicKey, raw, fingerprint256 } = parsed
  return {
    x5c: raw.toString('base64'),
    fingerprint: fingerprint256,
    jwk: publicKey.export({ format: 'jwk' }) as JsonWebKey,
  }
}

/** oidc-provider's side of RFC 8705. */
export function mutualTlsFeature(client: Certificate): Json {
  const shown = ({ req }: { req: IncomingMessage }) => (req.socket as TLSSocket).getPeerX509Certificate?.()
  const { fingerprint } = certificateOf(client)
  return {
    enabled: true,
    certificateBoundAccessTokens: true,
    selfSignedTlsClientAuth: true,
    tlsClientAuth: true,
    getCertificate: shown,
    certificateAuthorized: (ctx: { req: IncomingMessage }) => shown(ctx)?.fingerprint256 === fingerprint,
    certificateSubjectMatches: (ctx: { req: IncomingMessage }, property: string, expected: string) =>
      property === 'tls_client_auth_subject_dn' && shown(ctx)?.subject === expected,
  }
}

/** oidc-provider begins with advice for production. */
async function quietly<T>(work: () => Promise<T>): Promise<T> {
  const { warn } = console
  console.warn = () => {}
  return work().finally(() => {
    console.warn = warn
  })
}

// The authorization server that every session of a run comes from: oidc-provider, with a user who signs in at once.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { createLocalJWKSet, exportJWK, generateKeyPair, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { freePort } from './processes.ts'

/** A contestant as the authorization server knows it. */
export interface Client {
  readonly id: string
  readonly secret: string
  readonly redirectUri: string
}

export interface AuthorizationServer {
  readonly issuer: string
  /** The claims of an access token. @throws when it is not one of ours, for the upstream, and good. */
  verify(accessToken: string): Promise<JWTPayload>
  /** An access token without a session, for contestants that hold none. */
  issue(client: Client): Promise<string>
  close(): void
}

/** oidc-provider publishes no types; this is what is used of it. */
interface Provider {
  registerGrantType(
    name: string,
    handler: (ctx: { oidc: { client: { clientId: string } }; body: object }) => Promise<void>,
    parameters: readonly string[],
  ): void
  callback(): (request: IncomingMessage, response: ServerResponse) => void
  interactionFinished(request: IncomingMessage, response: ServerResponse, result: object): Promise<void>
  Grant: new (
    properties: object,
  ) => {
    addOIDCScope(scope: string): void
    addResourceScope(api: string, scope: string): void
    save(): Promise<string>
  }
}
const { default: OidcProvider } = createRequire(import.meta.url)('oidc-provider') as {
  default: new (issuer: string, configuration: object) => Provider
}

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange'

const user = {
  sub: 'alice',
  name: 'Alice Example',
  email: 'alice@example.com',
  picture: 'https://example.com/alice.png',
}
export const api = 'https://api.example.com'
export const scope = 'openid profile email offline_access'
/** Longer than any run, so that nothing is refreshed under load. Seconds. */
const lifetime = 86_400

export async function startAuthorizationServer(clients: readonly Client[]): Promise<AuthorizationServer> {
  const issuer = `http://127.0.0.1:${await freePort()}`
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
  const named = { kid: 'bench', use: 'sig', alg: 'RS256' }
  const publicKeys: JWK = { ...(await exportJWK(publicKey)), ...named }
  const provider = new OidcProvider(issuer, {
    clients: clients.map(({ id, secret, redirectUri }) => ({
      client_id: id,
      client_secret: secret,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials', tokenExchange],
    })),
    jwks: { keys: [{ ...(await exportJWK(privateKey)), ...named }] },
    cookies: { keys: [crypto.randomUUID()] },
    claims: { openid: ['sub'], profile: ['name', 'picture'], email: ['email'] },
    // Everything there is to know of the user stands in the ID token, and nobody need ask for more.
    conformIdTokenClaims: false,
    findAccount: () => ({ accountId: user.sub, claims: () => user }),
    issueRefreshToken: () => true,
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    async loadExistingGrant({ oidc }: { oidc: { client: { clientId: string }; session: { accountId: string } } }) {
      const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId })
      grant.addOIDCScope(scope)
      grant.addResourceScope(api, scope)
      await grant.save()
      return grant
    },
    ttl: {
      AccessToken: lifetime,
      ClientCredentials: lifetime,
      RefreshToken: lifetime,
      Grant: lifetime,
      Session: lifetime,
      Interaction: 600,
      IdToken: lifetime,
    },
    features: {
      devInteractions: { enabled: false },
      userinfo: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => api,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope,
          audience: api,
          accessTokenTTL: lifetime,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  })
  provider.registerGrantType(
    tokenExchange,
    async (ctx) => {
      // What comes of an exchange is not measured, only that it is kept: it is a token like the others.
      const { client } = ctx.oidc
      const token = new SignJWT({ client_id: client.clientId, scope })
        .setProtectedHeader({ alg: 'RS256', kid: named.kid, typ: 'at+jwt' })
        .setIssuer(issuer)
        .setAudience(api)
        .setSubject(user.sub)
        .setExpirationTime(`${lifetime}s`)
      ctx.body = {
        access_token: await token.sign(privateKey),
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: 'Bearer',
        expires_in: lifetime,
      }
    },
    ['subject_token', 'subject_token_type', 'requested_token_type', 'audience'],
  )
  const answer = provider.callback()
  const server = await listen(new URL(issuer), (request, response) => {
    if (!request.url?.startsWith('/interaction/')) return answer(request, response)
    provider.interactionFinished(request, response, { login: { accountId: user.sub } }).catch((error: Error) => {
      response.writeHead(500).end(error.message)
    })
  })
  const keys = createLocalJWKSet({ keys: [publicKeys] })
  return {
    issuer,
    verify: async (accessToken) => (await jwtVerify(accessToken, keys, { issuer, audience: api })).payload,
    async issue({ id, secret }) {
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${id}:${secret}`)}` },
        body: new URLSearchParams({ grant_type: 'client_credentials' }),
      })
      const { access_token } = (await response.json()) as { access_token?: string }
      if (access_token === undefined) throw new Error(`The authorization server issued no token: ${response.status}`)
      return access_token
    },
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function listen(
  url: URL,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Server> {
  const server = createServer(handler)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(Number(url.port), url.hostname, resolve)
  })
  return server
}

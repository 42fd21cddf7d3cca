// A real authorization server that somebody else wrote: better-auth with its OAuth provider, its data in memory.
import { createHash, randomBytes } from 'node:crypto'
import { oauthProvider } from '@better-auth/oauth-provider'
import { type BetterAuthPlugin, betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { toNodeHandler } from 'better-auth/node'
import { jwt } from 'better-auth/plugins'
import { exchange } from './browser.ts'
import { listen, type TestServer } from './http-server.ts'

export interface BetterAuth extends TestServer {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Method and path of everything it was asked for, in order. */
  readonly requests: string[]
  /** Writes an application into its database, because its registration refuses plain http. */
  allow(publicUrl: string): void
  /** Follows the address of a sign-in as a person who has an account; gives the address to come back to. */
  signIn(authorizationUrl: string): Promise<URL>
  /** The same as somebody who is not signed in there. */
  arrive(authorizationUrl: string): Promise<URL>
  /** The person signs out at this server. */
  signOut(): Promise<void>
}

const person = { email: 'alice@example.com', password: 'correct horse battery staple', name: 'Alice' }
const tables =
  'user session account verification jwks oauthClient oauthResource oauthClientResource oauthRefreshToken oauthAccessToken oauthConsent oauthClientAssertion'

/** @param accessTokenLife in seconds. */
export async function startBetterAuth(accessTokenLife: number): Promise<BetterAuth> {
  const requests: string[] = []
  const [clientId, clientSecret] = ['app', randomBytes(32).toString('base64url')]
  const database: Record<string, Record<string, unknown>[]> = {}
  for (const table of tables.split(' ')) database[table] = []

  const server = await listen((request, response) => {
    requests.push(`${request.method} ${request.url?.split('?')[0]}`)
    void handler(request, response)
  })
  const auth = betterAuth({
    baseURL: server.url,
    secret: randomBytes(32).toString('base64url'),
    database: memoryAdapter(database),
    emailAndPassword: { enabled: true },
    telemetry: { enabled: false },
    rateLimit: { enabled: false },
    logger: { disabled: true },
    plugins: [
      jwt(),
      oauthProvider({
        loginPage: '/login',
        consentPage: '/consent',
        scopes: ['openid', 'profile', 'email', 'offline_access'],
        accessTokenExpiresIn: accessTokenLife,
        // Its types were not made with exactOptionalPropertyTypes.
      }) as BetterAuthPlugin,
    ],
  })
  const handler = toNodeHandler(auth)
  let cookie = cookiesOf((await auth.api.signUpEmail({ body: person, returnHeaders: true })).headers)
  async function follow(url: string, headers: Record<string, string>): Promise<URL> {
    const navigation = { accept: 'text/html', 'sec-fetch-mode': 'navigate', ...headers }
    const answer = await exchange(new URL(url), 'GET', navigation)
    return new URL(answer.headers.get('location') ?? '', url)
  }

  return {
    ...server,
    issuer: `${server.url}/api/auth`,
    clientId,
    clientSecret,
    requests,
    allow(publicUrl) {
      database.oauthClient?.push({
        id: 'app',
        clientId,
        clientSecret: createHash('sha256').update(clientSecret).digest('base64url'),
        name: 'app',
        scopes: ['openid', 'profile', 'email', 'offline_access'],
        grantTypes: ['authorization_code', 'refresh_token'],
        responseTypes: ['code'],
        tokenEndpointAuthMethod: 'client_secret_basic',
        skipConsent: true,
        enableEndSession: true,
        redirectUris: [`${publicUrl}/auth/callback`],
        postLogoutRedirectUris: [`${publicUrl}/auth/logout/callback`],
        // Names under localhost are the browser's; this request is the server's own.
        backchannelLogoutUri: `${publicUrl.replace('app.localhost', '127.0.0.1')}/auth/backchannel-logout`,
      })
    },
    signIn: (url) => follow(url, { cookie }),
    arrive: (url) => follow(url, {}),
    async signOut() {
      await auth.api.signOut({ headers: new Headers({ cookie }) })
      const again = await auth.api.signInEmail({ body: person, returnHeaders: true })
      cookie = cookiesOf(again.headers)
    },
  }
}

function cookiesOf(headers: Headers): string {
  return headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ')
}

// An OpenID provider under the test's control: honest by default, and hostile in exactly the way a test asks for.
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { decodeJwt, exportJWK, generateKeyPair, type JWK, type JWTVerifyGetKey, jwtVerify, SignJWT } from 'jose'
import type { Certificate } from './certificate.ts'
import { openProof } from './dpop.ts'
import { bodyOf, listen, type TestServer } from './http-server.ts'

/** Stands in every token and code, so that a test can look for it wherever nothing of it may be. */
export const canary = 'CANARY'

export interface Recorded {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly query: URLSearchParams
  readonly body: URLSearchParams
}

/** What an endpoint answers; `undefined` lets the honest answer through. */
export interface Answer {
  status?: number
  headers?: Record<string, string>
  body: string | Buffer | object
}
type Fault = (request: Recorded, response: ServerResponse) => Answer | undefined | Promise<Answer | undefined>

/** Everything a test can turn. Change it at any time; it counts from the next request on. */
export interface Behaviour {
  /** Seconds; `undefined` leaves `expires_in` out. */
  expiresIn: number | undefined
  refreshTokens: boolean
  rotate: boolean
  /** JWT access tokens, else opaque ones. */
  jwtAccessTokens: boolean
  /** Padding of the access token, in characters, to make it large. */
  accessTokenPadding: number
  refreshTokenPadding: number
  idTokenOnRefresh: boolean
  scope: string | undefined
  user: { sub: string; [claim: string]: unknown }
  userinfo: Record<string, unknown> | undefined
  /** Changes claims and header of an ID token before it is signed. */
  idToken: (claims: Record<string, unknown>, header: Record<string, unknown>) => void
  /** Changes a signed ID token. */
  signedIdToken: (jwt: string) => string | Promise<string>
  /** Changes a token response. */
  tokenResponse: (response: Record<string, unknown>) => void | Promise<void>
  /** Changes the authorization response. */
  callback: (parameters: URLSearchParams) => void
  /** Changes claims and header of a signed authorization response (JARM) before it is signed. */
  signedCallback: (claims: Record<string, unknown>, header: Record<string, unknown>) => void
  /** Changes the metadata. */
  metadata: (metadata: Record<string, unknown>) => void
  /** Whether a code is only redeemed with the verifier of its challenge. */
  checksVerifier: boolean
  /** Public key of a client that signs assertions (RFC 7523), or where to find it; with it no secret is accepted. */
  clientKey: CryptoKey | JWTVerifyGetKey | undefined
  /**
   * Binds tokens to the key of the `DPoP` proof that a request has, and asks for a nonce in it, if one is named. `ahead`: how
   * far the clock is ahead that it looks at, in milliseconds.
   */
  dpop: { nonce?: string; ahead?: number } | undefined
  /** Believes what openMutualTls() says of the certificate that the client showed, and no secret. */
  clientCertificate: boolean
  /** What introspection says of a token, by its value; of any other, that it is not active. */
  introspected: Record<string, Record<string, unknown>>
  /** Breaks every connection. */
  away: boolean
  /** Replaces the answer of an endpoint, by its path. */
  faults: Record<string, Fault>
}

export interface AuthorizationServer extends TestServer {
  readonly issuer: string
  readonly behaviour: Behaviour
  readonly requests: Recorded[]
  /** Requests to one path, such as `/token`. */
  to(path: string): Recorded[]
  /** Redemptions of refresh tokens that were already spent. Each of them revoked a login. */
  readonly reuses: string[]
  readonly clientId: string
  readonly clientSecret: string
  readonly publicKeys: JWK[]
  /** Makes a new signing key, for RS256 unless told otherwise; the old one is published no more. */
  rotateKeys(alg?: string): Promise<void>
  /** Signs any claims, as a logout token unless `header` says otherwise. */
  logoutToken(claims: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>
  /** Signs any claims, as an access token for `api` (RFC 9068) unless they or `header` say otherwise. */
  accessToken(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>
  /** The private key in use, for forging. */
  signingKey(): CryptoKey
}

export const honest = (): Behaviour => ({
  expiresIn: 300,
  refreshTokens: true,
  rotate: true,
  jwtAccessTokens: true,
  accessTokenPadding: 0,
  refreshTokenPadding: 0,
  idTokenOnRefresh: true,
  scope: undefined,
  user: { sub: 'alice', name: 'Alice', email: 'alice@example.com' },
  userinfo: undefined,
  idToken: () => {},
  signedIdToken: (jwt) => jwt,
  tokenResponse: () => {},
  callback: () => {},
  signedCallback: () => {},
  metadata: () => {},
  checksVerifier: true,
  clientKey: undefined,
  dpop: undefined,
  clientCertificate: false,
  introspected: {},
  away: false,
  faults: {},
})

/** @param tls a certificate for `localhost`, and the issuer is https */
export async function startAuthorizationServer(tls?: Certificate): Promise<AuthorizationServer> {
  const behaviour = honest()
  const requests: Recorded[] = []
  const reuses: string[] = []
  const clientId = 'test-client'
  const clientSecret = `${canary}-client-secret`
  const codes = new Map<string, { challenge: string; nonce: string; redirectUri: string; authTime: number }>()
  /** Refresh tokens by value: the family they belong to, and whether they were spent. */
  const refreshTokens = new Map<string, { family: string; spent: boolean }>()
  const revokedFamilies = new Set<string>()
  const pushed = new Map<string, URLSearchParams>()
  let keys: { privateKey: CryptoKey; jwk: JWK }
  const publicKeys: JWK[] = []

  async function rotateKeys(alg = 'RS256') {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    const jwk = { ...(await exportJWK(publicKey)), kid: randomBytes(4).toString('hex'), use: 'sig', alg }
    keys = { privateKey, jwk }
    publicKeys.splice(0, publicKeys.length, jwk)
  }
  await rotateKeys()

  const server = await listen((request, response) => {
    handle(request, response).catch((error) => {
      response.statusCode = 500
      response.end(String(error))
    })
  }, tls)
  const issuer = server.url

  async function handle(incoming: IncomingMessage, response: ServerResponse) {
    const url = new URL(incoming.url ?? '/', issuer)
    const body = new URLSearchParams((await bodyOf(incoming)).toString())
    const request: Recorded = {
      method: incoming.method ?? '',
      path: url.pathname,
      headers: incoming.headers,
      query: url.searchParams,
      body,
    }
    requests.push(request)
    if (behaviour.away) {
      response.destroy()
      return
    }
    const fault = await behaviour.faults[url.pathname]?.(request, response)
    if (response.headersSent || response.destroyed) return
    const answer = fault ?? (await endpoints[url.pathname]?.(request)) ?? { status: 404, body: 'not here' }
    const isJson = typeof answer.body === 'object' && !Buffer.isBuffer(answer.body)
    response.writeHead(answer.status ?? 200, {
      'content-type': isJson ? 'application/json' : 'text/plain',
      'cache-control': 'no-store',
      ...answer.headers,
    })
    response.end(isJson ? JSON.stringify(answer.body) : (answer.body as string | Buffer))
  }

  const endpoints: Record<string, (request: Recorded) => Answer | Promise<Answer>> = {
    '/.well-known/openid-configuration': () => {
      const metadata: Record<string, unknown> = {
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        userinfo_endpoint: `${issuer}/userinfo`,
        revocation_endpoint: `${issuer}/revoke`,
        end_session_endpoint: `${issuer}/end-session`,
        introspection_endpoint: `${issuer}/introspect`,
        response_types_supported: ['code'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: [keys.jwk.alg],
        code_challenge_methods_supported: ['S256'],
        authorization_response_iss_parameter_supported: true,
      }
      behaviour.metadata(metadata)
      return { body: metadata }
    },
    '/jwks': () => ({ body: { keys: publicKeys } }),
    '/par': ({ body }) => {
      const requestUri = `urn:ietf:params:oauth:request_uri:${randomBytes(8).toString('hex')}`
      pushed.set(requestUri, body)
      return { status: 201, body: { request_uri: requestUri, expires_in: 60 } }
    },
    '/authorize': async ({ query }) => {
      const asked = pushed.get(query.get('request_uri') ?? '') ?? query
      const object = asked.get('request')
      const parameters = object === null ? asked : new URLSearchParams(decodeJwt(object) as Record<string, string>)
      const code = `${canary}-code-${randomBytes(12).toString('hex')}`
      codes.set(code, {
        challenge: parameters.get('code_challenge') ?? '',
        nonce: parameters.get('nonce') ?? '',
        redirectUri: parameters.get('redirect_uri') ?? '',
        authTime: Math.floor(Date.now() / 1_000),
      })
      const callback = new URL(parameters.get('redirect_uri') ?? '')
      const answer = new URLSearchParams({ code, state: parameters.get('state') ?? '', iss: issuer })
      behaviour.callback(answer)
      callback.search = answer.toString()
      if (parameters.get('response_mode')?.endsWith('jwt')) {
        const claims = { ...Object.fromEntries(answer), iss: issuer, aud: clientId, exp: seconds() + 60 }
        const header = { alg: keys.jwk.alg, kid: keys.jwk.kid }
        behaviour.signedCallback(claims, header)
        callback.search = new URLSearchParams({ response: await sign(claims, header) }).toString()
      }
      return { status: 302, headers: { location: callback.href }, body: '' }
    },
    '/token': async (request) => {
      if (!(await isClient(request))) return { status: 401, body: { error: 'invalid_client' } }
      const { body } = request
      const wanted = behaviour.dpop?.nonce
      if (behaviour.dpop) {
        const { ahead = 0 } = behaviour.dpop
        const proof = await openProof(request, `${issuer}/token`, undefined, ahead).catch(() => undefined)
        if (!proof) {
          const date = new Date(Date.now() + ahead).toUTCString()
          return { status: 400, headers: { date }, body: { error: 'invalid_dpop_proof' } }
        }
        if (wanted !== undefined && proof.payload.nonce !== wanted) {
          return { status: 400, headers: { 'dpop-nonce': wanted }, body: { error: 'use_dpop_nonce' } }
        }
      }
      if (body.get('grant_type') === 'authorization_code') {
        const code = codes.get(body.get('code') ?? '')
        codes.delete(body.get('code') ?? '')
        const challenge = behaviour.checksVerifier ? await s256(body.get('code_verifier') ?? '') : code?.challenge
        if (!code || code.challenge !== challenge || code.redirectUri !== body.get('redirect_uri')) {
          return { status: 400, body: { error: 'invalid_grant' } }
        }
        const { nonce, authTime } = code
        return { body: await issue(randomBytes(6).toString('hex'), { nonce, auth_time: authTime }, true) }
      }
      if (body.get('grant_type') === 'client_credentials') return { body: await issueAlone(request, clientId) }
      if (body.get('grant_type') === 'urn:ietf:params:oauth:grant-type:token-exchange') {
        const type = body.get('requested_token_type') ?? 'urn:ietf:params:oauth:token-type:access_token'
        return { body: await issueAlone(request, behaviour.user.sub, { issued_token_type: type }) }
      }
      const token = body.get('refresh_token') ?? ''
      const known = refreshTokens.get(token)
      if (known?.spent) {
        reuses.push(token)
        revokedFamilies.add(known.family)
      }
      if (!known || revokedFamilies.has(known.family)) {
        return {
          status: 400,
          body: { error: 'invalid_grant', error_description: `${canary} grant request is invalid` },
        }
      }
      if (behaviour.rotate) known.spent = true
      const tokens = await issue(known.family, {}, behaviour.idTokenOnRefresh, behaviour.rotate)
      const isForApi = ['resource', 'audience', 'scope'].some((name) => body.has(name))
      return { body: isForApi ? { ...tokens, ...(await issueAlone(request, behaviour.user.sub)) } : tokens }
    },
    '/userinfo': () =>
      behaviour.userinfo
        ? { body: behaviour.userinfo }
        : { body: { sub: behaviour.user.sub, picture: 'https://example.com/a.png' } },
    '/revoke': ({ body }) => {
      const known = refreshTokens.get(body.get('token') ?? '')
      if (known) revokedFamilies.add(known.family)
      return { body: '' }
    },
    '/introspect': async (request) =>
      (await isClient(request))
        ? { body: behaviour.introspected[request.body.get('token') ?? ''] ?? { active: false } }
        : { status: 401, body: { error: 'invalid_client' } },
    '/end-session': () => ({ body: 'signed out' }),
  }

  async function isClient({ headers, body }: Recorded): Promise<boolean> {
    if (behaviour.clientCertificate) return headers['x-test-client'] === body.get('client_id')
    if (behaviour.clientKey) {
      const options = { issuer: clientId, subject: clientId, requiredClaims: ['exp', 'iat', 'jti'] }
      const assertion = body.get('client_assertion') ?? ''
      const { clientKey } = behaviour
      const keyFor: JWTVerifyGetKey = typeof clientKey === 'function' ? clientKey : async () => clientKey
      return jwtVerify(assertion, keyFor, options).then(
        ({ payload }) => payload.aud === issuer,
        () => false,
      )
    }
    const basic = Buffer.from(headers.authorization?.slice(6) ?? '', 'base64').toString()
    const [id, secret] = basic.includes(':')
      ? basic.split(':').map(decodeURIComponent)
      : [body.get('client_id'), body.get('client_secret')]
    return id === clientId && secret === clientSecret
  }

  /** An access token and nothing else, for what the request names. */
  async function issueAlone({ body }: Recorded, sub: string, more: Record<string, unknown> = {}) {
    const { expiresIn = 300 } = behaviour
    const exp = Math.floor(Date.now() / 1_000) + expiresIn
    const aud = body.get('resource') ?? body.get('audience') ?? 'api'
    const scope = behaviour.scope ?? body.get('scope') ?? undefined
    const accessToken = await sign({ sub, aud, scope, canary, jti: randomBytes(6).toString('hex'), exp })
    const token_type = behaviour.dpop ? 'DPoP' : 'Bearer'
    const response = { access_token: accessToken, token_type, expires_in: expiresIn, scope, ...more }
    await behaviour.tokenResponse(response)
    return response
  }

  async function issue(family: string, extra: Record<string, unknown>, withIdToken: boolean, withRefreshToken = true) {
    const now = Math.floor(Date.now() / 1_000)
    const { expiresIn, user } = behaviour
    const padding = 'x'.repeat(behaviour.accessTokenPadding)
    const accessToken = behaviour.jwtAccessTokens
      ? await sign({
          sub: user.sub,
          aud: 'api',
          canary,
          padding,
          jti: randomBytes(6).toString('hex'),
          exp: now + (expiresIn ?? 300),
        })
      : `${canary}-at-${randomBytes(12).toString('hex')}${padding}`
    const response: Record<string, unknown> = {
      access_token: accessToken,
      token_type: behaviour.dpop ? 'DPoP' : 'Bearer',
    }
    if (expiresIn !== undefined) response.expires_in = expiresIn
    if (behaviour.scope !== undefined) response.scope = behaviour.scope
    if (behaviour.refreshTokens && withRefreshToken) {
      const refreshToken = `${canary}-rt-${randomBytes(12).toString('hex')}${'x'.repeat(behaviour.refreshTokenPadding)}`
      refreshTokens.set(refreshToken, { family, spent: false })
      response.refresh_token = refreshToken
    }
    if (withIdToken) {
      const claims: Record<string, unknown> = {
        ...user,
        iss: issuer,
        aud: clientId,
        iat: now,
        exp: now + 300,
        sid: family,
        canary,
        ...extra,
      }
      const header: Record<string, unknown> = { alg: keys.jwk.alg, kid: keys.jwk.kid }
      behaviour.idToken(claims, header)
      response.id_token = await behaviour.signedIdToken(await sign(claims, header))
    }
    await behaviour.tokenResponse(response)
    return response
  }

  async function sign(
    claims: Record<string, unknown>,
    header: Record<string, unknown> = { alg: keys.jwk.alg, kid: keys.jwk.kid },
  ) {
    return new SignJWT(claims).setProtectedHeader(header as { alg: string }).sign(keys.privateKey)
  }

  return {
    ...server,
    issuer,
    behaviour,
    requests,
    to: (path) => requests.filter((request) => request.path === path),
    reuses,
    clientId,
    clientSecret,
    publicKeys,
    rotateKeys,
    logoutToken: (claims, header = {}) => {
      const now = Math.floor(Date.now() / 1_000)
      const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
      const jti = randomBytes(12).toString('hex')
      const all = { iss: issuer, aud: clientId, iat: now, exp: now + 120, jti, events, ...claims }
      return sign(all, { alg: keys.jwk.alg, kid: keys.jwk.kid, typ: 'logout+jwt', ...header })
    },
    accessToken: (claims = {}, header = {}) => {
      const now = Math.floor(Date.now() / 1_000)
      const jti = `${canary}-${randomBytes(12).toString('hex')}`
      const all = {
        iss: issuer,
        aud: 'api',
        sub: 'alice',
        client_id: 'mobile',
        iat: now,
        exp: now + 300,
        jti,
        ...claims,
      }
      return sign(all, { alg: keys.jwk.alg, kid: keys.jwk.kid, typ: 'at+jwt', ...header })
    },
    signingKey: () => keys.privateKey,
  }
}

const seconds = () => Math.floor(Date.now() / 1_000)

async function s256(verifier: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))
  return Buffer.from(digest).toString('base64url')
}

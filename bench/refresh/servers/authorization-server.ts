// The authorization server of the storms: signs in whoever comes, rotates refresh tokens, and takes one that comes twice
// for stolen. It writes down every redemption, and how long it took over it.
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { settings } from '../../support/node-server.ts'

/** What can be changed while it runs, at `PUT /behaviour`. */
export interface Behaviour {
  /** How long the access token of a sign-in is good, and that of a refresh. Seconds. */
  firstLifetime: number
  lifetime: number
  /** How long an answer to a refresh takes, and what chance adds at most. Milliseconds. */
  latency: number
  jitter: number
  /** A refresh token that comes again this soon is answered with new tokens instead. Milliseconds; 0 for never. */
  grace: number
  /** Whether access tokens are opaque, else they are JWTs of about 700 bytes. */
  opaque: boolean
}

/** One request with `grant_type=refresh_token`. */
export interface Redemption {
  readonly user: string
  /** When the token was spent, or found spent. Milliseconds since 1970. */
  readonly at: number
  /** From the request to the answer. */
  readonly milliseconds: number
  /** `repeated`: a second time, within the grace. `reused`: taken for stolen, which ended the family. */
  readonly outcome: 'issued' | 'repeated' | 'reused' | 'refused'
}

interface Family {
  readonly user: string
  isRevoked: boolean
}

interface RefreshToken {
  readonly family: Family
  spentAt?: number
}

interface Code {
  readonly user: string
  readonly nonce: string
  readonly challenge: string
}

const { port, clientId, clientSecret } = settings<'clientId' | 'clientSecret'>()
const issuer = `http://127.0.0.1:${port}`
const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
const jwk = { ...(await exportJWK(publicKey)), kid: 'storm', use: 'sig', alg: 'ES256' }

const behaviour: Behaviour = { firstLifetime: 1, lifetime: 3_600, latency: 50, jitter: 25, grace: 0, opaque: false }
const codes = new Map<string, Code>()
const refreshTokens = new Map<string, RefreshToken>()
const redemptions: Redemption[] = []
let underWay = 0

const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  revocation_endpoint: `${issuer}/revoke`,
  jwks_uri: `${issuer}/jwks`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['ES256'],
  code_challenge_methods_supported: ['S256'],
  authorization_response_iss_parameter_supported: true,
}

const random = () => randomBytes(24).toString('base64url')

/** An access token of about 700 bytes, as servers with some permissions in it make them. */
const permissions = ['orders:read', 'orders:write', 'customers:read', 'invoices:read', 'returns:write', 'reports:read']

async function issue(family: Family, lifetime: number, claims: Record<string, unknown>): Promise<object> {
  const now = Math.floor(Date.now() / 1_000)
  const common = { iss: issuer, sub: family.user, iat: now, exp: now + 3_600 }
  const sign = (payload: Record<string, unknown>, typ: string) =>
    new SignJWT({ ...common, ...payload }).setProtectedHeader({ alg: 'ES256', kid: 'storm', typ }).sign(privateKey)
  const refreshToken = random()
  refreshTokens.set(refreshToken, { family })
  const [accessToken, idToken] = await Promise.all([
    sign(
      {
        aud: 'https://api.example.com',
        exp: now + lifetime,
        client_id: clientId,
        jti: random(),
        permissions,
        tenant: random(),
      },
      'at+jwt',
    ),
    sign({ aud: clientId, name: `User ${family.user}`, email: `${family.user}@example.com`, ...claims }, 'JWT'),
  ])
  return {
    access_token: behaviour.opaque ? random() : accessToken,
    token_type: 'Bearer',
    expires_in: lifetime,
    refresh_token: refreshToken,
    id_token: idToken,
  }
}

/** A logout token for a user (OpenID Connect Back-Channel Logout 1.0, section 2.4). */
async function logoutToken({ searchParams }: URL): Promise<object> {
  const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
  const jwt = new SignJWT({ events })
    .setIssuer(issuer)
    .setAudience(clientId)
    .setSubject(searchParams.get('sub') ?? '')
  const header = { alg: 'ES256', kid: 'storm', typ: 'logout+jwt' }
  return {
    logout_token: await jwt
      .setJti(random())
      .setIssuedAt()
      .setExpirationTime('2m')
      .setProtectedHeader(header)
      .sign(privateKey),
  }
}

async function redeemCode(form: URLSearchParams): Promise<object | undefined> {
  const code = codes.get(form.get('code') ?? '')
  codes.delete(form.get('code') ?? '')
  const challenge = createHash('sha256')
    .update(form.get('code_verifier') ?? '')
    .digest('base64url')
  if (code?.challenge !== challenge) return undefined
  return issue({ user: code.user, isRevoked: false }, behaviour.firstLifetime, { nonce: code.nonce })
}

/** Decides in the middle of the time it takes, as a server with a database would, whether anybody still waits or not. */
async function redeemRefreshToken(form: URLSearchParams): Promise<object | undefined> {
  const startedAt = performance.now()
  underWay++
  const half = (behaviour.latency + Math.random() * behaviour.jitter) / 2
  await setTimeout(half)
  const token = refreshTokens.get(form.get('refresh_token') ?? '')
  const at = Date.now()
  const outcome = outcomeOf(token, at)
  if (token && outcome === 'reused') token.family.isRevoked = true
  if (token) token.spentAt ??= at
  await setTimeout(half)
  const isGood = outcome === 'issued' || outcome === 'repeated'
  const answer = token && isGood ? await issue(token.family, behaviour.lifetime, {}) : undefined
  const user = token?.family.user ?? ''
  underWay--
  redemptions.push({ user, at, milliseconds: performance.now() - startedAt, outcome })
  return answer
}

function outcomeOf(token: RefreshToken | undefined, now: number): Redemption['outcome'] {
  if (!token || token.family.isRevoked) return 'refused'
  if (token.spentAt === undefined) return 'issued'
  return now - token.spentAt <= behaviour.grace ? 'repeated' : 'reused'
}

async function token(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const form = new URLSearchParams(await bodyOf(request))
  if (request.headers.authorization !== `Basic ${btoa(`${clientId}:${clientSecret}`)}`)
    return json(response, 401, { error: 'invalid_client' })
  const isRefresh = form.get('grant_type') === 'refresh_token'
  const issued = await (isRefresh ? redeemRefreshToken(form) : redeemCode(form))
  return issued ? json(response, 200, issued) : json(response, 400, { error: 'invalid_grant' })
}

function authorize({ searchParams: query }: URL, response: ServerResponse): void {
  const code = random()
  const user = query.get('login_hint') ?? 'nobody'
  codes.set(code, { user, nonce: query.get('nonce') ?? '', challenge: query.get('code_challenge') ?? '' })
  const location = new URL(query.get('redirect_uri') ?? '')
  location.search = new URLSearchParams({ code, state: query.get('state') ?? '', iss: issuer }).toString()
  response.writeHead(303, { location: location.href }).end()
}

async function revoke(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const known = refreshTokens.get(new URLSearchParams(await bodyOf(request)).get('token') ?? '')
  if (known) known.family.isRevoked = true
  response.writeHead(200).end()
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', issuer)
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /.well-known/openid-configuration':
      return json(response, 200, metadata)
    case 'GET /jwks':
      return json(response, 200, { keys: [jwk] })
    case 'GET /authorize':
      return authorize(url, response)
    case 'POST /token':
      return token(request, response)
    case 'POST /revoke':
      return revoke(request, response)
    case 'GET /logout-token':
      return json(response, 200, await logoutToken(url))
    case 'GET /under-way':
      return json(response, 200, { underWay })
    case 'GET /redemptions':
      return json(response, 200, redemptions)
    case 'PUT /behaviour':
      Object.assign(behaviour, JSON.parse(await bodyOf(request)))
      return json(response, 200, behaviour)
    default:
      return json(response, 404, {})
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}

createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  answer(request, response).catch((error: Error) => response.writeHead(500).end(error.message))
}).listen(port, '127.0.0.1')

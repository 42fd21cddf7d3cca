// The whole server on one screen: what is served where, and everything wired to everything else.
import { type Context, Hono, type Next } from 'hono'
import { byHost } from './addresses.ts'
import { seeOther, strictTransport } from './answers.ts'
import { createCommon } from './common.ts'
import type { Config, ConfigInput } from './config.ts'
import { type Address, addressesOf } from './config-address.ts'
import { readConfig } from './config-reader.ts'
import { isOwnPath } from './config-values.ts'
import { createApi } from './endpoints/api.ts'
import { createBackchannelLogout } from './endpoints/backchannel-logout.ts'
import { createFrontchannelLogout, createKnownNames, frontchannelPath } from './endpoints/frontchannel-logout.ts'
import { createInitiateLogin, initiatePath } from './endpoints/initiate-login.ts'
import { createJwks } from './endpoints/jwks.ts'
import { createLogin } from './endpoints/login.ts'
import { createLogout } from './endpoints/logout.ts'
import { createSessionEndpoints } from './endpoints/session.ts'
import { createSessionsEndpoints } from './endpoints/sessions.ts'
import { CoatcheckError } from './errors.ts'
import { continuePath, loginPath, loginUrls } from './login-url.ts'
import { createAnswerCookies } from './oauth/answer-cookies.ts'
import { createApiTokens } from './oauth/api-tokens.ts'
import { createCredentials } from './oauth/credentials.ts'
import { createDpop } from './oauth/dpop.ts'
import { createRefresher } from './oauth/refresh.ts'
import { createSignOut } from './oauth/sign-out.ts'
import { popupPage } from './pages.ts'
import { type Exchange, headerText, type Platform } from './platform.ts'
import { createRefusals } from './refusals.ts'
import { createCookies } from './session/cookies.ts'
import { createHoldings } from './session/holdings.ts'
import type { Session } from './session/session.ts'
import { createSessions } from './session/sessions.ts'
import { createSpa } from './spa.ts'
import { inTime } from './stores/patience.ts'
import { cameInsecurely, clientAddressOf } from './upstream/client-address.ts'
import { canonicalTarget, webSockets } from './upstream/routes.ts'
import { webPlatform } from './web-platform.ts'
import { popupPath } from './wire.ts'

/** coatcheck as a Hono application: mount it with `app.route('/', coatcheck)`, or serve it alone. */
export interface Coatcheck extends Hono {
  readonly config: Config
  /** Names of what is not usable right now: `store`, `provider <id>`. Empty when everything is. */
  notReady(): Promise<string[]>
  /**
   * Reads what ended elsewhere, so that no request has to wait for it: to be called before the first. Resolves after ten
   * seconds at most, and never rejects; what could not be read is asked for again.
   */
  warmUp(): Promise<void>
  /**
   * Answers a request that belongs to a route; `undefined` for any other. Never rejects. For servers that want to spare
   * Hono's share of the cost, as `coatcheck/node` does: asking the application itself has the same outcome.
   */
  forward(exchange: Exchange): Promise<Response> | undefined
  /** Whether the route of a request target, as sent, has WebSockets: then its handshakes may switch the connection. */
  hasWebSockets(requestTarget: string): boolean
  /**
   * Goes on with other session keys, newest first, without a restart. Sessions sealed with a key that is not among them
   * are over.
   */
  reloadKeys(keys: Config['session']['keys']): void
}

/** How long a start waits for the log of what ended. Milliseconds. */
const longestWarmUp = 10_000

/** Makes the platform for a configuration; `coatcheck/node` and `coatcheck/worker` have their own. */
export type PlatformFactory = (config: Config) => Platform

/**
 * Builds coatcheck from a configuration document.
 *
 * @param document see docs/configuration.md; `${NAME}` is replaced from `options.env`.
 * @throws ConfigError with every mistake in it
 */
export function createCoatcheck(
  document: ConfigInput,
  options: { platform?: PlatformFactory; env?: Record<string, unknown> } = {},
): Coatcheck {
  const config = readConfig(document, options.env)
  const platform = (options.platform ?? webPlatform)(config)
  const common = createCommon(config, platform)
  const appOf = (address: Address) => createAt(address, platform, common)
  const [main, ...others] = addressesOf(config)
  return byHost(appOf(main), others.map(appOf), platform)
}

/** The application of one public address. */
function createAt(address: Address, platform: Platform, common: ReturnType<typeof createCommon>): Coatcheck {
  const { config, offered } = address
  const { shared, names, endings, directory, breakers, inboundTokens, routes, rateLimit } = common
  const { sealer, relyingParties } = common.at(address)
  const { now, waitUntil } = platform
  const isSecure = config.publicUrl.startsWith('https:')
  const cookies = createCookies(config)
  const holdings = createHoldings(config, { sealer, cookies, platform: shared })
  const seen = (session: Session) => waitUntil(directory.seen(session).catch(() => {}))
  const sessions = createSessions(config, { sealer, cookies, holdings, names, endings, seen, now })
  const refresher = createRefresher(config, { sessions, relyingParties, breakers, platform: shared })
  const signOut = createSignOut({ sessions, refresher, relyingParties, platform })
  const apiTokens = createApiTokens(config, { sealer, refresher, relyingParties, breakers, platform: shared })
  const credentials = createCredentials(refresher, apiTokens, now)
  const answerCookies = createAnswerCookies(sessions, refresher, shared)
  const clientAddress = clientAddressOf(config.trustedProxies)
  const scopes = optionalScopes(config)
  const proveScope = async (scope: string, { id }: Pick<Session, 'id'>) =>
    `${(await sealer.hashes('scope', `${id} ${scope}`))[0]?.slice(0, 22)}`
  const loginUrl = loginUrls(offered)
  const api = createApi({
    config,
    platform,
    sessions,
    credentials,
    answerCookies,
    dpop: createDpop(now),
    scopes,
    proveScope,
    loginUrl,
    clientAddress,
    rateLimit,
    cookies,
    inboundTokens,
  })
  const signIns = { ...config, providers: [...offered] }
  const login = createLogin({
    config: signIns,
    platform: shared,
    relyingParties: new Map([...relyingParties].filter(([, { provider }]) => offered.includes(provider))),
    sealer,
    cookies,
    sessions,
    signOut,
    directory,
    scopes,
    proveScope,
    loginUrl,
    begun: createKnownNames({ config, platform: shared, names }),
  })
  const initiateLogin = createInitiateLogin({ config: signIns, platform, loginUrl })
  const session = createSessionEndpoints({ config, platform, sessions, refresher })
  const logout = createLogout({ config, platform: shared, relyingParties, cookies, sessions, signOut })
  const ownSessions = createSessionsEndpoints({ config, platform, sessions, signOut, directory, loginUrl })
  const backchannelLogout = createBackchannelLogout({ ...common, platform: shared, sessions })
  const spa = createSpa(config, platform)

  function reloadKeys(keys: Config['session']['keys']): void {
    sealer.reload(keys)
    for (const memory of [holdings, names, apiTokens]) memory.reload()
  }

  async function warmUp(): Promise<void> {
    await inTime(Promise.resolve(endings.catchUp()), longestWarmUp).catch(() => {})
  }

  async function notReady(): Promise<string[]> {
    const checks = [...relyingParties.values()].map(async (relyingParty) =>
      (await relyingParty.ready()) ? [] : [`provider ${relyingParty.provider.id}`],
    )
    // Without the log of what ended nobody can be let in.
    const healthy = Promise.all([shared.store.healthy(), inTime(Promise.resolve(endings.catchUp()))]).then(
      ([ok]) => (ok ? [] : ['store']),
      () => ['store'],
    )
    return (await Promise.all([healthy, ...checks])).flat()
  }

  const { refusal, isPage } = createRefusals(platform, isSecure)
  const mayComeInsecurely = isSecure && config.trustedProxies.length > 0

  function forward(exchange: Exchange): Promise<Response> | undefined {
    if (mayComeInsecurely && cameInsecurely(exchange, config.trustedProxies)) return undefined
    const target = canonicalTarget(exchange.target)
    const route = target && routes(target.path)
    // A route at `/` has every path but ours.
    if (!route || (route.path === '/' && isOwnPath(target.path))) return undefined
    return api(route, target, exchange).catch(refusal)
  }

  const app = new Hono()
  if (isSecure) for (const path of ['/auth/*', '/healthz', '/readyz']) app.use(path, withStrictTransport)
  if (mayComeInsecurely) app.use(refuseInsecure)
  serveAt(app, loginPath, { GET: withEffect(login.start) })
  for (const { callbackPath } of relyingParties.values()) serveAt(app, callbackPath, { GET: withEffect(login.finish) })
  serveAt(app, continuePath, { GET: login.goOn })
  serveAt(app, '/auth/jwks.json', { GET: createJwks(relyingParties) })
  app.get(popupPath, () => popupPage())
  if (config.login.thirdPartyInitiated) serveAt(app, initiatePath, { GET: initiateLogin, POST: initiateLogin })
  serveAt(app, '/auth/session', { GET: session.show, POST: session.extend })
  serveAt(app, '/auth/sessions', { GET: ownSessions.list, DELETE: ownSessions.endAll })
  serveAt(app, '/auth/sessions/:id', { DELETE: ownSessions.end })
  serveAt(app, '/auth/backchannel-logout', { POST: backchannelLogout })
  if (config.providers.some((one) => one.frontchannelLogout)) {
    serveAt(app, frontchannelPath, {
      GET: withEffect(createFrontchannelLogout({ config, platform: shared, sessions, names })),
    })
  }
  serveAt(app, '/auth/logout', { POST: logout.start })
  serveAt(app, '/auth/logout/callback', { GET: logout.finish })
  app.all('/auth/*', nothingHere)
  app.get('/healthz', (c) => c.json({ status: 'ok' }, 200, { 'cache-control': 'no-store' }))
  app.get('/readyz', async (c) => {
    const missing = await notReady()
    const body = { status: missing.length === 0 ? 'ready' : 'not ready', missing }
    return c.json(body, missing.length === 0 ? 200 : 503, { 'cache-control': 'no-store' })
  })
  app.all('*', (c) => {
    const exchange = platform.exchange(c)
    const answer = forward(exchange)
    if (answer) return answer
    const target = canonicalTarget(exchange.target)
    if (target === undefined) throw new CoatcheckError('bad_request', 'target_malformed')
    return spa(c, target.path, exchange)
  })
  app.onError((error, c) => refusal(error, isPage(c)))

  /** Navigations that came by http start again by https; a call that did has leaked already and must be noticed. */
  async function refuseInsecure(c: Context, next: Next): Promise<Response | undefined> {
    const exchange = platform.exchange(c)
    // Health checks come from the proxy itself.
    const isCheck = c.req.path === '/healthz' || c.req.path === '/readyz'
    if (isCheck || !cameInsecurely(exchange, config.trustedProxies)) {
      await next()
      return undefined
    }
    const isNavigation =
      exchange.method === 'GET' && (headerText(exchange.headers, 'accept') ?? '').includes('text/html')
    const target = canonicalTarget(exchange.target)
    if (!isNavigation || target === undefined) throw new CoatcheckError('forbidden', 'insecure_transport')
    return seeOther(`${config.publicUrl}${target.path}${target.query}`)
  }

  return Object.assign(app, { config, warmUp, notReady, forward, hasWebSockets: webSockets(routes), reloadKeys })
}

/** Scopes that a sign-in may ask for besides the usual ones. */
function optionalScopes({ routes, providers }: Config): ReadonlySet<string> {
  const named = providers.flatMap(({ optionalScope = '' }) => optionalScope.split(' '))
  return new Set([...routes.flatMap(({ require }) => require.scope), ...named].filter((scope) => scope !== ''))
}

/** Asks browsers to come by https from now on. */
async function withStrictTransport(c: Context, next: Next): Promise<void> {
  await next()
  c.res.headers.set(...strictTransport)
}

type Handler = (c: Context) => Promise<Response>

/** Serves a path with the methods it has; any other is 405 with `Allow`. */
function serveAt(app: Hono, path: string, handlers: Partial<Record<'GET' | 'POST' | 'DELETE', Handler>>): void {
  if (handlers.GET) app.get(path, handlers.GET)
  if (handlers.POST) app.post(path, handlers.POST)
  if (handlers.DELETE) app.delete(path, handlers.DELETE)
  const allow = Object.keys(handlers)
    .flatMap((method) => (method === 'GET' && handlers.GET && !effects.has(handlers.GET) ? ['GET', 'HEAD'] : [method]))
    .join(', ')
  app.all(path, () => {
    throw new CoatcheckError('method_not_allowed', 'method_refused', { allow })
  })
}

/** Hono asks the handler of GET for HEAD too. What GET does here must not be done by whoever only looks. */
function withEffect(handler: Handler): Handler {
  const guarded: Handler = async (c) => {
    if (c.req.method === 'HEAD') throw new CoatcheckError('method_not_allowed', 'method_refused', { allow: 'GET' })
    return handler(c)
  }
  effects.add(guarded)
  return guarded
}

/** Handlers of GET that do more than show. */
const effects = new WeakSet<Handler>()

function nothingHere(): never {
  throw new CoatcheckError('not_found', 'no_such_path')
}

// How large the cookies of a session will be: exact arithmetic with tokens of usual size, as only real ones would say more.
import type { Config } from '../config.ts'
import { createCookies, sessionBudget } from '../session/cookies.ts'
import { createSealer, randomText } from '../session/seal.ts'
import type { Holding } from '../session/session.ts'
import { type Finding, finding } from './findings.ts'
import type { World } from './world.ts'

const about = 'session'

/** Usual sizes in bytes: JWTs with a handful of claims and roles, and an opaque or short encrypted refresh token. */
const usual = { accessToken: 1_500, refreshToken: 800, idToken: 1_200, claim: 40 }
/** What nginx has for the headers of a response where memory pages are 4 KB (`proxy_buffer_size`). */
const nginxBuffer = 4_096
/** Status line and headers of an answer besides the session's cookies. */
const otherHeaders = 600

export async function checkCookieSize({ config }: World): Promise<Finding[]> {
  const size = await measure(config)
  const { session, store, trustedProxies } = config
  if (session.storage === 'store') {
    return [finding('cookie_size', about, `Cookies of a session take ${size.ticket} bytes: tokens are in the store.`)]
  }
  const what = `With an access token of ${usual.accessToken} and a refresh token of ${usual.refreshToken} bytes the cookies of a session take about ${size.all} bytes of ${sessionBudget}; tokens may have ${size.room} bytes together. The event login.completed says the real size (cookieBytes).`
  const found = [finding('cookie_size', about, what)]
  if (size.all > sessionBudget && store.type === 'memory') return [finding('cookie_too_large', about, what)]
  if (trustedProxies.length > 0 && size.setCookies + otherHeaders > nginxBuffer) {
    const headers = `A sign-in answers with about ${size.setCookies + otherHeaders} bytes of headers, and there is a proxy in front.`
    found.push(finding('cookie_proxy', about, headers))
  }
  return found
}

async function measure(config: Config) {
  const cookies = createCookies(config)
  const sealer = createSealer(config.session.keys, `${config.publicUrl} ${config.session.cookieName}`, Date.now)
  const until = Date.now() + config.session.absoluteTimeout
  const ticket = { id: randomText(16), half: randomText(16), createdAt: until, seenAt: until }
  const ticketSeal = await sealer.seal('ticket', ticket, until)
  const holdingSeal = await sealer.seal('holding', sampleHolding(config), until, ticket.half)
  const bare = await sealer.seal('holding', { ...sampleHolding(config), tokens: {} }, until, ticket.half)
  const setCookies = [cookies.writeTicket(ticketSeal, 99_999), ...cookies.writeHolding(holdingSeal, 99_999)]
  return {
    ticket: cookies.sizeOf(ticketSeal.length, 0),
    all: cookies.sizeOf(ticketSeal.length, holdingSeal.length),
    setCookies: setCookies.reduce((sum, line) => sum + 'set-cookie: '.length + line.length + 2, 0),
    // Sealing writes three bytes as four characters.
    room: Math.floor(((sessionBudget - cookies.sizeOf(ticketSeal.length, bare.length)) * 3) / 4 / 100) * 100,
  }
}

/** A session as it will be, filled with noise of the usual length. */
function sampleHolding({ providers, session }: Config): Holding {
  const [provider] = providers
  const noise = (bytes: number) => 'x'.repeat(bytes)
  const claims = Object.fromEntries(session.claims.map((name) => [name, noise(usual.claim)]))
  const idToken = provider?.idTokenHint ? { idToken: noise(usual.idToken) } : {}
  return {
    id: randomText(16),
    generation: 1,
    provider: provider?.id ?? '',
    issuer: provider?.issuer ?? '',
    subject: noise(usual.claim),
    nonce: randomText(32),
    providerSession: noise(usual.claim),
    claims,
    tokens: {
      accessToken: noise(usual.accessToken),
      refreshToken: noise(usual.refreshToken),
      ...idToken,
      scope: provider?.scope ?? '',
      expiresAt: Date.now(),
      refreshAt: Date.now(),
    },
  }
}

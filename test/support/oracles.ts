// What must hold after every attack, said once: nobody is signed in, nobody was asked, nothing secret came out.
import { expect } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import { type AuthorizationServer, canary } from './authorization-server.ts'
import type { Browser, BrowserResponse } from './browser.ts'
import type { World } from './coatcheck.ts'

const sessionCookie = /^(?:__Host-Http-)?coatcheck(?:\.\d+)?=[^;]/

/** The `Set-Cookie`s of an answer that give the browser a session, or a piece of one. */
export function sessionCookies(answer: BrowserResponse): string[] {
  return answer.setCookie.filter((line) => sessionCookie.test(line))
}

/** O1: the answer gave no session, and the browser has none. */
export async function expectSignedOut(browser: Browser, answer?: BrowserResponse): Promise<void> {
  expect(answer === undefined ? [] : sessionCookies(answer)).toEqual([])
  const session = await browser.fetch('/auth/session')
  expect(session.status).toBe(200)
  expect(session.json()).toEqual({ authenticated: false })
}

/** O2: nobody asked these endpoints of the authorization server. */
export function expectSilent(as: AuthorizationServer, ...paths: string[]): void {
  expect(as.requests.filter(({ path }) => paths.includes(path)).map(({ method, path }) => `${method} ${path}`)).toEqual(
    [],
  )
}

/** O4: a refusal in our own words: the status and the code, nothing of a stack or of what anybody else said. */
export function expectRefusal(answer: BrowserResponse, status: number, code: string): void {
  expect([answer.status, answer.headers.get('coatcheck-error')]).toEqual([status, code])
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(answer.headers.get('location')).toBeNull()
  expect(answer.text).not.toMatch(/\bat [^<\n]+:\d+:\d+|node_modules|\b[A-Z]\w*Error\b|OAUTH_|ERR_/)
}

/**
 * O3 and O5: no secret in anything the browser was sent, encoded or not, and none in the log: tokens and codes (they
 * contain the canary), the client secret, PKCE verifiers; in the log no state, nonce or cookie either.
 */
export function expectNoCanary(world: Pick<World, 'as' | 'events'>, ...browsers: Browser[]): void {
  const { as } = world
  const sent = (name: string) => as.requests.flatMap(({ body, query }) => [...body.getAll(name), ...query.getAll(name)])
  const secrets = [canary, as.clientSecret, ...sent('code_verifier'), ...sent('code'), ...sent('refresh_token')]
  const seen = readings(browsers.flatMap((browser) => browser.seen).join('\n'))
  const cookies = browsers.flatMap((browser) => [...browser.cookies.values()])
  const logged = readings(JSON.stringify(world.events()))
  expect(found(seen, secrets)).toEqual([])
  expect(found(logged, [...secrets, ...sent('state'), ...sent('nonce'), ...cookies])).toEqual([])
}

/** The log tells the operator why a login failed: once, and with this reason, or one of these. */
export async function expectLoginFailed(
  world: Pick<World, 'logged'>,
  reason: Reason | readonly Reason[],
): Promise<void> {
  await expect.poll(() => world.logged('login.failed').map((event) => event.reason)).toHaveLength(1)
  expect([reason].flat()).toContain(world.logged('login.failed')[0]?.reason)
}

/** All of it for a login that must not succeed: refused, nobody signed in, no token used, no secret out, the reason told. */
export async function expectLoginRefused(
  world: World,
  browser: Browser,
  answer: BrowserResponse,
  reason: Reason | readonly Reason[],
): Promise<void> {
  expectRefusal(answer, 400, 'login_failed')
  await expectSignedOut(browser, answer)
  expectSilent(world.as, '/userinfo')
  expect(world.api.requests).toEqual([])
  await expectLoginFailed(world, reason)
  expectNoCanary(world, browser)
}

function found(texts: readonly string[], needles: readonly string[]): string[] {
  // What a test made up itself may be shorter than a secret ever is, and be found anywhere.
  return needles.filter((needle) => needle.length >= 6 && texts.some((text) => text.includes(needle)))
}

/** A text as it stands, percent-decoded, and with every run of base64 in it decoded. */
function readings(text: string): string[] {
  const percentDecoded = text.replace(/(?:%[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString(),
  )
  const runs = text.match(/[\w+/-]{12,}/g) ?? []
  return [text, percentDecoded, ...runs.map((run) => Buffer.from(run, 'base64').toString('latin1'))]
}

// What every browser test starts with: the whole demo on free ports, and a person who knows how to sign in.
import { test as base, type Page } from 'playwright/test'
import type { LogEvent } from '../src/observability.ts'
import { accounts } from '../web-demo/accounts.ts'
import type { Secret } from '../web-demo/authorization-server.ts'
import { type Demo, type DemoOptions, startDemo } from '../web-demo/start.ts'

export { expect } from 'playwright/test'

/** The running demo, and what it did so far. */
export interface World extends Demo {
  /** Every secret that was issued or received. */
  readonly secrets: readonly Secret[]
  /** What coatcheck logged. */
  readonly events: readonly LogEvent[]
}

export interface DemoFixtures {
  /** Lifetime of access tokens in seconds; `test.use({ accessTokenLifetime: 4 })` changes it. */
  accessTokenLifetime: number
  /** Changes to `session` of the configuration. */
  session: DemoOptions['session']
  demo: World
}

export const test = base.extend<DemoFixtures>({
  accessTokenLifetime: [60, { option: true }],
  session: [{}, { option: true }],
  demo: async ({ accessTokenLifetime, session }, use) => {
    const secrets: Secret[] = []
    const events: LogEvent[] = []
    const demo = await startDemo({
      accessTokenLifetime,
      session,
      onSecret: (secret) => secrets.push(secret),
      log: (event) => events.push(event),
    })
    await use({ ...demo, secrets, events })
    await demo.close()
  },
  baseURL: async ({ demo }, use) => use(demo.url),
})

/** Fills in the login page of the authorization server. */
export async function fillLogin(page: Page, username = 'alice'): Promise<void> {
  const account = accounts.find((one) => one.username === username)
  await page.getByLabel('User name').fill(username)
  await page.getByLabel('Password').fill(account?.password ?? '')
  await page.getByRole('button', { name: 'Sign in' }).click()
}

/** Signs in from the start page, or from `path`, consent included. */
export async function signIn(page: Page, { username = 'alice', path = '/' } = {}): Promise<void> {
  await page.goto(path)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await fillLogin(page, username)
  await page.getByRole('button', { name: 'Allow' }).click()
  await signOutButton(page).waitFor()
}

/** There for whom is signed in, on every page of the application. */
export const signOutButton = (page: Page) => page.getByRole('banner').getByRole('button', { name: 'Sign out' })
/** There for everybody else. */
export const signInButton = (page: Page) => page.getByRole('main').getByRole('button', { name: 'Sign in' })

/** What the API says of the access token it was shown, asked by a script of the page. */
export interface TokenFacts {
  status: number
  jti?: string
  iat?: number
}

/** Calls `GET /api/whoami` from the page, `times` times at once. */
export function whoami(page: Page, times = 1): Promise<TokenFacts[]> {
  return page.evaluate(
    (count) =>
      Promise.all(
        Array.from({ length: count }, async () => {
          const answer = await fetch('/api/whoami')
          const { jti, iat } = answer.ok ? await answer.json() : {}
          return { status: answer.status, jti, iat }
        }),
      ),
    times,
  )
}

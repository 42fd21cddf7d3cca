// Access tokens that end after seconds: they are replaced, once each, and nobody notices.
import type { Page } from 'playwright/test'
import { expect, signIn, signOutButton, type TokenFacts, test, whoami } from './demo.ts'

const accessTokenLifetime = 4
test.use({ accessTokenLifetime })

test('replaces the access token silently', async ({ page, demo }) => {
  const { counters } = demo.authorizationServer
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text())
  })
  await signIn(page)
  complaints.length = 0
  let navigations = 0
  page.on('framenavigated', () => navigations++)
  await page.getByRole('button', { name: 'Start the clock' }).click()

  const seen = new Set<string | undefined>()
  const statuses = new Set<number>()
  const tokensSeen = async () => {
    const [facts] = await whoami(page)
    statuses.add(facts?.status ?? 0)
    seen.add(facts?.jti)
    return seen.size
  }
  await expect.poll(tokensSeen, { intervals: [300], timeout: 15_000 }).toBe(3)

  // The third token was seen as soon as it was there, so no further refresh can have begun.
  expect(counters).toMatchObject({ logins: 1, refreshGrants: 2, refusedRefreshes: 0, reuses: 0, revokedGrants: 0 })
  expect([...statuses]).toEqual([200])
  expect(navigations).toBe(0)
  expect(complaints).toEqual([])
  await expect(page.getByText('The stream is open')).toBeVisible()
  await expect(signOutButton(page)).toBeVisible()
})

test('shows on the page that the token was replaced', async ({ page, demo }) => {
  await signIn(page)
  await page.getByRole('button', { name: 'Start watching' }).click()
  await expect(page.locator('#replaced')).toHaveText('1', { timeout: 12_000 })
  await expect(page.getByRole('list', { name: 'Access tokens seen' }).getByRole('listitem')).toHaveCount(2)
  await expect(page.locator('#verdict')).toHaveText(/^No token found/)
  expect(demo.authorizationServer.counters.reuses).toBe(0)
})

test('many calls from two tabs cause one refresh', async ({ page, context, demo }) => {
  const { counters } = demo.authorizationServer
  await signIn(page)
  const other = await context.newPage()
  await other.goto('/')
  await expect(signOutButton(other)).toBeVisible()

  for (let round = 1; round <= 2; round++) {
    const current = await freshToken(page)
    const refreshedBefore = counters.refreshGrants
    await over(current)
    const answers = (await Promise.all([whoami(page, 20), whoami(other, 20)])).flat()
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 40 }, () => 200))
    const tokens = new Set(answers.map(({ jti }) => jti))
    expect(tokens.size).toBe(1)
    expect(tokens).not.toContain(current.jti)
    expect(counters.refreshGrants).toBe(refreshedBefore + 1)
  }
  expect(counters).toMatchObject({ refusedRefreshes: 0, reuses: 0, revokedGrants: 0 })
})

test('goes on after the page slept longer than the token lived', async ({ page, demo }) => {
  const { counters } = demo.authorizationServer
  await signIn(page)
  const before = await freshToken(page)
  const refreshedBefore = counters.refreshGrants
  await over(before)
  const [after] = await whoami(page)
  expect(after?.status).toBe(200)
  expect(after?.jti).not.toBe(before.jti)
  expect(counters).toMatchObject({ refreshGrants: refreshedBefore + 1, reuses: 0 })
})

test('a copy of the cookies from before a refresh goes on with the same new token', async ({
  page,
  context,
  browser,
  demo,
}) => {
  const { counters } = demo.authorizationServer
  await signIn(page)
  const before = await freshToken(page)
  const late = await browser.newContext({ baseURL: demo.url, extraHTTPHeaders: { 'x-csrf': '1' } })
  await late.addCookies(await context.cookies(demo.url))
  await over(before)
  const [after] = await whoami(page)
  const refreshes = counters.refreshGrants
  const answer = await late.request.get('/api/whoami')
  expect(answer.status()).toBe(200)
  expect((await answer.json()).jti).toBe(after?.jti)
  expect(counters).toMatchObject({ refreshGrants: refreshes, refusedRefreshes: 0, reuses: 0 })
  await late.close()
})

test('keeps the user signed in while the authorization server is away', async ({ page, demo }) => {
  await signIn(page)
  const token = await freshToken(page)
  await demo.authorizationServer.close()
  await over(token)
  await page.getByRole('button', { name: 'List orders' }).click()
  await expect(page.getByText('The authorization server cannot be reached right now.')).toBeVisible()
  await expect(signOutButton(page)).toBeVisible()
  expect(await page.evaluate(async () => (await (await fetch('/auth/session')).json()).authenticated)).toBe(true)
})

/** A token so young that nobody thinks of replacing it yet, however slow this machine is. */
async function freshToken(page: Page): Promise<TokenFacts> {
  let facts: TokenFacts | undefined
  const age = async () => {
    facts = (await whoami(page))[0]
    return Date.now() / 1_000 - (facts?.iat ?? 0)
  }
  await expect.poll(age, { intervals: [200] }).toBeLessThan(2)
  return facts ?? { status: 0 }
}

/** Waits until a token is over for everybody: `iat` was cut to the second. */
async function over({ iat = 0 }: TokenFacts): Promise<void> {
  const end = (iat + accessTokenLifetime + 1) * 1_000
  await expect.poll(() => Date.now(), { intervals: [100], timeout: 10_000 }).toBeGreaterThan(end)
}

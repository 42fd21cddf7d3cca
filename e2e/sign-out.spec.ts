// The end of a session: in every tab, for every copy of its cookies, and at the authorization server.
import type { Page } from 'playwright/test'
import { expect, signIn, signInButton, signOutButton, test, whoami } from './demo.ts'

async function signOutEverywhere(page: Page): Promise<void> {
  await signOutButton(page).click()
  await expect(page.getByRole('heading', { name: 'Sign out here too?' })).toBeVisible()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(signInButton(page)).toBeVisible()
}

test('leaves no session cookie behind, and copies of the cookies are dead', async ({
  page,
  demo,
  context,
  browser,
}) => {
  await signIn(page)
  const copies = await context.cookies(demo.url)
  const thief = await browser.newContext({ baseURL: demo.url, extraHTTPHeaders: { 'x-csrf': '1' } })
  await thief.addCookies(copies)
  expect((await thief.request.get('/api/whoami')).status()).toBe(200)

  await signOutEverywhere(page)
  await expect(page).toHaveURL(`${demo.url}/`)
  const left = (await context.cookies(demo.url)).filter(({ name }) => name.startsWith('coatcheck'))
  expect(left).toEqual([])

  await thief.clearCookies()
  await thief.addCookies(copies)
  const answer = await thief.request.get('/api/whoami')
  expect(answer.status()).toBe(401)
  expect(answer.headers()['coatcheck-error']).toBe('session_expired')
  expect(await (await thief.request.get('/auth/session')).json()).toEqual({ authenticated: false })
  await thief.close()
})

test('ends the grant, and the sign-in at the authorization server too', async ({ page, demo }) => {
  await signIn(page)
  await signOutEverywhere(page)
  expect(demo.authorizationServer.counters.revokedGrants).toBeGreaterThanOrEqual(1)
  await signInButton(page).click()
  await expect(page.getByLabel('Password')).toBeVisible()
})

test('shows nothing of the old session after the back button', async ({ page }) => {
  await signIn(page, { path: '/orders' })
  await expect(page.getByRole('list', { name: 'Orders' })).toBeVisible()
  await signOutEverywhere(page)
  for (let step = 0; step < 3; step++) await page.goBack().catch(() => {})
  await page.goto('/orders')
  await expect(signInButton(page)).toBeVisible()
  await expect(page.getByRole('list', { name: 'Orders' })).toHaveCount(0)
})

test('reaches the other tab', async ({ page, context }) => {
  await signIn(page)
  const other = await context.newPage()
  await other.goto('/orders')
  await expect(signOutButton(other)).toBeVisible()
  expect((await whoami(other)).map(({ status }) => status)).toEqual([200])

  await signOutButton(page).click()
  await expect(signInButton(other)).toBeVisible()
  await expect(other.getByRole('status')).toHaveText('You signed out in another tab.')
  expect((await whoami(other)).map(({ status }) => status)).toEqual([401])
})

test('a sign-in reaches the other tab as well', async ({ page, context }) => {
  const other = await context.newPage()
  await other.goto('/orders')
  await expect(signInButton(other)).toBeVisible()
  await signIn(page)
  await expect(signOutButton(other)).toBeVisible()
  await expect(other.getByRole('list', { name: 'Orders' })).toBeVisible()
})

test.describe('with an idle timeout of a minute', () => {
  test.use({ session: { idleTimeout: '60s' } })

  test('the page counts down, and can keep the session alive', async ({ page }) => {
    await signIn(page)
    const left = page.getByRole('timer').first()
    await expect(left).toHaveText(/^0:5[0-4]$/, { timeout: 20_000 })
    await page.getByRole('button', { name: 'Keep alive' }).click()
    await expect(left).toHaveText(/^(0:5[5-9]|1:00)$/)
  })
})

test.describe('with an idle timeout of four seconds', () => {
  test.use({ session: { idleTimeout: '4s' } })

  test('the page says when the session is over', async ({ page }) => {
    await signIn(page)
    await expect(signInButton(page)).toBeVisible()
    await expect(page.getByRole('status')).toHaveText('Your session is over.')
  })
})

// Signing in, as a person does it: through the pages of the authorization server and back.
import { expect, fillLogin, signIn, signInButton, signOutButton, test } from './demo.ts'

test('signs in through the login and consent pages', async ({ page, demo, context }) => {
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))

  await page.goto('/')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Leave your tokens at the counter.')
  await signInButton(page).click()
  await expect(page).toHaveURL(new RegExp(`^${demo.authorizationServer.issuer}/interaction/`))
  await fillLogin(page)
  await expect(page.getByRole('heading', { name: 'Allow access?' })).toBeVisible()
  await page.getByRole('button', { name: 'Allow' }).click()

  await expect(page).toHaveURL(`${demo.url}/`)
  await expect(page.getByRole('heading', { name: 'Alice Liddell' })).toBeVisible()
  await expect(page.getByText('alice@example.com', { exact: true })).toBeVisible()
  await expect(page.getByText('Total time left')).toBeVisible()
  const picture = page.getByRole('main').locator('img.portrait')
  expect(await picture.evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth > 0)).toBe(true)

  const cookies = await context.cookies(demo.url)
  expect(cookies.filter(({ name }) => name.startsWith('coatcheck') && name !== 'coatcheck-login').length).toBe(2)
  for (const { name, httpOnly, sameSite, path } of cookies.filter(({ name }) => name.startsWith('coatcheck'))) {
    expect({ name, httpOnly, path }).toEqual({ name, httpOnly: true, path: '/' })
    expect(sameSite).toBe(name === 'coatcheck-login' ? 'Lax' : 'Strict')
  }
  expect(demo.authorizationServer.counters).toMatchObject({ logins: 1, refreshGrants: 0, reuses: 0 })
  expect(complaints).toEqual([])
})

test('asks again after a wrong password', async ({ page, demo }) => {
  await page.goto('/')
  await signInButton(page).click()
  await page.getByLabel('User name').fill('bob')
  await page.getByLabel('Password').fill('wonderland')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('alert')).toContainText('do not belong together')
  expect(demo.authorizationServer.counters.logins).toBe(0)

  await fillLogin(page, 'bob')
  await page.getByRole('button', { name: 'Allow' }).click()
  await expect(page.getByRole('heading', { name: 'Bob Keeper' })).toBeVisible()
})

test('comes back to a deep link with its query and its fragment', async ({ page, demo }) => {
  const deep = '/orders/new?draft=1#note'
  await page.goto(deep)
  await expect(page.getByText(deep)).toBeVisible()
  await signIn(page, { path: deep })
  await expect(page).toHaveURL(demo.url + deep)
  await expect(page.getByLabel('Item')).toHaveValue('Scarf, red wool')
  await expect(page.getByLabel('Note')).toBeFocused()
})

test('explains a sign-in that was denied, and offers to start again', async ({ page, demo, context }) => {
  await page.goto('/')
  await signInButton(page).click()
  await fillLogin(page)
  await page.getByRole('button', { name: 'Deny' }).click()

  await expect(page).toHaveURL(new RegExp(`^${demo.url}/auth/callback`))
  await expect(page.getByRole('heading', { name: 'Signing in did not work' })).toBeVisible()
  await expect(page.getByText('The sign-in was cancelled or refused.')).toBeVisible()
  const names = (await context.cookies(demo.url)).map(({ name }) => name)
  expect(names.filter((name) => name.startsWith('coatcheck') && name !== 'coatcheck-login')).toEqual([])

  await page.getByRole('link', { name: 'Start again' }).click()
  await page.getByRole('button', { name: 'Allow' }).click()
  await expect(signOutButton(page)).toBeVisible()
})

test('explains a sign-in that was cancelled at the login page', async ({ page }) => {
  await page.goto('/')
  await signInButton(page).click()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await expect(page.getByText('The sign-in was cancelled or refused.')).toBeVisible()
  await page.getByRole('link', { name: 'Start again' }).click()
  await expect(page.getByLabel('Password')).toBeVisible()
})

test('survives the back button after signing in', async ({ page, demo }) => {
  await signIn(page)
  // Back is the consent page, which is over.
  await page.goBack()
  await expect(page.getByRole('heading', { name: 'This sign-in page is over' })).toBeVisible()
  await page.getByRole('link', { name: 'Go to Coatcheck demo' }).click()
  await expect(signOutButton(page)).toBeVisible()
  expect(demo.authorizationServer.counters.logins).toBe(1)

  await page.goBack()
  await page.goForward()
  await expect(page).toHaveURL(`${demo.url}/`)
  await expect(signOutButton(page)).toBeVisible()
})

test('signs nobody in with a callback that was used before', async ({ page, demo, browser }) => {
  let callback = ''
  page.on('request', (request) => {
    if (request.url().startsWith(`${demo.url}/auth/callback`)) callback = request.url()
  })
  await signIn(page)

  // The same browser goes on as who it was.
  await page.goto(callback)
  await expect(page).toHaveURL(`${demo.url}/`)
  await expect(page.getByRole('heading', { name: 'Alice Liddell' })).toBeVisible()

  // Another browser is told, and may start.
  const stranger = await (await browser.newContext()).newPage()
  const answer = await stranger.goto(callback)
  expect(answer?.status()).toBe(400)
  await expect(stranger.getByRole('link', { name: 'Sign in again' })).toBeVisible()
  await stranger.getByRole('link', { name: 'Continue' }).click()
  await expect(signInButton(stranger)).toBeVisible()
  await stranger.context().close()
  expect(demo.authorizationServer.counters.logins).toBe(1)
})

test('goes straight through when the authorization server knows the user already', async ({ page, context, demo }) => {
  await signIn(page)
  await signOutButton(page).click()
  await page.getByRole('button', { name: 'Stay signed in' }).click()
  await signInButton(page).click()
  await expect(signOutButton(page)).toBeVisible()
  expect(demo.authorizationServer.counters.logins).toBe(2)
  expect((await context.cookies(demo.url)).length).toBeGreaterThan(0)
})

// Calling the API from the page: with a ticket, and without a token.
import { expect, fillLogin, signIn, signInButton, signOutButton, test } from './demo.ts'

test('lists orders and adds one', async ({ page }) => {
  await signIn(page)
  await page.getByRole('button', { name: 'List orders' }).click()
  const orders = page.getByRole('list', { name: 'Orders' }).getByRole('listitem')
  await expect(orders).toHaveCount(2)

  await page.getByRole('button', { name: 'Add an order' }).click()
  await page.getByLabel('Item').fill('Bowler hat')
  await page.getByLabel('Note').fill('Top shelf')
  await page.getByRole('button', { name: 'Place the order' }).click()
  await expect(page).toHaveURL(/\/orders$/)
  await expect(orders).toHaveCount(3)
  await expect(orders.first()).toContainText('Bowler hat')
})

test('keeps the orders of two people apart', async ({ page, browser, demo }) => {
  await signIn(page, { path: '/orders/new?draft=1' })
  await page.getByRole('button', { name: 'Place the order' }).click()
  await expect(page.getByRole('list', { name: 'Orders' }).getByRole('listitem')).toHaveCount(3)

  const other = await (await browser.newContext({ baseURL: demo.url })).newPage()
  await signIn(other, { username: 'bob', path: '/orders' })
  await expect(other.getByRole('list', { name: 'Orders' }).getByRole('listitem')).toHaveCount(2)
  await other.context().close()
})

test('says so when the API refuses what the user did not allow', async ({ page }) => {
  await page.goto('/orders/new?draft=1')
  await signInButton(page).click()
  await fillLogin(page)
  await page.getByLabel('Place orders in your name').uncheck()
  await page.getByRole('button', { name: 'Allow' }).click()
  await page.getByRole('button', { name: 'Place the order' }).click()
  await expect(page.getByRole('alert')).toContainText('The session was not granted what this needs.')
  await expect(signOutButton(page)).toBeVisible()
  await page.getByRole('button', { name: 'Allow it' }).click()
  await page.getByRole('button', { name: 'Allow' }).click()
  await expect(page).toHaveURL(/orders\/new/)
  await page.getByRole('button', { name: 'Place the order' }).click()
  // The authorization server remembers what was refused. Whoever was asked once and said no is not sent round in circles.
  await expect(page.getByRole('alert')).toHaveText('The session was not granted what this needs.')
})

test('streams events as they are sent, until the page stops listening', async ({ page }) => {
  await signIn(page)
  await page.getByRole('button', { name: 'Start the clock' }).click()
  await expect(page.getByText('The stream is open')).toBeVisible()
  await expect(page.getByText(/^[23] events$/)).toBeVisible()
  // The first event was there at once; nobody waited to hand over several together.
  const first = page
    .getByRole('list', { name: 'Latest events' })
    .getByText(/ms after it was sent/)
    .last()
  expect(Number(/(\d+) ms/.exec((await first.textContent()) ?? '')?.[1])).toBeLessThan(500)
  await page.getByRole('button', { name: 'Stop the clock' }).click()
  await expect(page.getByText('The stream is closed')).toBeVisible()
})

test('lets no script read a cookie or find a token', async ({ page, demo, context }) => {
  await signIn(page)
  await page.getByRole('button', { name: 'List orders' }).click()
  await expect(page.getByRole('list', { name: 'Orders' })).toBeVisible()
  expect((await context.cookies(demo.url)).length).toBeGreaterThanOrEqual(2)
  expect(await page.evaluate(() => document.cookie)).toBe('')
  expect(await page.evaluate(() => localStorage.length + sessionStorage.length)).toBe(0)
  await expect(page.locator('#verdict')).toHaveText(/^No token found in \d+ responses/)
})

test('answers 401 to a page that is not signed in, and the page offers to sign in', async ({ page }) => {
  await page.goto('/')
  const problem = await page.evaluate(async () => {
    const answer = await fetch('/api/orders')
    return { status: answer.status, type: answer.headers.get('content-type'), body: await answer.json() }
  })
  expect(problem).toMatchObject({
    status: 401,
    type: 'application/problem+json',
    body: { code: 'session_required', loginUrl: '/auth/login' },
  })
})

test('refuses another site that uses the visitor’s cookies', async ({ page, demo, context }) => {
  await signIn(page)
  const orders = `${demo.url}/api/orders`
  const other = await context.newPage()
  await other.goto(demo.api.url)
  const readable = await other.evaluate(async (target) => {
    const isReadable = (init: RequestInit) =>
      fetch(target, { credentials: 'include', ...init }).then(
        () => true,
        () => false,
      )
    return Promise.all([isReadable({}), isReadable({ method: 'POST', mode: 'no-cors', body: '{"item":"stolen"}' })])
  }, orders)
  expect(readable).toEqual([false, false])

  const answer = other.waitForResponse(orders)
  await other.evaluate((target) => {
    const form = Object.assign(document.createElement('form'), {
      method: 'post',
      action: target,
      enctype: 'text/plain',
    })
    form.append(Object.assign(document.createElement('input'), { name: '{"item":"stolen","x":"', value: '"}' }))
    document.body.append(form)
    form.submit()
  }, orders)
  expect((await answer).status()).toBe(403)

  await page.getByRole('button', { name: 'List orders' }).click()
  await expect(page.getByRole('list', { name: 'Orders' }).getByRole('listitem')).toHaveCount(2)
})

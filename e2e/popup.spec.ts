// A sign-in in a window of its own: the page stays where it is.
import { expect, openSignedOut, test } from './ai-world.ts'
import { fillLogin } from './demo.ts'

/** Asks for a sign-in from a click, as browsers want it before they open a window. */
const clickToSignIn = `document.body.addEventListener('click', () => {
  globalThis.outcome = assistant.coatcheck.loginInPopup().then(({ authenticated }) => authenticated, (error) => error.message)
}, { once: true })`

test('signs in without leaving the page, and the window closes by itself', async ({ page }) => {
  await openSignedOut(page)
  const address = page.url()
  await page.evaluate(clickToSignIn)
  const opened = page.waitForEvent('popup')
  await page.locator('body').click()
  const popup = await opened
  const closed = popup.waitForEvent('close')
  await fillLogin(popup)
  await popup.getByRole('button', { name: 'Allow' }).click()
  await closed
  expect(await page.evaluate('outcome')).toBe(true)
  expect(page.url()).toBe(address)
})

test('says so when the user closes the window instead', async ({ page }) => {
  await openSignedOut(page)
  await page.evaluate(clickToSignIn)
  const opened = page.waitForEvent('popup')
  await page.locator('body').click()
  await (await opened).close()
  // What a browser does when the other window is gone; without a screen it does not.
  await page.evaluate(() => dispatchEvent(new Event('focus')))
  expect(await page.evaluate('outcome')).toBe(false)
})

test('goes on when the user looks back at the page in the middle', async ({ page }) => {
  await openSignedOut(page)
  await page.evaluate(clickToSignIn)
  const opened = page.waitForEvent('popup')
  await page.locator('body').click()
  const popup = await opened
  await popup.getByLabel('User name').waitFor()
  expect(await popup.evaluate('opener')).toBe(null)
  await page.evaluate(() => dispatchEvent(new Event('focus')))
  const closed = popup.waitForEvent('close')
  await fillLogin(popup)
  await popup.getByRole('button', { name: 'Allow' }).click()
  await closed
  expect(await page.evaluate('outcome')).toBe(true)
})

test('R025 tells another origin that opened it nothing', async ({ page, world, context }) => {
  await openSignedOut(page)
  const stranger = await context.newPage()
  await stranger.route('https://evil.test/', (route) => route.fulfill({ contentType: 'text/html', body: '<p>evil' }))
  await stranger.goto('https://evil.test/')
  await stranger.evaluate((url) => {
    const heard: unknown[] = []
    Object.assign(globalThis, { heard })
    addEventListener('message', ({ data }) => heard.push(data))
    new BroadcastChannel('coatcheck-login').onmessage = ({ data }) => heard.push(data)
    open(url)
  }, `${world.url}/auth/popup`)
  await expect.poll(() => context.pages().some((one) => one.url().endsWith('/auth/popup'))).toBe(false)
  expect(await stranger.evaluate('heard')).toEqual([])
})

// The page itself: small screens, the keyboard, the policy it runs under.
import type { Page } from 'playwright/test'
import { expect, signIn, signInButton, signOutButton, test } from './demo.ts'

test.describe('on a phone', () => {
  test.use({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true })

  test('nothing is wider than the screen', async ({ page, demo }) => {
    await page.goto('/orders/new?draft=1#note')
    await signInButton(page).waitFor()
    expect(await width(page)).toBe(390)
    await signInButton(page).tap()
    await page.getByLabel('Password').waitFor()
    expect(await width(page)).toBe(390)
    await signIn(page)
    await page.getByRole('button', { name: 'List orders' }).tap()
    await page.getByRole('list', { name: 'Orders' }).waitFor()
    for (const row of await page.locator('summary').all()) await row.tap()
    expect(await width(page)).toBe(390)
    expect(demo.authorizationServer.counters.logins).toBe(1)
  })
})

function width(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth)
}

test('works with the keyboard alone', async ({ page }) => {
  await page.goto('/orders')
  await signInButton(page).focus()
  await page.keyboard.press('Enter')
  await expect(page.getByLabel('User name')).toBeFocused()
  await page.keyboard.type('alice')
  await page.keyboard.press('Tab')
  await page.keyboard.type('wonderland')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Allow' }).focus()
  await page.keyboard.press('Enter')
  await signOutButton(page).waitFor()
  // Skip link, brand, two pages, sign out, then the page.
  for (let step = 0; step < 5; step++) await page.keyboard.press('Tab')
  await expect(signOutButton(page)).toBeFocused()
  await page.keyboard.press('Tab')
  await expect(page.getByRole('link', { name: 'Add an order' })).toBeFocused()
  await page.keyboard.press('Enter')
  await expect(page.getByLabel('Item')).toBeFocused()
})

test('runs under a policy that allows nothing inline and nothing from elsewhere', async ({ page }) => {
  const answer = await page.goto('/')
  expect(answer?.headers()['content-security-policy']).toMatch(/^default-src 'self';/)
  await page.evaluate(() => {
    const seen: string[] = []
    Object.assign(window, { seen })
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => seen.push(effectiveDirective))
    document.head.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = true' }))
    void fetch('https://elsewhere.example/').catch(() => {})
  })
  const outcome = () => page.evaluate(() => ({ seen: 'seen' in window && window.seen, ran: 'ran' in window }))
  await expect.poll(outcome).toEqual({ seen: ['script-src-elem', 'connect-src'], ran: false })
})

test('leaves and enters pages without asking the server for documents', async ({ page, demo }) => {
  await signIn(page)
  let documents = 0
  page.on('request', (request) => {
    if (request.resourceType() === 'document') documents++
  })
  await page.getByRole('link', { name: 'Orders' }).click()
  await expect(page.getByRole('heading', { name: 'Orders', level: 1 })).toBeVisible()
  await page.goBack()
  await expect(page.getByRole('heading', { name: 'Alice Liddell' })).toBeVisible()
  await expect(page).toHaveURL(`${demo.url}/`)
  expect(documents).toBe(0)
})

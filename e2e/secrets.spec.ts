// Everything the browser received, searched for everything it must not have.
import { test as base, expect, type Page } from 'playwright/test'
import type { Secret } from '../web-demo/authorization-server.ts'
import { freePort } from '../web-demo/ports.ts'
import { startDemo } from '../web-demo/start.ts'
import { signIn, signInButton, signOutButton, whoami } from './demo.ts'
import { disguises, secretsIn } from './search.ts'
import { startWiretap } from './wiretap.ts'

base('no token, code, verifier or client secret ever reaches the browser', async ({ browser }) => {
  const secrets: Secret[] = []
  const listen = await freePort()
  const wiretap = await startWiretap(listen)
  const demo = await startDemo({
    ports: { app: wiretap.port, listen },
    accessTokenLifetime: 4,
    onSecret: (secret) => secrets.push(secret),
  })
  const context = await browser.newContext({ baseURL: demo.url })
  const told: string[] = []
  const shownAddresses: string[] = []
  const referers: string[] = []
  context.on('console', (message) => told.push(message.text()))
  context.on('request', (request) => referers.push(request.headers().referer ?? ''))
  context.on('page', (page) => {
    page.on('framenavigated', (frame) => shownAddresses.push(frame.url()))
    page.on('pageerror', (error) => told.push(`${error.message} ${error.stack}`))
  })

  // A day in the life: denied, signed in, orders, a stream, a refresh, the address of the callback again, signed out.
  const page = await context.newPage()
  await page.goto('/orders')
  await signInButton(page).click()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('heading', { name: 'Signing in did not work' }).waitFor()
  await signIn(page, { path: '/orders/new?draft=1#note' })
  await page.getByRole('button', { name: 'Place the order' }).click()
  await page.getByRole('list', { name: 'Orders' }).waitFor()
  await page.getByRole('link', { name: 'Overview' }).click()
  await page.getByRole('button', { name: 'Start the clock' }).click()
  const [before] = await whoami(page)
  await expect.poll(async () => (await whoami(page))[0]?.jti, { intervals: [300] }).not.toBe(before?.jti)
  const readable = await readableByScripts(page)
  const jar = await context.cookies()
  await page.getByRole('button', { name: 'Stop the clock' }).click()
  await signOutButton(page).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await signInButton(page).waitFor()
  const history = await page.evaluate(() =>
    (globalThis as unknown as { navigation: { entries(): { url: string }[] } }).navigation
      .entries()
      .map(({ url }) => url),
  )

  // There is something to look for, and the search finds what is there.
  const kinds = ['client secret', 'authorization code', 'code verifier', 'access token', 'refresh token', 'ID token']
  expect([...new Set(secrets.map(({ kind }) => kind))].sort()).toEqual([...kinds].sort())
  expect(secrets.filter(({ kind }) => kind === 'access token').length).toBeGreaterThanOrEqual(2)
  for (const secret of secrets) {
    for (const disguise of disguises(secret.value)) expect(secretsIn(`...${disguise}...`, [secret])).toHaveLength(1)
  }

  const received = wiretap.received().join('\n')
  const sent = wiretap.sent().join('\n')
  expect(received.length).toBeGreaterThan(20_000)
  expect(received).toContain('Scarf, red wool')
  expect(received).toContain('event: tick')
  expect(secretsIn(received, secrets)).toEqual([])
  // The one place where the code has to be: the request that brings it. Nothing else of that request may hold it.
  expect(secretsIn(sent, secrets)).toEqual(['authorization code'])
  expect(secretsIn(sent.replace(/GET \/auth\/callback\?\S* HTTP/g, ''), secrets)).toEqual([])

  expect(jar.some(({ name }) => name === 'coatcheck')).toBe(true)
  const cookies = jar.map(({ name, value }) => `${name}=${value}`).join('\n')
  expect(secretsIn(cookies, secrets)).toEqual([])
  expect(cookies).not.toContain('eyJ')
  expect(secretsIn(JSON.stringify(readable), secrets)).toEqual([])
  expect(readable).toMatchObject({ cookie: '', local: {}, session: {}, databases: [], caches: [], workers: 0 })
  expect(secretsIn(told.join('\n'), secrets)).toEqual([])
  expect(shownAddresses.some((address) => address.startsWith(`${demo.url}/orders`))).toBe(true)
  expect(secretsIn([...shownAddresses, ...history].join('\n'), secrets)).toEqual([])
  expect(secretsIn(referers.join('\n'), secrets)).toEqual([])

  await context.close()
  await demo.close()
  await wiretap.close()
})

/** Everything a script of the page can get hold of without asking the server. */
function readableByScripts(page: Page) {
  return page.evaluate(async () => ({
    cookie: document.cookie,
    local: { ...localStorage },
    session: { ...sessionStorage },
    databases: (await indexedDB.databases()).map(({ name }) => name),
    caches: await caches.keys(),
    workers: (await navigator.serviceWorker.getRegistrations()).length,
    windowName: window.name,
    state: JSON.stringify(history.state),
    document: document.documentElement.outerHTML,
    addresses: performance.getEntries().map(({ name }) => name),
    referrer: document.referrer,
  }))
}

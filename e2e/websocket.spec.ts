// WebSockets in a real browser: opened with the session, and closed with it.
import type { Page } from 'playwright/test'
import { expect, signIn, signInButton, signOutButton, test } from './demo.ts'

/** What a page knows of its WebSocket. */
interface Seen {
  messages: string[]
  closed?: { code: number; reason: string; wasClean: boolean }
}

/** Opens `WebSocket('/api/echo')` in the page. What it sees can be asked for from then on. */
async function openSocket(page: Page): Promise<() => Promise<Seen>> {
  await page.evaluate(() => {
    const seen: Seen = { messages: [] }
    const socket = new WebSocket('/api/echo')
    socket.onmessage = ({ data }) => seen.messages.push(String(data))
    socket.onclose = ({ code, reason, wasClean }) => {
      seen.closed = { code, reason, wasClean }
    }
    Object.assign(window, { seen, socket })
  })
  return () => page.evaluate(() => (window as unknown as { seen: Seen }).seen)
}

const say = (page: Page, text: string) =>
  page.evaluate((message) => (window as unknown as { socket: WebSocket }).socket.send(message), text)

test('R528 a WebSocket carries messages, and sign-out in another tab closes it with 4401', async ({
  page,
  context,
}) => {
  await signIn(page)
  const seen = await openSocket(page)
  await expect.poll(async () => (await seen()).messages).toEqual(['hello user-1'])
  await say(page, 'ping żółw')
  await expect.poll(async () => (await seen()).messages).toEqual(['hello user-1', 'ping żółw'])

  const other = await context.newPage()
  await other.goto('/')
  await signOutButton(other).click()
  await expect(signInButton(page)).toBeVisible()
  await expect.poll(async () => (await seen()).closed).toEqual({ code: 4401, reason: 'session ended', wasClean: true })
  expect((await seen()).messages).toHaveLength(2)
})

test('R312 a WebSocket from a page of another origin is not opened', async ({ page, demo, context }) => {
  await signIn(page)
  // The demo API is another origin with the same host as the authorization server, and knows no such page.
  const stranger = await context.newPage()
  await stranger.goto(`${demo.authorizationServer.issuer}/.well-known/openid-configuration`)
  const outcome = await stranger.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url)
        socket.onopen = () => resolve('opened')
        socket.onclose = ({ code }) => resolve(code)
      }),
    `${demo.url.replace('http', 'ws')}/api/echo`,
  )
  expect(outcome).toBe(1006)
  await expect
    .poll(() => demo.events.filter(({ event }) => event === 'request.refused'))
    .toMatchObject([{ code: 'csrf_rejected', reason: 'cross_origin' }])
})

test('R528 a WebSocket without a session is not opened', async ({ page, demo }) => {
  await page.goto('/')
  const seen = await openSocket(page)
  await expect.poll(async () => (await seen()).closed?.code).toBe(1006)
  expect(demo.events.map(({ event }) => event)).not.toContain('websocket.opened')
})

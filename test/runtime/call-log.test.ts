import { describe, expect, test } from 'vitest'
import { runtime, startWorld } from '../support/coatcheck.ts'

describe('each call that goes up', () => {
  test('is one event: route, method, status, how long, how much, and never its query', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const body = 'x'.repeat(1_000)
    await browser.fetch('/api/orders?secret=CANARY', { method: 'POST', body })
    await expect.poll(() => world.logged('request.forwarded')).toHaveLength(1)
    const [event] = world.logged('request.forwarded')
    const { session } = (await browser.fetch('/auth/session')).json()
    expect(event).toMatchObject({
      ...{ route: '/api', method: 'POST', status: 200, requestBytes: 1_000, session: session.id },
      ...{ milliseconds: expect.any(Number), upstreamMilliseconds: expect.any(Number), tokenMilliseconds: 0 },
    })
    if (runtime === 'node') expect(event?.responseBytes).toBeGreaterThan(10)
    expect(JSON.stringify(world.events())).not.toContain('CANARY')
  })

  test('tells the bytes of a stream when it is over', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    world.api.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: 1\n\n')
      response.end('data: 2\n\n')
    }
    await browser.fetch('/api/events')
    await expect.poll(() => world.logged('request.forwarded')).toMatchObject([{ status: 200, responseBytes: 18 }])
  })

  test('says how long it waited for a token, and for the upstream', async () => {
    const world = await startWorld()
    world.as.behaviour.expiresIn = 0.01
    const browser = world.browser()
    await browser.signIn()
    world.as.behaviour.expiresIn = 300
    const slow = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
    world.as.behaviour.tokenResponse = () => slow(60).then(() => {})
    world.api.answer = (_, response) => void slow(60).then(() => response.end('{}'))
    await browser.fetch('/api/orders')
    await expect.poll(() => world.logged('request.forwarded')).toHaveLength(1)
    const [event] = world.logged('request.forwarded')
    expect(event?.tokenMilliseconds).toBeGreaterThanOrEqual(50)
    expect(event?.upstreamMilliseconds).toBeGreaterThanOrEqual(50)
    expect(event?.milliseconds).toBeGreaterThanOrEqual(100)
  })

  test('is told with the status that the browser saw when the upstream failed', async () => {
    const world = await startWorld()
    world.api.answer = (_, response) => response.destroy()
    await world.browser().fetch('/api/open/x', { method: 'POST', body: 'x' })
    await expect.poll(() => world.logged('request.forwarded')).toMatchObject([{ route: '/api/open', status: 502 }])
  })

  test('that was refused before it went up is not told as one', async () => {
    const world = await startWorld()
    await world.browser().fetch('/api/orders')
    await world.browser().fetch('/api/open/x')
    await expect.poll(() => world.logged('request.forwarded')).toMatchObject([{ route: '/api/open' }])
  })
})

import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { passed } from '../support/time.ts'

const from = (agent: string) => ({ headers: { 'user-agent': agent } })

describe('/auth/sessions', () => {
  test('lists the sessions of the user, newest first, with the browser each began in', async () => {
    const world = await startWorld()
    const [laptop, phone] = [world.browser(), world.browser()]
    await laptop.navigate(await laptop.untilCallback(), from('Laptop/1.0'))
    await phone.navigate(await phone.untilCallback(), from('Phone/2.0'))
    world.as.behaviour.user = { sub: 'bob' }
    const stranger = world.browser()
    await stranger.signIn()

    const listed = () => phone.fetch('/auth/sessions').then((answer) => answer.json().sessions)
    await expect.poll(listed).toHaveLength(2)
    const answer = await phone.fetch('/auth/sessions')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const ids = await Promise.all(
      [phone, laptop].map(async (browser) => (await browser.fetch('/auth/session')).json().session.id),
    )
    expect(answer.json().sessions).toMatchObject([
      { id: ids[0], browser: 'Phone/2.0', current: true },
      { id: ids[1], browser: 'Laptop/1.0', current: false },
    ])
    for (const { createdAt, lastSeenAt } of answer.json().sessions) {
      expect(Math.abs(Date.parse(createdAt) - Date.now())).toBeLessThan(30_000)
      expect(Math.abs(Date.parse(lastSeenAt) - Date.now())).toBeLessThan(30_000)
    }
    await expect.poll(async () => (await stranger.fetch('/auth/sessions')).json().sessions).toHaveLength(1)
  })

  test('a user ends another session of theirs: it is over at once, and listed no more', async () => {
    const world = await startWorld()
    const [here, there] = [world.browser(), world.browser()]
    await there.signIn()
    await here.signIn()
    const { id } = (await there.fetch('/auth/session')).json().session
    await expect.poll(async () => (await here.fetch('/auth/sessions')).json().sessions).toHaveLength(2)
    expect((await here.fetch(`/auth/sessions/${id}`, { method: 'DELETE' })).status).toBe(200)
    const over = await there.fetch('/api/orders')
    expect([over.status, over.json().code]).toEqual([401, 'session_expired'])
    expect((await here.fetch('/auth/sessions')).json().sessions).toHaveLength(1)
    expect((await here.fetch('/api/orders')).status).toBe(200)
  })

  test('a session of somebody else is not found, and lives on', async () => {
    const world = await startWorld()
    const [alice, bob] = [world.browser(), world.browser()]
    await alice.signIn()
    world.as.behaviour.user = { sub: 'bob' }
    await bob.signIn()
    const { id } = (await alice.fetch('/auth/session')).json().session
    for (const unknown of [id, 'nonsense', '%2e%2e', `${id}x`]) {
      expect((await bob.fetch(`/auth/sessions/${unknown}`, { method: 'DELETE' })).status, unknown).toBe(404)
    }
    expect((await alice.fetch('/api/orders')).status).toBe(200)
  })

  test('R608 ends all of them at once, and nobody else’s; signing in again works', async () => {
    const world = await startWorld()
    const [here, there, bob] = [world.browser(), world.browser(), world.browser()]
    await there.signIn()
    await here.signIn()
    world.as.behaviour.user = { sub: 'bob' }
    await bob.signIn()
    world.as.behaviour.user = { sub: 'alice' }
    expect((await here.fetch('/auth/sessions', { method: 'DELETE' })).status).toBe(200)
    expect([...here.cookies.keys()].filter((name) => !name.endsWith('-login'))).toEqual([])
    expect((await there.fetch('/api/orders')).json().code).toBe('session_expired')
    expect((await bob.fetch('/api/orders')).status).toBe(200)
    await here.signIn()
    expect((await here.fetch('/api/orders')).status).toBe(200)
  })

  test.each([
    ['GET', '/auth/sessions'],
    ['DELETE', '/auth/sessions'],
    ['DELETE', '/auth/sessions/x'],
  ])('%s %s needs a session, and a page of the application that asks', async (method, path) => {
    const world = await startWorld()
    const browser = world.browser()
    expect((await browser.fetch(path, { method })).json().code).toBe('session_required')
    await browser.signIn()
    const elsewhere = { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors', 'x-csrf': '1' }
    expect((await browser.send(path, { method, headers: elsewhere })).json().code).toBe('csrf_rejected')
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test('has no other methods', async () => {
    const world = await startWorld()
    const answer = await world.browser().fetch('/auth/sessions', { method: 'PUT' })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD, DELETE'])
  })
  test.each(['own', 'all'])(
    'R020 ending one’s %s revokes the newest tokens, also those of a refresh that the browser missed',
    async (which) => {
      const world = await startWorld()
      world.as.behaviour.expiresIn = 0.1
      const browser = world.browser()
      await browser.signIn()
      const { id } = (await browser.fetch('/auth/session')).json().session
      const before = new Map(browser.cookies)
      await passed(120)
      world.as.behaviour.expiresIn = 300
      let newest = ''
      world.as.behaviour.tokenResponse = (response) => {
        newest = String(response.refresh_token)
      }
      expect((await browser.fetch('/api/orders')).status).toBe(200)
      for (const [name, value] of before) browser.cookies.set(name, value)
      const path = which === 'own' ? `/auth/sessions/${id}` : '/auth/sessions'
      expect((await browser.fetch(path, { method: 'DELETE' })).status).toBe(200)
      await expect.poll(() => world.as.to('/revoke').map(({ body }) => body.get('token'))).toContain(newest)
    },
  )
})

// Several public addresses where an application of one's own stands around coatcheck, and when session keys change.
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { createCoatcheck } from '../../src/app.ts'
import type { ConfigInput } from '../../src/config.ts'
import { readConfig } from '../../src/config-reader.ts'
import { serve } from '../../src/node.ts'
import { createBrowser } from '../support/browser.ts'
import { sessionKey } from '../support/coatcheck.ts'
import { startHosts } from '../support/hosts.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'

const redirectUriOf = (answer: { headers: Headers }) =>
  new URL(answer.headers.get('location') ?? 'none:').searchParams.get('redirect_uri')

describe('with several public addresses', () => {
  test('an application around coatcheck changes nothing, and where requests have no Host their URL says where they are', async () => {
    const { config, here, there } = await startHosts()
    const app = new Hono()
      .get('/hello', (c) => c.text('hello'))
      .route('/', createCoatcheck({ ...config, log: { level: 'silent' } }))
    for (const [at, id] of [
      [here, 'staff'],
      [there, 'partners'],
    ]) {
      const login = await app.request(`${at}/auth/login?provider=${id}`)
      expect(login.status).toBe(303)
      expect(redirectUriOf(login)).toContain(at)
    }
    expect((await app.request(`${there}/auth/login?provider=staff`)).status).toBe(400)
    expect((await app.request(`${there}/hello`)).status).toBe(200)
    expect((await app.request(`${there}/auth/session`, { method: 'HEAD' })).status).toBe(200)
  })

  test('the Node server serves each of them inside such an application', async () => {
    const world = await startHosts()
    const port = await freePort()
    const moved = JSON.parse(
      JSON.stringify(world.config).replaceAll(`localhost:${new URL(world.here).port}`, `localhost:${port}`),
    ) as ConfigInput
    const server = await serve(
      { ...moved, listen: { host: '127.0.0.1', port } },
      { env: {}, log: () => {}, mount: (coatcheck) => new Hono().route('/', coatcheck) },
    )
    closeAfterTest(server)
    const there = `http://partners.localhost:${port}`
    const browser = createBrowser(server.url, there, new URL(there).host)
    expect((await browser.signIn('?provider=partners')).status).toBe(303)
    expect((await browser.fetch('/api/x')).status).toBe(200)
    expect((await browser.fetch('/api/x', { method: 'HEAD' })).status).toBe(200)
    expect(world.api.requests.at(-1)?.headers['x-forwarded-host']).toBe(new URL(there).host)
  })

  test.each(['cookie', 'store'] as const)(
    'R603 a session key that is dropped opens nothing at any of them, tokens in the %s',
    async (storage) => {
      const [old, next] = [sessionKey(1), sessionKey(2)]
      const { config, here, there } = await startHosts()
      const withKeys = (keys: string[]): ConfigInput => ({ ...config, session: { keys, storage } })
      const port = await freePort()
      const server = await serve(
        { ...withKeys([old]), listen: { host: '127.0.0.1', port } },
        { env: {}, log: () => {} },
      )
      closeAfterTest(server)
      const browsers = [here, there].map((at) => createBrowser(server.url, at, new URL(at).host))
      for (const browser of browsers) await browser.signIn('?provider=main')
      server.reloadKeys(withKeys([next, old]))
      for (const browser of browsers) expect((await browser.fetch('/api/x')).status).toBe(200)
      server.reloadKeys(withKeys([next]))
      for (const browser of browsers) expect((await browser.fetch('/api/x')).status).toBe(401)
    },
  )

  test('R602 sessions of all of them are over when another becomes the main one, because names of what ended are others', async () => {
    const { config, here, there } = await startHosts()
    const port = await freePort()
    const listen = { host: '127.0.0.1', port }
    const first = await serve({ ...config, listen }, { env: {}, log: () => {} })
    const browsers = [here, there].map((at) => createBrowser(first.url, at, new URL(at).host))
    for (const browser of browsers) await browser.signIn('?provider=main')
    for (const browser of browsers) expect((await browser.fetch('/api/x')).status).toBe(200)
    await first.close()
    closeAfterTest(await serve({ ...config, listen, publicUrl: there }, { env: {}, log: () => {} }))
    for (const browser of browsers) expect((await browser.fetch('/api/x')).status).toBe(401)
  })

  test('coatcheck itself is one, with the configuration as it was read', async () => {
    const { config } = await startHosts()
    expect(createCoatcheck(config).config).toEqual(readConfig(config))
  })
})

import { writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { createBrowser } from '../support/browser.ts'
import { providerFor, sessionKey } from '../support/coatcheck.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { startUpstream } from '../support/upstream.ts'

test('keys are rotated under load, on SIGHUP, and nobody is signed out', async () => {
  const [as, api] = [closeAfterTest(await startAuthorizationServer()), closeAfterTest(await startUpstream())]
  as.behaviour.expiresIn = 0.3
  const port = await freePort()
  const document = (keys: string[]) =>
    JSON.stringify({
      publicUrl: `http://localhost:${port}`,
      listen: { port },
      session: { keys, idleTimeout: '2s' },
      providers: [providerFor(as)],
      routes: [{ path: '/api', upstream: api.url, token: 'user' }],
    })
  const [old, next] = [sessionKey(1), sessionKey(2)]
  const file = await fileWith(document([old]))
  const run = coatcheck(['serve', '--config', file])
  await expect.poll(run.stdout).toContain('server.listening')
  const url = `http://127.0.0.1:${port}`
  const browsers = Array.from({ length: 5 }, () => createBrowser(url, `http://localhost:${port}`))
  for (const browser of browsers) await browser.signIn()

  const statuses = new Map<number, number>()
  let going = true
  const load = browsers.map(async (browser) => {
    while (going) {
      const { status } = await browser.fetch('/api/orders')
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  })
  let reloaded = 0
  // The second is a mistake: it changes nothing.
  for (const keys of [[old, next], ['garbage'], [next, old], [next]]) {
    if (keys.length === 1 && keys[0] === next) {
      // Until everybody has a ticket and tokens sealed with the new key.
      await expect
        .poll(() =>
          browsers.every(({ cookies }) =>
            [...cookies].every(([name, value]) => name.endsWith('-login') || value.includes('Fe26.2*2*')),
          ),
        )
        .toBe(true)
    }
    await writeFile(file, document(keys))
    run.kill('SIGHUP')
    if (keys[0] === 'garbage') await expect.poll(run.stderr).toContain('The session keys were not reloaded')
    else await expect.poll(() => run.stdout().split('keys.reloaded').length - 1).toBe(++reloaded)
  }
  const before = [...statuses.values()].reduce((sum, count) => sum + count, 0)
  await expect.poll(() => [...statuses.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(before + 50)
  going = false
  await Promise.all(load)
  expect([...statuses.keys()]).toEqual([200])
  expect(as.reuses).toEqual([])
  expect(run.stderr()).not.toContain('garbage')
})

test('of two SIGHUPs the later one counts, although its file is read faster', async () => {
  const as = closeAfterTest(await startAuthorizationServer())
  const port = await freePort()
  const [old, next] = [sessionKey(1), sessionKey(2)]
  const document = (keys: string[], wait: boolean) => `
    ${wait ? "console.error('reading'); await new Promise((resolve) => setTimeout(resolve, 1_000))" : ''}
    export default ${JSON.stringify({
      publicUrl: `http://localhost:${port}`,
      listen: { port },
      session: { keys },
      providers: [providerFor(as)],
      routes: [],
    })}`
  const file = await fileWith(document([old], false), 'coatcheck.mjs')
  const run = coatcheck(['serve', '--config', file])
  await expect.poll(run.stdout).toContain('server.listening')
  expect((await createBrowser(`http://127.0.0.1:${port}`).send('/healthz')).status).toBe(200)
  await writeFile(file, document([old, next], true))
  run.kill('SIGHUP')
  await expect.poll(run.stderr).toContain('reading')
  await writeFile(file, document([next, old], false))
  run.kill('SIGHUP')
  const numbers = () => [...run.stdout().matchAll(/"numbers":(\[[^\]]*\])/g)].map(([, list]) => list)
  await expect.poll(numbers, { timeout: 5_000 }).toHaveLength(2)
  expect(numbers()).toEqual(['[1,2]', '[2,1]'])
})

// `npx wrangler dev`: the Worker of wrangler.toml with the demo's files, authorization server and API.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { expect, test } from 'playwright/test'
import { freePort } from '../web-demo/ports.ts'
import { startDemo } from '../web-demo/start.ts'
import { signIn, signInButton, signOutButton, whoami } from './demo.ts'

/** The configuration of wrangler.toml, with the addresses of this test. */
function configuration(addresses: Record<string, string>): string {
  const [, document = ''] = /COATCHECK_CONFIG = '''([^']*)'''/.exec(readFileSync('wrangler.toml', 'utf8')) ?? []
  return Object.entries(addresses).reduce((text, [usual, own]) => {
    expect(text).toContain(usual)
    return text.replaceAll(usual, own)
  }, document)
}

/** Starts wrangler on a port; ends the whole group of processes, because wrangler has children. */
async function runWrangler(port: number, variables: Record<string, string>) {
  const inspector = await freePort()
  const vars = Object.entries(variables).flatMap(([name, value]) => ['--var', `${name}:${value}`])
  const args = ['dev', '--port', String(port), '--inspector-port', String(inspector), ...vars]
  const env = { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false' }
  const child = spawn('wrangler', args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const exit = once(child, 'exit')
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (printed += text))
  return {
    printed: () => printed,
    async close() {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM')
      await exit
    },
  }
}

test('serves the application and forwards its calls from a Worker', async ({ page }) => {
  test.setTimeout(90_000)
  const port = await freePort()
  const url = `http://localhost:${port}`
  const clientSecret = 'a-secret-of-this-test'
  const demo = await startDemo({ otherAppUrls: [url], clientSecret })
  const wrangler = await runWrangler(port, {
    CLIENT_SECRET: clientSecret,
    COATCHECK_CONFIG: configuration({
      'http://localhost:8787': url,
      'http://127.0.0.1:3010': demo.authorizationServer.issuer,
      'http://127.0.0.1:3020': demo.api.url,
    }),
  })
  try {
    await expect.poll(wrangler.printed, { timeout: 60_000 }).toMatch(/Ready on/)
    await signIn(page, { path: `${url}/orders` })
    expect(page.url()).toBe(`${url}/orders`)
    await expect(page.getByRole('list', { name: 'Orders' })).toBeVisible()
    expect((await whoami(page)).map(({ status }) => status)).toEqual([200])
    const cookies = await page.context().cookies(url)
    expect(cookies.filter(({ name }) => name.startsWith('coatcheck-worker')).every(({ httpOnly }) => httpOnly)).toBe(
      true,
    )
    expect(await page.evaluate(() => document.cookie)).toBe('')
    await signOutButton(page).click()
    await page.getByRole('main').getByRole('button', { name: 'Sign out' }).click()
    await expect(signInButton(page)).toBeVisible()
    expect((await whoami(page)).map(({ status }) => status)).toEqual([401])
  } finally {
    await wrangler.close()
    await demo.close()
  }
})

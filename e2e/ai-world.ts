// A language model and an MCP server behind coatcheck, the page that uses them, and everything that went to the browser.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test as base, expect, type Page } from 'playwright/test'
import type { Secret } from '../web-demo/authorization-server.ts'
import { buildPages } from '../web-demo/build.ts'
import { freePort } from '../web-demo/ports.ts'
import { type Demo, startDemo } from '../web-demo/start.ts'
import { fillLogin } from './demo.ts'
import { startMcpServer, type TestMcpServer } from './mcp-server.ts'
import { type Model, startModel } from './model.ts'
import { secretsIn } from './search.ts'
import { startWiretap } from './wiretap.ts'

export { expect } from 'playwright/test'

const sources = fileURLToPath(new URL('ai-app', import.meta.url))
const appDir = join(sources, '../dist')

/** Bundles the page with the SDK as an application would. */
export const buildAiApp = () => buildPages(sources, appDir)

export interface AiWorld extends Demo {
  readonly mcp: TestMcpServer
  readonly model: Model
  /** What the model's API is paid with. */
  readonly apiKey: string
}

/** Every test ends with the question whether a secret came to the browser. */
export const test = base.extend<{ accessTokenLifetime: number; world: AiWorld }>({
  accessTokenLifetime: [60, { option: true }],
  world: async ({ accessTokenLifetime }, use) => {
    const apiKey = `sk-${randomBytes(24).toString('base64url')}`
    const secrets: Secret[] = [{ kind: 'API key', value: apiKey }]
    const listen = await freePort()
    const wiretap = await startWiretap(listen)
    const [mcp, model] = await Promise.all([startMcpServer(), startModel()])
    const demo = await startDemo({
      ports: { app: wiretap.port, listen },
      accessTokenLifetime,
      onSecret: (secret) => secrets.push(secret),
      routes: [
        { path: '/api/mcp', upstream: `${mcp.url}/mcp`, token: 'user', csrf: 'header' },
        { path: '/api/llm', upstream: `${model.url}/v1`, token: { kind: 'static', value: apiKey } },
      ],
      spa: { dir: appDir, immutable: ['/assets/'] },
    })
    mcp.trust(demo.authorizationServer.issuer)
    await use({ ...demo, mcp, model, apiKey })
    expect(secretsIn(wiretap.received().join('\n'), secrets)).toEqual([])
    await Promise.all([mcp.close(), model.close()])
    await demo.close()
    await wiretap.close()
  },
  baseURL: async ({ world }, use) => use(world.url),
})

/** Signs in and comes back to the page. */
export async function signIn(page: Page): Promise<void> {
  await page.goto('/')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await fillLogin(page)
  await page.getByRole('button', { name: 'Allow' }).click()
  await isSignedIn(page)
}

/** Opens the page as somebody who is not signed in. */
export async function openSignedOut(page: Page): Promise<void> {
  await page.goto('/')
  await page.getByRole('button', { name: 'Sign out' }).waitFor({ state: 'detached' })
}

/** Waits for the page of somebody who is signed in. */
export async function isSignedIn(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Sign in' }).waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Sign out' }).waitFor()
}

import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { serve } from '../../src/node.ts'
import { createBrowser } from '../support/browser.ts'
import { sessionKey } from '../support/coatcheck.ts'
import { freePort } from '../support/http-server.ts'

let root: string

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'coatcheck-spa-'))
  await mkdir(join(root, 'dist/assets'), { recursive: true })
  await writeFile(join(root, 'secret.txt'), 'outside')
  await writeFile(join(root, 'dist/.env'), 'SECRET=1')
  await writeFile(join(root, 'dist/index.html'), '<h1>start page</h1>')
  await writeFile(join(root, 'dist/assets/app-1a2b.js'), 'console.log(1)')
  await symlink('nowhere', join(root, 'dist/broken'))
  return () => rm(root, { recursive: true })
})

async function start(spa: object = {}, publicUrl?: string) {
  const port = await freePort()
  const server = await serve(
    {
      publicUrl: publicUrl ?? `http://localhost:${port}`,
      listen: { port },
      session: { keys: [sessionKey()] },
      providers: [
        {
          id: 'main',
          issuer: 'https://as.invalid',
          clientId: 'app',
          clientAuth: { method: 'client_secret_basic', secret: 'x' },
        },
      ],
      spa: { dir: 'dist', immutable: ['/assets/'], ...spa },
    },
    { root, log: () => {} },
  )
  onTestFinished(() => server.close())
  return createBrowser(server.url)
}

describe('the single-page application', () => {
  test('is served with its security headers', async () => {
    const browser = await start()
    const answer = await browser.navigate('/')
    expect(answer.status).toBe(200)
    expect(answer.text).toBe('<h1>start page</h1>')
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'self'; object-src 'none'; base-uri 'self'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'same-origin',
      'cross-origin-opener-policy': 'same-origin-allow-popups',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-cache',
    })
    expect(answer.headers.get('strict-transport-security')).toBeNull()
  })

  test('is found where an absolute path says', async () => {
    const browser = await start({ dir: join(root, 'dist') })
    expect((await browser.navigate('/')).text).toBe('<h1>start page</h1>')
  })

  test('on https asks for https for a year', async () => {
    const browser = await start({}, 'https://app.example.com')
    expect((await browser.navigate('/')).headers.get('strict-transport-security')).toBe('max-age=31536000')
  })

  test('keeps what the operator says about frames', async () => {
    const browser = await start({ csp: "default-src 'self'; frame-ancestors https://portal.example" })
    const csp = (await browser.navigate('/')).headers.get('content-security-policy')
    expect(csp).toContain('frame-ancestors https://portal.example')
    expect(csp).not.toContain("frame-ancestors 'none'")
  })

  test('answers navigations to paths without a file with its start page, and anything else with 404', async () => {
    const browser = await start()
    expect((await browser.navigate('/orders/7?x=1')).text).toBe('<h1>start page</h1>')
    const missing = await browser.fetch('/orders/7')
    expect(missing.status).toBe(404)
    expect(missing.json().code).toBe('not_found')
    expect((await browser.fetch('/assets/gone.js')).status).toBe(404)
    expect((await browser.fetch('/', { method: 'POST' })).status).toBe(404)
  })

  test('lets hashed files be kept for good, and answers conditional requests', async () => {
    const browser = await start()
    const file = await browser.fetch('/assets/app-1a2b.js')
    expect(file.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect(file.headers.get('content-type')).toContain('javascript')
    const etag = file.headers.get('etag') ?? ''
    const again = await browser.fetch('/assets/app-1a2b.js', { headers: { 'if-none-match': etag } })
    expect(again.status).toBe(304)
    expect(again.text).toBe('')
  })

  test('answers HEAD and ranges', async () => {
    const browser = await start()
    const head = await browser.fetch('/assets/app-1a2b.js', { method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(head.headers.get('content-length')).toBe('14')
    const part = await browser.fetch('/assets/app-1a2b.js', { headers: { range: 'bytes=0-6' } })
    expect(part.status).toBe(206)
    expect(part.text).toBe('console')
    expect((await browser.fetch('/assets/app-1a2b.js', { headers: { range: 'bytes=99-' } })).status).toBe(416)
  })

  test.each([
    '/.env',
    '/assets/..%2f.env',
    '/..%2fsecret.txt',
    '/%2e%2e/secret.txt',
    '/broken',
    '/assets',
    '/assets/',
    '/index.html%00.js',
  ])('does not give away %s', async (path) => {
    const browser = await start()
    const answer = await browser.send(path, { headers: { accept: '*/*' } })
    expect([400, 404]).toContain(answer.status)
    expect(answer.text).not.toMatch(/SECRET|outside/)
  })
})

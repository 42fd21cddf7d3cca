// Attack: files beside the application: one folder up, hidden, or by a name that means something to the file system.
// R015
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { converse, head } from '../support/raw.ts'

async function start() {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-spa-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const dir = join(folder, 'dist')
  await mkdir(join(dir, 'assets', '.git'), { recursive: true })
  await mkdir(join(folder, 'dist-secret'))
  const files = {
    'dist/index.html': 'the start page',
    'dist/assets/app.js': 'the application',
    'dist/.env': 'SECRET',
    'dist/assets/.git/config': 'SECRET',
    'dist-secret/key.txt': 'SECRET',
    'secret.txt': 'SECRET',
  }
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  await symlink(join(folder, 'secret.txt'), join(dir, 'assets', '.link'))
  return startWorld({
    spa: { dir: relative('.', dir), fallback: 'index.html', immutable: [], csp: "default-src 'self'" },
  })
}

describe('R015 The folder of the application', () => {
  test('is never left, and what is hidden in it stays hidden', async () => {
    const { url } = await start()
    const ups = [
      '..',
      '%2e%2e',
      '.%2e',
      '..%2f..',
      '..%5c..',
      '..\\..',
      '%252e%252e',
      '..;',
      '%c0%ae%c0%ae',
      '..%00',
      '....',
      '%25%32%65%25%32%65',
    ]
    const paths = [
      ...ups.flatMap((up) => [
        `/${up}/secret.txt`,
        `/assets/${up}/${up}/secret.txt`,
        `/assets/${up}/.env`,
        `/${up}/dist-secret/key.txt`,
      ]),
      ...[
        '/.env',
        '/%2eenv',
        '/./.env',
        '//.env',
        '/assets/.git/config',
        '/assets/%2egit/config',
        '/assets/.link',
        '/assets//.git/config',
      ],
      ...[
        '/.env%00.js',
        '/.env?x=.js',
        '/.env/',
        '/-secret/key.txt',
        '/assets/..%2f.env',
        '//etc/passwd',
        '/file:///etc/passwd',
        '/etc/passwd',
      ],
      ...[
        '/proc/self/environ',
        '/%2fetc%2fpasswd',
        '/C:/secret.txt',
        '/\\secret.txt',
        '/con',
        '/nul',
        '/assets/app.js::$DATA',
        '/assets/app.js%20',
      ],
    ]
    const wrong: string[] = []
    for (const path of paths) {
      for (const accept of ['*/*', 'text/html']) {
        const [answer] = await converse(url, head(`GET ${path}`, [`Accept: ${accept}`, 'Connection: close']))
        const text = answer?.text ?? ''
        if (text.includes('SECRET') || text.includes('root:')) wrong.push(`${path} -> gives it away`)
        // For a navigation the start page is an answer to any path of the application.
        const isRefused = answer?.status === 400 || answer?.status === 404
        const isStartPage = accept === 'text/html' && answer?.status === 200 && text === 'the start page'
        if (!isRefused && !isStartPage) wrong.push(`${path} for ${accept} -> ${answer?.status} ${text}`)
      }
    }
    expectNone(wrong)
  })

  test('is read only: no method changes or lists it', async () => {
    const { url } = await start()
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND']) {
      const [answer] = await converse(url, head(`${method} /assets/app.js`, ['Content-Length: 0', 'Connection: close']))
      expect([400, 404, 405], method).toContain(answer?.status)
    }
    for (const path of ['/assets', '/assets/', '/assets/.git/']) {
      const [answer] = await converse(url, head(`GET ${path}`, ['Accept: */*', 'Connection: close']))
      expect(answer?.status, path).toBe(404)
    }
  })

  test('ranges beyond measure are one refusal, not many parts', async () => {
    const { url } = await start()
    const many = Array.from({ length: 1_000 }, (_, at) => `${at % 5}-`).join(',')
    for (const range of [many, '0-18446744073709551615', '-', '5-1', 'bytes', `${'9'.repeat(100)}-`]) {
      const [answer] = await converse(url, head('GET /assets/app.js', [`Range: bytes=${range}`, 'Connection: close']))
      expect([200, 206, 416], range.slice(0, 20)).toContain(answer?.status)
      expect(answer?.body.length, range.slice(0, 20)).toBeLessThanOrEqual('the application'.length)
    }
  })
})

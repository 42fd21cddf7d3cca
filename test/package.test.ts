// The package as its users get it: packed, installed into an empty project, run from there.
import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { exchange } from './support/browser.ts'
import { sessionKey } from './support/coatcheck.ts'
import { freePort } from './support/http-server.ts'

const run = promisify(execFile)
const bin = (name: string) => resolve('node_modules/.bin', name)

let project: string
let tarball: string

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'coatcheck-project-'))
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', project])
  tarball = join(project, JSON.parse(stdout.slice(stdout.indexOf('[')))[0].filename)
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }))
  // Linked as other package managers link: nothing is found that is not a dependency.
  const strictly = ['install', '--no-audit', '--no-fund', '--install-strategy=linked']
  await run('npm', [...strictly, tarball, 'hono@4.13.0'], { cwd: project })
  return () => rm(project, { recursive: true })
}, 300_000)

/** Runs a module in the project with the Node that runs this. */
async function runModule(source: string): Promise<string> {
  const file = join(project, `main-${Math.random()}.mjs`)
  await writeFile(file, source)
  return (await run(process.execPath, [file], { cwd: project })).stdout
}

describe('the packed package', () => {
  test('has nothing in it but what is published', async () => {
    const { stdout } = await run('tar', ['tzf', tarball])
    const folders = new Set(
      stdout
        .trim()
        .split('\n')
        .map((path) => path.split('/')[1]),
    )
    expect([...folders].sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'dist',
      'docs',
      'package.json',
      'schema',
    ])
  })

  test('serves by its command', async () => {
    const port = await freePort()
    const config = {
      publicUrl: `http://localhost:${port}`,
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
    }
    await writeFile(join(project, 'coatcheck.json'), JSON.stringify(config))
    const child = spawn(
      process.execPath,
      ['node_modules/coatcheck/dist/cli.js', 'serve', '--config', 'coatcheck.json'],
      { cwd: project },
    )
    onTestFinished(() => void child.kill('SIGKILL'))
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    await expect.poll(() => output).toContain('server.listening')
    expect((await exchange(new URL(`http://127.0.0.1:${port}/auth/session`), 'GET', {})).json()).toEqual({
      authenticated: false,
    })
  })

  test('says what to install for a store of type redis', async () => {
    const config = {
      publicUrl: 'http://localhost:3000',
      session: { keys: [sessionKey()] },
      store: { type: 'redis', url: 'redis://127.0.0.1:9' },
      providers: [
        {
          id: 'main',
          issuer: 'https://as.invalid',
          clientId: 'app',
          clientAuth: { method: 'client_secret_basic', secret: 'x' },
        },
      ],
    }
    await writeFile(join(project, 'redis.json'), JSON.stringify(config))
    const command = ['node_modules/coatcheck/dist/cli.js', 'serve', '--config', 'redis.json']
    const { code, stderr } = await run(process.execPath, command, { cwd: project }).catch((error) => error)
    expect(code).toBe(1)
    expect(stderr).toBe(
      'coatcheck cannot start: A store of type redis needs the package redis, which is not installed: npm install redis@6\n',
    )
  })

  test('has a command that npm links', async () => {
    const { stdout } = await run(join(project, 'node_modules/.bin/coatcheck'), ['keys'], {
      env: { ...process.env, PATH: `${resolve('node_modules/.bin')}:${process.env.PATH}` },
    })
    expect(stdout).toMatch(/^1:[\w-]{43}\n/)
  })

  test('works as a library', async () => {
    const output = await runModule(`
      import { createCoatcheck, defineConfig, ConfigError } from 'coatcheck'
      import { serve } from 'coatcheck/node'
      import { createClient } from 'coatcheck/client'
      const config = defineConfig({
        publicUrl: 'https://app.example.com',
        session: { keys: ['${sessionKey()}'] },
        providers: [{ id: 'main', issuer: 'https://as.invalid', clientId: 'app', clientAuth: { method: 'client_secret_basic', secret: 'x' } }],
      })
      const app = createCoatcheck(config)
      const answer = await app.request('https://app.example.com/auth/session')
      let mistakes = 0
      try { createCoatcheck({}) } catch (error) { if (error instanceof ConfigError) mistakes = error.mistakes.length }
      console.log(JSON.stringify([await answer.json(), mistakes, typeof serve, typeof createClient]))
    `)
    expect(JSON.parse(output)).toEqual([{ authenticated: false }, 3, 'function', 'function'])
  })

  test('has types that a strict project compiles with', async () => {
    const source = `
      import { createCoatcheck, defineConfig, type Coatcheck, type SessionInfo } from 'coatcheck'
      import { serve, type RunningServer } from 'coatcheck/node'
      import { createClient } from 'coatcheck/client'
      import { Hono } from 'hono'
      const config = defineConfig({ publicUrl: '', session: { keys: [] }, providers: [] })
      export const app: Coatcheck = createCoatcheck(config)
      export const own = new Hono().get('/hello', (c) => c.text('hello')).route('/', app)
      export const server: Promise<RunningServer> = serve(config)
      export const info: Promise<SessionInfo> = createClient().session()
      // @ts-expect-error a setting that does not exist
      defineConfig({ publicUrl: '', session: { keys: [] }, providers: [], colour: 'red' })
    `
    await writeFile(join(project, 'types.ts'), source)
    const flags = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', '--types', '']
    await run(
      bin('tsc'),
      [
        ...flags,
        '--module',
        'nodenext',
        '--target',
        'es2024',
        '--lib',
        'es2024,dom,dom.iterable,esnext.disposable',
        'types.ts',
      ],
      {
        cwd: project,
      },
    ).catch((error) => expect.fail(error.stdout))
  })

  test('publishes its schema', async () => {
    const schema = JSON.parse(
      await readFile(join(project, 'node_modules/coatcheck/schema/coatcheck.schema.json'), 'utf8'),
    )
    expect(schema.properties.routes.items.required).toContain('token')
  })

  test('satisfies publint', async () => {
    const { stdout } = await run(bin('publint'), ['--strict', tarball])
    expect(stdout).toContain('All good!')
  })

  test('satisfies arethetypeswrong', async () => {
    await run(bin('attw'), ['--profile', 'esm-only', tarball]).catch((error) => expect.fail(error.stdout))
  })
})

import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { exchange } from '../support/browser.ts'
import { sessionKey } from '../support/coatcheck.ts'
import { coatcheck, simpleConfig as config, fileWith } from '../support/command.ts'
import { closeAfterTest, freePort, listen } from '../support/http-server.ts'

const env = { COATCHECK_KEY: sessionKey() }

describe('coatcheck serve', () => {
  test.each(['warn', 'silent'])('says that it listens also with log.level %s', async (level) => {
    const document = { ...config(await freePort()), log: { level } }
    const run = coatcheck(['serve', '--config', await fileWith(JSON.stringify(document))], env)
    await expect.poll(run.stdout).toContain('"event":"server.listening"')
  })

  test('takes a module that imports defineConfig, and a file that begins with a byte order mark', async () => {
    const document = JSON.stringify(config(await freePort()))
    const module = await fileWith(
      `import { defineConfig } from 'coatcheck'\nexport default defineConfig(${document})`,
      'coatcheck.config.ts',
    )
    const marked = await fileWith(`\ufeff${document}`)
    for (const file of [module, marked]) {
      const run = coatcheck(['check', '--config', file], env)
      expect([await run.exit, run.stderr()]).toEqual([0, ''])
    }
  })

  test('tells also what only a look at this machine shows, whatever else is wrong', async () => {
    const file = await fileWith(JSON.stringify({ ...config(1), publicUrl: 'ftp://x', spa: { dir: 'nope' } }))
    const run = coatcheck(['check', '--config', file], { ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0' })
    expect(await run.exit).toBe(2)
    expect(run.stderr()).toContain('3 mistakes')
    expect(run.stderr()).toMatch(/publicUrl: .*spa\.dir: no such folder.*NODE_TLS_REJECT_UNAUTHORIZED: /s)
  })

  test.each(['../outside.txt', 'folder'])('refuses %s as the start page', async (fallback) => {
    const file = await fileWith(JSON.stringify({ ...config(1), spa: { dir: 'app', fallback } }))
    await mkdir(join(dirname(file), 'app', 'folder'), { recursive: true })
    await writeFile(join(dirname(file), 'outside.txt'), 'x')
    const run = coatcheck(['check', '--config', file], env)
    expect(await run.exit).toBe(2)
    expect(run.stderr()).toContain('spa.fallback: no such file in spa.dir')
  })

  test('says first, as JSON, where it listens, although the authorization server is away', async () => {
    const port = await freePort()
    const run = coatcheck(['serve', '--config', await fileWith(JSON.stringify(config(port)))], env)
    await expect.poll(run.stdout).toContain('\n')
    const first = JSON.parse(run.stdout().split('\n')[0] ?? '')
    expect(first).toMatchObject({ event: 'server.listening', url: `http://127.0.0.1:${port}`, level: 'info' })
    expect((await exchange(new URL('/healthz', first.url), 'GET', {})).status).toBe(200)
    const ready = await exchange(new URL('/readyz', first.url), 'GET', {})
    expect(ready.status).toBe(503)
    expect(ready.json()).toEqual({ status: 'not ready', missing: ['provider main'] })
  })

  test('on SIGTERM finishes what is in flight, then exits with 0', async () => {
    let finish = () => {}
    let asked = false
    const upstream = closeAfterTest(
      await listen((_, response) => {
        asked = true
        finish = () => response.end('done')
      }),
    )
    const port = await freePort()
    const run = coatcheck(['serve', '--config', await fileWith(JSON.stringify(config(port, upstream.url)))], env)
    await expect.poll(run.stdout).toContain('server.listening')
    const inFlight = exchange(new URL(`http://127.0.0.1:${port}/api`), 'GET', { 'x-csrf': '1' })
    await expect.poll(() => asked).toBe(true)
    run.kill('SIGTERM')
    await expect.poll(run.stdout).toContain('server.stopping')
    const late = exchange(new URL(`http://127.0.0.1:${port}/healthz`), 'GET', {})
    await expect(late).rejects.toThrow('ECONNREFUSED')
    // Managers of processes ask again, and the whole group.
    run.kill('SIGTERM')
    run.kill('SIGTERM')
    await expect(exchange(new URL(`http://127.0.0.1:${port}/healthz`), 'GET', {})).rejects.toThrow('ECONNREFUSED')
    finish()
    expect((await inFlight).text).toBe('done')
    expect(await run.exit).toBe(0)
    expect(run.stdout()).toContain('server.stopped')
  })

  test('on a second SIGINT ends at once: a person pressed the keys again', async () => {
    let asked = false
    const upstream = closeAfterTest(
      await listen(() => {
        asked = true
      }),
    )
    const port = await freePort()
    const run = coatcheck(['serve', '--config', await fileWith(JSON.stringify(config(port, upstream.url)))], env)
    await expect.poll(run.stdout).toContain('server.listening')
    exchange(new URL(`http://127.0.0.1:${port}/api`), 'GET', { 'x-csrf': '1' }).catch(() => {})
    await expect.poll(() => asked).toBe(true)
    run.kill('SIGINT')
    await expect.poll(run.stdout).toContain('server.stopping')
    run.kill('SIGINT')
    expect(await run.exit).toBe(null)
  })

  test('refuses a wrong configuration before it listens: every mistake, exit 2', async () => {
    const wrong = { ...config(0), publicUrl: 'http://example.com', colour: 'red' }
    const run = coatcheck(['serve', '--config', await fileWith(JSON.stringify(wrong))])
    expect(await run.exit).toBe(2)
    expect(run.stdout()).toBe('')
    expect(run.stderr().split('\n').slice(0, 4)).toEqual([
      'The configuration has 3 mistakes:',
      '  session.keys[0]: environment variable COATCHECK_KEY is not set',
      '  publicUrl: must be https (http only on loopback)',
      '  colour: is not a setting',
    ])
  })

  test('without a configuration says how to get one, and starts nothing', async () => {
    const run = coatcheck(['serve'])
    expect(await run.exit).toBe(2)
    expect(run.stderr()).toContain('coatcheck serve needs a configuration: --config FILE')
    expect(run.stderr()).toContain('"publicUrl"')
  })

  test('exits with 1 when the address is taken', async () => {
    const taken = closeAfterTest(await listen(() => {}))
    const run = coatcheck(['serve', '--config', await fileWith(JSON.stringify(config(taken.port)))], env)
    expect(await run.exit).toBe(1)
    expect(run.stderr()).toContain('coatcheck cannot start: listen EADDRINUSE')
  })
})

describe('coatcheck check', () => {
  test('accepts JSON with comments', async () => {
    const file = await fileWith(`// mine\n${JSON.stringify(config(0))}`)
    const run = coatcheck(['check', '--config', file], env)
    expect(await run.exit).toBe(0)
    expect(run.stdout()).toContain('the configuration is good')
  })

  test('accepts a TypeScript module that exports defineConfig()', async () => {
    const index = new URL('../../src/index.ts', import.meta.url).href
    const source = `import { defineConfig } from '${index}'\nexport default defineConfig(${JSON.stringify(config(0))} as const)`
    const run = coatcheck(['check', '--config', await fileWith(source, 'coatcheck.config.ts')], env)
    expect(run.stderr() + (await run.exit)).toBe('0')
  })

  test.each([
    ['no file', 'nowhere.json', 'nowhere.json: no such file'],
    ['no JSON', undefined, 'is not valid JSON (line 1 column 3)'],
  ])('says so when there is %s', async (_, path, message) => {
    const run = coatcheck(['check', '--config', path ?? (await fileWith('{ S3CR3T }'))], env)
    expect(await run.exit).toBe(2)
    expect(run.stderr()).toContain(message)
    expect(run.stderr()).not.toContain('S3CR3T')
  })

  test('finds a folder of the application that is not there', async () => {
    const run = coatcheck(
      ['check', '--config', await fileWith(JSON.stringify({ ...config(0), spa: { dir: 'dist' } }))],
      env,
    )
    expect(await run.exit).toBe(2)
    expect(run.stderr()).toContain('spa.dir: no such folder')
  })
})

describe('coatcheck keys', () => {
  test('prints a key that a configuration accepts, and how to rotate', async () => {
    const run = coatcheck(['keys', '--number', '7'])
    expect(await run.exit).toBe(0)
    const [key = ''] = run.stdout().split('\n')
    expect(key).toMatch(/^7:[\w-]{43}$/)
    expect(run.stdout()).toContain('To rotate')
    const check = coatcheck(['check', '--config', await fileWith(JSON.stringify(config(0)))], { COATCHECK_KEY: key })
    expect(await check.exit).toBe(0)
  })
})

test.each([[[]], [['dance']], [['serve', '--nope']]])(
  'coatcheck %j prints its usage and exits with 2',
  async (args) => {
    const run = coatcheck(args)
    expect(await run.exit).toBe(2)
    expect(run.stderr()).toContain('Usage:')
  },
)

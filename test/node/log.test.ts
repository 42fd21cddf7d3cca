// The log of `coatcheck serve` is read by somebody else: slowly, not at all, or into a disk that is full.
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { connect } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { exchange } from '../support/browser.ts'
import { sessionKey } from '../support/coatcheck.ts'
import { type Command, coatcheck, fileWith, simpleConfig } from '../support/command.ts'
import { closeAfterTest, freePort, listen } from '../support/http-server.ts'

/** `coatcheck serve` before an upstream that answers. */
async function serving(
  stdout?: number | 'terminal',
): Promise<{ run: Command; port: number; call: () => Promise<number> }> {
  const upstream = closeAfterTest(await listen((_, response) => response.end('here')))
  const port = await freePort()
  const file = await fileWith(JSON.stringify(simpleConfig(port, upstream.url)))
  const run = coatcheck(['serve', '--config', file], { COATCHECK_KEY: sessionKey() }, stdout)
  const get = (path: string) => exchange(new URL(`http://127.0.0.1:${port}${path}`), 'GET', { 'x-csrf': '1' })
  await expect
    .poll(
      () =>
        get('/healthz')
          .then(({ status }) => status)
          .catch(() => 0),
      { timeout: 10_000 },
    )
    .toBe(200)
  return { run, port, call: async () => (await get('/api')).status }
}

/** Sends requests that are refused, and so told, until so many are answered. */
async function sendRefused(port: number, count: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  const some = 'GET /%2e%2e/ HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(500)
  const status = 'HTTP/1.1 400'
  let rest = ''
  let answered = 0
  socket.on('data', (chunk) => {
    const text = rest + chunk.toString('latin1')
    const parts = text.split(status)
    answered += parts.length - 1
    rest = (parts.at(-1) ?? '').slice(-status.length + 1)
  })
  for (let sent = 0; sent < count; sent += 500) {
    socket.write(some)
    while (answered < sent + 500) await once(socket, 'data')
  }
}

const events = (text: string): { event: string; lines?: number }[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

describe('coatcheck goes on serving', () => {
  test('while nobody reads the log: memory is bounded, and how many lines are missing is told afterwards', async () => {
    const { run, port, call } = await serving()
    run.reader?.pause()
    await sendRefused(port, 40_000)
    expect(await call()).toBe(200)
    run.reader?.resume()
    await expect.poll(run.stdout, { timeout: 10_000 }).toContain('log.incomplete')
    const told = events(run.stdout())
    const lost = told.reduce((sum, { lines = 0 }) => sum + lines, 0)
    expect(lost).toBeGreaterThan(10_000)
    const written = told.filter(({ event }) => event === 'request.refused' || event === 'request.forwarded').length
    expect(written + lost).toBe(40_001)
    // And what comes now is written again.
    await sendRefused(port, 500)
    await expect.poll(() => events(run.stdout()).length).toBe(told.length + 500)
  })

  test('while nobody reads the log for a while, and loses none of it, also when it is told to stop meanwhile', async () => {
    const { run, port } = await serving()
    run.reader?.pause()
    await sendRefused(port, 2_000)
    run.kill('SIGTERM')
    const health = () => exchange(new URL(`http://127.0.0.1:${port}/healthz`), 'GET', {})
    await expect.poll(() => health().catch(({ code }) => code), { interval: 10 }).toBe('ECONNREFUSED')
    run.reader?.resume()
    expect(await run.exit).toBe(0)
    await expect.poll(() => run.reader?.readableEnded).toBe(true)
    const told = events(run.stdout()).map(({ event }) => event)
    expect(told.filter((event) => event === 'request.refused')).toHaveLength(2_000)
    expect(told.at(-1)).toBe('server.stopped')
  })

  test('while the terminal that the log goes to stands still', async () => {
    const { run, port, call } = await serving('terminal')
    run.reader?.pause()
    await sendRefused(port, 5_000)
    expect(await call()).toBe(200)
    run.reader?.resume()
    await expect.poll(() => events(run.stdout()).length).toBeGreaterThanOrEqual(5_002)
  })

  test('and ends when it is told to, although nobody reads the log', async () => {
    const { run, port } = await serving()
    run.reader?.pause()
    await sendRefused(port, 2_000)
    run.kill('SIGTERM')
    expect(await run.exit).toBe(0)
  })

  test('when whoever read the log is gone', async () => {
    const { run, port, call } = await serving()
    run.reader?.destroy()
    await sendRefused(port, 2_000)
    expect(await call()).toBe(200)
    run.kill('SIGTERM')
    expect(await run.exit).toBe(0)
    expect(run.stderr()).toBe('')
  })

  test('when the disk that the log goes to is full', async () => {
    const full = await open('/dev/full', 'w')
    onTestFinished(() => full.close())
    const { run, port, call } = await serving(full.fd)
    await sendRefused(port, 2_000)
    expect(await call()).toBe(200)
    run.kill('SIGTERM')
    expect(await run.exit).toBe(0)
    expect(run.stderr()).toBe('')
  })
})

// A gigabyte in each direction, through a coatcheck that is a process of its own, so that its memory can be looked at.
import { readFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import { describe, expect, inject, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { runtime, sessionKey, testOn } from '../support/coatcheck.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { closeAfterTest, freePort, listen } from '../support/http-server.ts'
import { startSecureUpstream } from '../support/secure-upstream.ts'
import { startWorkerd } from '../support/workerd-process.ts'

const gigabyte = 1_073_741_824
const piece = Buffer.alloc(262_144, 'x')
/** What may come on top of an idle process. A body that is kept anywhere would show by its hundreds. */
const most = 150_000_000

/** Writes so many bytes at the speed of whoever reads. */
function fill(stream: Writable, size: number): void {
  let left = size
  const more = () => {
    while (left > 0) {
      left -= piece.length
      if (!stream.write(piece)) break
    }
    if (left <= 0) stream.end()
    else stream.once('drain', more)
  }
  more()
}

function sizeOf(stream: Readable): Promise<number> {
  let length = 0
  stream.on('data', (chunk) => {
    length += chunk.length
  })
  return new Promise((resolve, reject) => stream.on('end', () => resolve(length)).on('error', reject))
}

/** The most memory that a process ever had, in bytes. */
function peak(pid: number | undefined): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1_024
}

function configFor(port: number, upstream: string, ca?: string): ConfigInput {
  return {
    publicUrl: `http://app.localhost:${port}`,
    listen: { port },
    session: { keys: [sessionKey()] },
    providers: [
      {
        id: 'main',
        issuer: 'http://127.0.0.1:9',
        clientId: 'app',
        clientAuth: { method: 'client_secret_basic', secret: 'x' },
        allowInsecureRequests: true,
      },
    ],
    routes: [{ path: '/api', upstream, token: 'none', bodyLimit: '2GB', ...(ca !== undefined && { tls: { ca } }) }],
  }
}

async function start(config: ConfigInput): Promise<{ url: string; pid: number | undefined }> {
  const port = Number(config.listen?.port)
  if (runtime === 'workerd') {
    const bindings = [`(name = "COATCHECK_CONFIG", json = ${JSON.stringify(JSON.stringify(config))})`]
    return closeAfterTest(await startWorkerd({ bundle: inject('workerBundle'), module: 'worker.js', port, bindings }))
  }
  // A heap in which no body has room.
  const env = { NODE_OPTIONS: '--max-old-space-size=64' }
  const command = coatcheck(['serve', '--config', await fileWith(JSON.stringify(config))], env)
  await expect.poll(command.stdout, { timeout: 15_000 }).toContain('server.listening')
  return { url: `http://127.0.0.1:${port}`, pid: command.pid }
}

function send(url: string, method: string, headers: Record<string, string | number>) {
  const request = httpRequest(new URL('/api/large', url), {
    method,
    agent: false,
    headers: { 'x-csrf': '1', ...headers },
  })
  const answer = new Promise<IncomingMessage>((resolve, reject) => request.on('response', resolve).on('error', reject))
  return { request, answer }
}

/** Answers GET with so many bytes, and everything else with the length of what came. */
async function answer(
  request: Readable & { method?: string | undefined },
  response: ServerResponse,
  size: number,
  method = request.method,
): Promise<void> {
  if (method === 'GET') {
    response.writeHead(200, { 'content-length': size })
    fill(response, size)
  } else response.end(String(await sizeOf(request)))
}

// Where tokens are kept makes no difference to this, and once is long enough.
describe('A gigabyte', { timeout: 180_000 }, () => {
  async function transfer(config: ConfigInput, size: number): Promise<void> {
    const { url, pid } = await start(config)
    const before = peak(pid)

    const down = send(url, 'GET', {})
    down.request.end()
    expect(await sizeOf(await down.answer)).toBe(size)
    expect(peak(pid) - before, 'after the download').toBeLessThan(most)

    const up = send(url, 'POST', { 'content-length': size })
    fill(up.request, size)
    expect((await (await up.answer).toArray()).join('')).toBe(String(size))
    expect(peak(pid) - before, 'after the upload').toBeLessThan(most)
  }

  test('goes down and up in flat memory', async () => {
    const api = closeAfterTest(
      await listen((request, response) => void answer(request, response, gigabyte).catch(() => {})),
    )
    await transfer(configFor(await freePort(), api.url), gigabyte)
  })

  testOn('node')('or a quarter of one goes down and up over HTTP/2 in flat memory', async () => {
    const size = gigabyte / 4
    const api = closeAfterTest(await startSecureUpstream({ settings: { initialWindowSize: 1_048_576 } }))
    api.answer = (request, response) =>
      void answer(request.stream, response as never, size, request.method).catch(() => {})
    await transfer(configFor(await freePort(), api.url, api.certificate.cert), size)
  })
})

// Attack: requests and answers that are small, or never end, and become hundreds of megabytes in whoever unpacks or keeps
// them. R511 R516 R517
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { runtime, testOn } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { type Measured, startMeasured } from '../support/measured.ts'
import { ask, converse, fromPage, head, openConnection } from '../support/raw.ts'
import { type RawUpstream, startRawUpstream } from '../support/raw-upstream.ts'
import { passed } from '../support/time.ts'
import { startUpstream } from '../support/upstream.ts'

const MB = 1_024 * 1_024
/** What buffers of connections and garbage may add. Every attack below is several times as large. */
const flat = 112
/** Each attack takes a few seconds, and needs a process of its own. */
const slow = { timeout: 60_000 }

async function world(heap?: number) {
  const as = closeAfterTest(await startAuthorizationServer())
  const api = closeAfterTest(await startUpstream())
  const raw = closeAfterTest(await startRawUpstream())
  const measured = await startMeasured(
    as,
    [
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none', bodyLimit: '2000MB' },
      { path: '/api/raw', upstream: raw.url, token: 'none', timeout: '500ms' },
      { path: '/api/gone', upstream: 'http://127.0.0.1:9', token: 'none' },
    ],
    heap,
  )
  // Until everything is compiled, and the heap has its size.
  await atOnce(400, (index) => ask(measured.url, `GET /api/open/${index}`))
  return { api, raw, ...measured }
}

async function atOnce(count: number, work: (index: number) => Promise<unknown>, lanes = 20): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

/** The memory of the process stays what it was, and the next call is answered. */
async function expectFlat({ growthDuring, url }: Measured, what: string, work: () => Promise<unknown>): Promise<void> {
  const growth = await growthDuring(work)
  expect(Math.round(growth / MB), `MB more: ${what}`).toBeLessThan(flat)
  expect((await ask(url, 'GET /api/open/alive')).status, `after ${what}`).toBe(200)
}

test(
  'R517 answers that unpack to half a gigabyte or more are passed on packed, in the memory of their packed size',
  slow,
  async () => {
    const { api, ...measured } = await world()
    const member = gzipSync(Buffer.alloc(64 * MB))
    const quick = { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } }
    const bombs = {
      // A file of several members is one stream to whoever unpacks it.
      gzip: Buffer.concat(Array.from({ length: 16 }, () => member)),
      br: brotliCompressSync(Buffer.alloc(512 * MB), quick),
    }
    for (const [coding, bomb] of Object.entries(bombs)) {
      for (const length of [{ 'content-length': bomb.length }, {}]) {
        api.answer = (_, response) => response.writeHead(200, { 'content-encoding': coding, ...length }).end(bomb)
        await expectFlat(measured, coding, () =>
          atOnce(20, async () => {
            const answer = await ask(measured.url, 'GET /api/open/x', ['Accept-Encoding: gzip, br'])
            expect(answer.headers.get('content-encoding')).toBe(coding)
            expect(answer.body.equals(bomb)).toBe(true)
          }),
        )
      }
    }
  },
)

// workerd has no setting for how much its garbage may grow.
testOn('node')('R511 header names of 60 KB, each another one, are forgotten', slow, async () => {
  const measured = await world(48)
  await expectFlat(measured, 'names', () =>
    atOnce(900, async (index) => {
      const name = `x${index}${'n'.repeat(60_000)}`
      const [answer] = await converse(
        measured.url,
        head('GET /api/gone', [...fromPage, `${name}: y`, 'Connection: close']),
      )
      expect(answer?.status).toBe(502)
    }),
  )
})

/** A few at a time: what one such call may take is bounded, and not what is asked here. */
const severalTimes = (work: () => Promise<unknown>) => atOnce(8, work, 4)

/** Pours the same bytes for as long as they are taken, up to a bound so that a test ends whatever happens. */
function pouring(start: string, more: string): RawUpstream['answer'] {
  const bytes = Buffer.from(more)
  let left = 300 * MB
  return (socket) => {
    const pour = () => {
      while (!socket.destroyed && left > 0) {
        left -= bytes.length
        if (!socket.write(bytes)) return void socket.once('drain', pour)
      }
      return socket.destroy()
    }
    socket.write(start)
    pour()
  }
}

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
const endless: Record<string, readonly [start: string, more: string]> = {
  'heads of large lines': ['HTTP/1.1 200 OK\r\n', `X: ${'x'.repeat(16_000)}\r\n`],
  'heads of small lines': ['HTTP/1.1 200 OK\r\n', 'X: y\r\n'.repeat(2_000)],
  'lines without an end': ['HTTP/1.1 200 OK\r\nX: ', 'x'.repeat(16_000)],
  'status lines without an end': ['HTTP/1.1 200 ', 'x'.repeat(16_000)],
  'small 1xx answers': ['', 'HTTP/1.1 102 Processing\r\nX: y\r\n\r\n'.repeat(400)],
  'large 1xx answers': ['', `HTTP/1.1 103 Early Hints\r\nLink: <${'x'.repeat(15_000)}>\r\n\r\n`],
  trailers: [`${chunked}0\r\n`, `X: ${'x'.repeat(16_000)}\r\n`],
  'chunk extensions': [`${chunked}5;`, 'x'.repeat(16_000)],
  'chunks of one byte': [chunked, '1\r\nx\r\n'.repeat(2_000)],
}

test('R516 what an upstream never ends is not kept: heads, 1xx answers, trailers, chunks', slow, async () => {
  const { raw, ...measured } = await world()
  for (const [what, [start, more]] of Object.entries(endless)) {
    // workerd reads a flood of small 1xx answers without ever looking up: to anybody else, too, it says nothing meanwhile.
    if (runtime === 'workerd' && what === 'small 1xx answers') continue
    raw.answer = pouring(start, more)
    await expectFlat(measured, what, () =>
      severalTimes(async () => {
        const connection = openConnection(measured.url)
        connection.send(head('GET /api/raw/x', [...fromPage, 'Connection: close']))
        const answer = await Promise.race([connection.answer().catch(() => undefined), passed(1_000)])
        connection.close()
        if (answer) expect([200, 502, 504], what).toContain(answer.status)
      }),
    )
  }
})

test('R511 what a browser never ends is not kept: heads, trailers, chunk extensions', slow, async () => {
  const { api, ...measured } = await world()
  const post = head('POST /api/open/x', [...fromPage, 'Transfer-Encoding: chunked'])
  const pours: Record<string, readonly [start: string, more: string]> = {
    'a request line': ['GET /api/open/', 'x'.repeat(16_000)],
    'a head of large lines': ['GET /api/open/x HTTP/1.1\r\n', `X: ${'x'.repeat(16_000)}\r\n`],
    'a head of small lines': ['GET /api/open/x HTTP/1.1\r\n', 'X: y\r\n'.repeat(2_000)],
    'a line': ['GET /api/open/x HTTP/1.1\r\nX: ', 'x'.repeat(16_000)],
    trailers: [`${post}0\r\n`, `X: ${'x'.repeat(16_000)}\r\n`],
    'a chunk extension': [`${post}5;`, 'x'.repeat(16_000)],
    'empty lines': ['', '\r\n'.repeat(8_000)],
  }
  for (const [what, [start, more]] of Object.entries(pours)) {
    const before = api.requests.length
    await expectFlat(measured, what, () =>
      severalTimes(async () => {
        const connection = openConnection(measured.url)
        const pour = pouring(start, more)
        pour(connection.socket, '')
        const answer = await Promise.race([connection.answer().catch(() => undefined), passed(1_000)])
        connection.close()
        if (answer) expect([400, 413, 414, 431, 502], what).toContain(answer.status)
      }),
    )
    const whole = api.requests
      .slice(before)
      .filter(({ target, body }) => !/alive/.test(target) && String(body) !== 'broken off')
    expect(
      whole.map(({ target }) => target),
      what,
    ).toEqual([])
  }
})

test('R516 bodies that nobody reads are held back, from the upstream and from the browser', slow, async () => {
  const { api, ...measured } = await world()
  const block = Buffer.alloc(MB, 'x')
  const pour = (socket: NodeJS.WritableStream) => {
    let left = 60
    const more = () => {
      while (left-- > 0) if (!socket.write(block)) return void socket.once('drain', more)
    }
    more()
  }
  /** Twenty browsers with 60 MB each: until nothing moves any more. */
  async function held(line: string, headers: readonly string[], upload: boolean) {
    const connections = Array.from({ length: 20 }, () => openConnection(measured.url))
    for (const { socket, send } of connections) {
      socket.pause()
      send(head(line, [...fromPage, ...headers]))
      if (upload) pour(socket)
    }
    await passed(2_500)
    for (const { close } of connections) close()
    api.answer = (_, response) => response.end()
  }
  api.readsBody = false
  api.answer = (_, response) => pour(response)
  await expectFlat(measured, 'downloads', () => held('GET /api/open/x', [], false))
  api.answer = () => {}
  await expectFlat(measured, 'uploads', () => held('POST /api/open/x', [`Content-Length: ${60 * MB}`], true))
})

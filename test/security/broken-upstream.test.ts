// Attack: an upstream that does not keep to HTTP: garbage, silence, resets, answers nobody asked for, endless heads.
// R514 R516 R523 R529 R632
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runtime, testOn } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { converse, fromPage, head, openConnection } from '../support/raw.ts'
import { type RawUpstream, startRawUpstream } from '../support/raw-upstream.ts'
import { sharedWorld } from '../support/shared-world.ts'

let upstream: RawUpstream
beforeAll(async () => {
  upstream = await startRawUpstream()
})
afterAll(() => upstream.close())

const ok = (body = 'good', ...headers: string[]) =>
  ['HTTP/1.1 200 OK', `Content-Length: ${body.length}`, ...headers, '', body].join('\r\n')

/**
 * What becomes of one call: `status`, or `cut` when the connection ended before the answer was whole. A time-out of the
 * route is one second; whatever takes longer than a few hangs.
 */
async function outcome(
  url: string,
  line = 'GET /api/open/x',
): Promise<{ told: string; code: string; text: string; took: number }> {
  const connection = openConnection(url)
  const start = performance.now()
  connection.send(head(line, [...fromPage, 'Connection: close']))
  const answer = await connection.answer(line.startsWith('HEAD') ? 'HEAD' : undefined).catch((error: Error) => error)
  connection.close()
  const took = performance.now() - start
  if (answer instanceof Error) return { told: 'hangs', code: '', text: answer.message, took }
  if (!answer) return { told: 'cut', code: '', text: connection.received(), took }
  return { told: String(answer.status), code: answer.headers.get('coatcheck-error') ?? '', text: answer.text, took }
}

describe('R632 An upstream that does not keep to HTTP', () => {
  const shared = sharedWorld(() => ({
    routes: [{ path: '/api/open', upstream: upstream.url, token: 'none', timeout: '1s' }],
  }))

  /** Every entry: what the upstream sends, and what the browser may get. The next, proper, call must work. */
  async function check(
    entries: Record<string, { sends: RawUpstream['answer'] | string; allowed: readonly string[]; line?: string }>,
  ) {
    const { url, events } = shared()
    const wrong: string[] = []
    for (const [name, { sends, allowed, line }] of Object.entries(entries)) {
      upstream.answer = typeof sends === 'string' ? (socket) => void socket.end(Buffer.from(sends, 'latin1')) : sends
      const { told, code, text, took } = await outcome(url, line)
      const seen = code === '' ? told : `${told} ${code}`
      if (!allowed.includes(seen)) wrong.push(`${name} -> ${seen} ${JSON.stringify(text.slice(0, 300))}`)
      if (took > 5_000) wrong.push(`${name} -> took ${Math.round(took)} ms`)
      if (code !== '' && /SECRET/.test(text)) wrong.push(`${name} -> quotes the upstream`)
      upstream.answer = (socket) => void socket.write(ok())
      const next = await outcome(url)
      if (next.told !== '200' || next.text !== 'good')
        wrong.push(`${name} -> the next call is ${next.told} ${next.text}`)
    }
    expectNone(wrong)
    expect(events().filter(({ event }) => event === 'internal.error')).toEqual([])
  }

  const refused = ['502 upstream_invalid', '502 upstream_unreachable']

  test('R523 garbage for a head is 502 in our own words', async () => {
    await check({
      'no HTTP at all': { sends: 'SECRET\r\n\r\n', allowed: refused },
      'HTTP/0.9': { sends: '<html>SECRET</html>', allowed: refused },
      'another protocol': { sends: 'SSH-2.0-SECRET\r\n', allowed: refused },
      'HTTP/2 settings': { sends: '\x00\x00\x00\x04\x00\x00\x00\x00\x00', allowed: refused },
      'TLS alert': { sends: '\x15\x03\x01\x00\x02\x02\x46', allowed: refused },
      'version 3.0': { sends: 'HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n', allowed: [...refused, '200'] },
      'no status': { sends: 'HTTP/1.1 OK SECRET\r\nContent-Length: 0\r\n\r\n', allowed: refused },
      'status 000': { sends: 'HTTP/1.1 000 SECRET\r\nContent-Length: 0\r\n\r\n', allowed: refused },
      'status 99': { sends: 'HTTP/1.1 99 SECRET\r\nContent-Length: 0\r\n\r\n', allowed: refused },
      'status 1000': { sends: 'HTTP/1.1 1000 SECRET\r\nContent-Length: 0\r\n\r\n', allowed: refused },
      'status -1': { sends: 'HTTP/1.1 -1 SECRET\r\nContent-Length: 0\r\n\r\n', allowed: refused },
      'status 999': { sends: 'HTTP/1.1 999 SECRET\r\nContent-Length: 0\r\n\r\n', allowed: [...refused, '999'] },
      'status 600': { sends: 'HTTP/1.1 600 SECRET\r\nContent-Length: 0\r\n\r\n', allowed: [...refused, '600'] },
      'a space in a name': { sends: 'HTTP/1.1 200 OK\r\nX SECRET: y\r\nContent-Length: 0\r\n\r\n', allowed: refused },
      'a line without a colon': { sends: 'HTTP/1.1 200 OK\r\nSECRET\r\nContent-Length: 0\r\n\r\n', allowed: refused },
      'a control character in a value': {
        sends: 'HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n',
        allowed: ['502 upstream_invalid'],
      },
      'NUL in a value': { sends: 'HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n', allowed: refused },
    })
  })

  test('R514 contradictory lengths are 502, or exactly one body', async () => {
    await check({
      'two different': {
        sends: 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 9\r\n\r\nSECRETSEC',
        allowed: refused,
      },
      'no number': { sends: 'HTTP/1.1 200 OK\r\nContent-Length: SECRET\r\n\r\nx', allowed: refused },
      negative: { sends: 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx', allowed: refused },
      'beyond all numbers': {
        sends: 'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx',
        allowed: refused,
      },
      'length and chunked': {
        sends: 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
        allowed: [...refused, '200'],
      },
      'chunk size that is none': {
        sends: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nSECRET\r\n',
        allowed: [...refused, 'cut'],
      },
      'chunk that breaks off': {
        sends: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf',
        allowed: ['cut'],
      },
      'less than announced': { sends: 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', allowed: ['cut'] },
    })
  })

  test('R514 what an upstream sends beyond its answer is nobody else’s answer', async () => {
    const { url } = shared()
    const extra = [
      `${ok('mine')}${ok('SECRET')}`,
      `${ok('mine')}SECRET garbage\r\n\r\n`,
      `HTTP/1.1 204 No Content\r\n\r\n${ok('SECRET')}`,
      `HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nSECRET${ok('SECRET')}`,
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n${ok('SECRET')}`,
      `HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nmineSECRET`,
    ]
    const wrong: string[] = []
    for (const bytes of extra) {
      upstream.answer = (socket) => {
        upstream.answer = (next) => void next.write(ok('next'))
        socket.write(bytes)
      }
      const own = await outcome(url)
      if (own.text.includes('SECRET')) wrong.push(`${bytes} -> ${own.text}`)
      for (let round = 0; round < 3; round++) {
        const { told, text } = await outcome(url)
        if (text !== 'next') wrong.push(`after ${JSON.stringify(bytes)}: ${told} ${JSON.stringify(text)}`)
      }
    }
    expectNone(wrong)
  })

  test('R514 an answer before the question is not taken for one', async () => {
    const { url } = shared()
    upstream.answer = (socket) => {
      socket.write(ok('mine'))
      // Sent on the idle connection, for whoever comes next.
      setImmediate(() => socket.write(ok('SECRET')))
    }
    await outcome(url)
    upstream.answer = (socket) => void socket.write(ok('next'))
    for (let round = 0; round < 3; round++) expect((await outcome(url)).text).toBe('next')
  })

  test('R514 a transfer coding that nobody asked for is 502: its name would be lost, and the body left in it', async () => {
    const chunk = '6\r\nSECRET\r\n0\r\n\r\n'
    await check({
      gzip: {
        sends: `HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n${chunk}`,
        allowed: ['502 upstream_invalid'],
      },
      'an unknown one': {
        sends: `HTTP/1.1 200 OK\r\nTransfer-Encoding: x-own, chunked\r\n\r\n${chunk}`,
        allowed: refused,
      },
      'gzip on a line of its own': {
        sends: `HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
        allowed: refused,
      },
      'chunked in capitals': {
        sends: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n4\r\ngood\r\n0\r\n\r\n',
        allowed: ['200'],
      },
    })
  })

  test('R514 a 204 says nothing of a length', async () => {
    const { url } = shared()
    upstream.answer = (socket) => void socket.end('HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nSECRET')
    const [answer] = await converse(url, head('GET /api/open/x', [...fromPage, 'Connection: close']))
    expect(answer?.status).toBe(204)
    expect(answer?.headers.get('content-length')).toBeNull()
  })

  testOn('node')('100 Continue that nobody asked for is told as what it is', async () => {
    const { logged } = shared()
    await check({
      '100 Continue': { sends: `HTTP/1.1 100 Continue\r\n\r\n${ok('SECRET')}`, allowed: ['502 upstream_invalid'] },
    })
    expect(logged('upstream.failed').at(-1)?.reason).toBe('upstream_continue')
  })

  test('bodies where none may be are not passed on', async () => {
    await check({
      '204 with a body': {
        sends: 'HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nSECRET',
        allowed: [...refused, '204'],
      },
      '304 with a body': {
        sends: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nSECRET',
        allowed: [...refused, '304'],
      },
      'HEAD with a body': { sends: ok('SECRET'), allowed: [...refused, '200'], line: 'HEAD /api/open/x' },
    })
  })

  test('a connection that ends before, in or after the head is 502, or the end of the connection', async () => {
    await check({
      'closed at once': { sends: '', allowed: ['502 upstream_unreachable'] },
      'reset at once': { sends: (socket) => void socket.resetAndDestroy(), allowed: ['502 upstream_unreachable'] },
      'closed inside the status line': { sends: 'HTTP/1.1 2', allowed: refused },
      'closed inside the head': { sends: 'HTTP/1.1 200 OK\r\nX: SECR', allowed: refused },
      'closed behind the head': {
        sends: 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n',
        allowed: ['cut', ...refused],
      },
      'reset inside the body': {
        sends: (socket) =>
          void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', () => socket.resetAndDestroy()),
        allowed: ['cut', ...refused],
      },
    })
  })

  test('R529 silence is 504 when the time of the route is over, however it is dressed up', async () => {
    const drip =
      (bytes: string): RawUpstream['answer'] =>
      (socket) => {
        let at = 0
        const timer = setInterval(() => socket.write(bytes[at++ % bytes.length] ?? ''), 100)
        socket.on('close', () => clearInterval(timer))
      }
    const again =
      (bytes: string): RawUpstream['answer'] =>
      (socket) => {
        const timer = setInterval(() => socket.write(bytes), 200)
        socket.write(bytes)
        socket.on('close', () => clearInterval(timer))
      }
    const late = ['504 upstream_timeout']
    await check({
      'nothing at all': { sends: () => {}, allowed: late },
      'half a head': { sends: (socket) => void socket.write('HTTP/1.1 200 OK\r\nX: y\r\n'), allowed: late },
      'a head that comes letter by letter': {
        sends: drip(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(1_000)}`),
        allowed: late,
      },
      '103 and then nothing': {
        sends: (socket) => void socket.write('HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'),
        allowed: late,
      },
      '102 over and over': { sends: again('HTTP/1.1 102 Processing\r\n\r\n'), allowed: late },
    })
  })

  test('1xx before an answer are left out, and the answer comes', async () => {
    await check({
      '103 Early Hints': {
        sends: `HTTP/1.1 103 Early Hints\r\nLink: </SECRET>; rel=preload\r\nSet-Cookie: a=SECRET\r\n\r\n${ok()}`,
        allowed: ['200'],
      },
      '102 Processing': { sends: `HTTP/1.1 102 Processing\r\n\r\n${ok()}`, allowed: ['200'] },
      several: { sends: `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(5)}${ok()}`, allowed: ['200'] },
      // The HTTP client of Node calls this a bad answer, although RFC 9110, section 15.2, does not.
      '100 that nobody asked for': {
        sends: `HTTP/1.1 100 Continue\r\n\r\n${ok()}`,
        allowed: runtime === 'node' ? ['200', ...refused] : ['200'],
      },
      '101 that nobody asked for': {
        sends: 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SECRET\r\n\r\n',
        allowed: [...refused, '504 upstream_timeout'],
      },
    })
  })

  test('headers beyond ASCII, or beyond all measure, do not break anything', async () => {
    const many = Array.from({ length: 1_500 }, (_, index) => `X-Header-${index}: value`).join('\r\n')
    await check({
      'Latin-1': { sends: ok('good', 'X: caf\xe9'), allowed: ['200', ...refused] },
      'UTF-8': { sends: ok('good', `X: ${Buffer.from('☃ café').toString('latin1')}`), allowed: ['200', ...refused] },
      'bytes that are no text': { sends: ok('good', 'X: \x80\xff\xfe'), allowed: ['200', ...refused] },
      'a tab': { sends: ok('good', 'X: a\tb'), allowed: ['200', ...refused] },
      'a control character': { sends: ok('good', 'X: a\x01b\x7f'), allowed: ['200', ...refused] },
      'a reason of 60 KB': {
        sends: `HTTP/1.1 200 ${'x'.repeat(60_000)}\r\nContent-Length: 4\r\n\r\ngood`,
        allowed: ['200', ...refused],
      },
      'a header of 30 KB': { sends: ok('good', `X: ${'x'.repeat(30_000)}`), allowed: ['200', ...refused] },
      'a header of 200 KB': { sends: ok('good', `X: ${'x'.repeat(200_000)}`), allowed: ['200', ...refused] },
      'fifteen hundred headers': { sends: ok('good', many), allowed: ['200', ...refused] },
      'a head without an end': {
        sends: (socket) => {
          const flood = () => {
            while (!socket.destroyed && socket.write(`X: ${'x'.repeat(1_000)}\r\n`));
          }
          socket.write('HTTP/1.1 200 OK\r\n')
          socket.on('drain', flood)
          flood()
        },
        allowed: [...refused, '504 upstream_timeout'],
      },
      'obs-fold': { sends: ok('good', 'X: a\r\n b'), allowed: ['200', ...refused] },
      'bare LF': { sends: 'HTTP/1.1 200 OK\nContent-Length: 4\n\ngood', allowed: ['200', ...refused] },
    })
  })

  test('trailers do not become headers', async () => {
    const { url } = shared()
    upstream.answer = (socket) =>
      void socket.end(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n4\r\ngood\r\n0\r\nSet-Cookie: a=SECRET\r\nX-Late: SECRET\r\n\r\n',
      )
    const connection = openConnection(url)
    connection.send(head('GET /api/open/x', [...fromPage, 'Connection: close']))
    const answers = await connection.answers()
    expect(answers.map(({ status, text }) => `${status} ${text}`)).toEqual(['200 good'])
    expect(connection.received()).not.toMatch(/SECRET|set-cookie/i)
  })
})

describe('R529 An upstream that hangs', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api/hung', upstream: upstream.url, token: 'none', timeout: '2s' },
      { path: '/api/pours', upstream: upstream.url, token: 'none', timeout: '1s' },
      { path: '/api/open', upstream: `${api.url}/open`, token: 'none' },
    ],
  }))

  test('with more calls than it has connections keeps nobody else waiting, and each call is 504 in its time', async () => {
    const { url } = shared()
    upstream.answer = () => {}
    const connections = Array.from({ length: 400 }, () => openConnection(url))
    const start = performance.now()
    for (const connection of connections) connection.send(head('GET /api/hung/x', fromPage))
    for (let round = 0; round < 20; round++) expect((await outcome(url)).told).toBe('200')
    expect(performance.now() - start).toBeLessThan(2_000)
    const answers = await Promise.all(connections.map((connection) => connection.answer()))
    for (const connection of connections) connection.close()
    expect([...new Set(answers.map((answer) => answer?.headers.get('coatcheck-error')))]).toEqual(['upstream_timeout'])
    upstream.answer = (socket) => void socket.write(ok())
    expect((await outcome(url, 'GET /api/hung/x')).told).toBe('200')
  })

  // workerd reads such a flood without ever looking up.
  testOn('node')('behind a flood of 1xx answers is 504 in its time, and keeps nobody else waiting', async () => {
    const { url } = shared()
    const flood = Buffer.from('HTTP/1.1 102 Processing\r\nX: y\r\n\r\n'.repeat(400))
    upstream.answer = (socket) => {
      const pour = () => {
        while (!socket.destroyed && socket.write(flood));
        socket.once('drain', pour)
      }
      pour()
    }
    const flooded = Array.from({ length: 4 }, () => outcome(url, 'GET /api/pours/x'))
    expect((await outcome(url)).told).toBe('200')
    for (const { told, code, took } of await Promise.all(flooded)) {
      expect([told, code]).toEqual(['504', 'upstream_timeout'])
      expect(took).toBeLessThan(4_000)
    }
  })
})

describe('R516 An upstream that answers before it has read', () => {
  const shared = sharedWorld(() => ({
    routes: [{ path: '/api/open', upstream: upstream.url, token: 'none', timeout: '2s', bodyLimit: '100MB' }],
  }))

  for (const ending of ['stays', 'ends', 'resets'] as const) {
    test(`and then ${ending} is heard, or told as unreachable, and called once`, async () => {
      const { url } = shared()
      for (const status of ['200 OK', '413 Content Too Large', '401 Unauthorized', '302 Found']) {
        upstream.calls.length = 0
        upstream.answer = (socket) => {
          upstream.answer = () => {}
          const bytes = `HTTP/1.1 ${status}\r\nContent-Length: 5\r\n\r\nearly`
          if (ending === 'stays') socket.write(bytes)
          else if (ending === 'ends') socket.end(bytes)
          else socket.write(bytes, () => setImmediate(() => socket.resetAndDestroy()))
        }
        const connection = openConnection(url)
        connection.send(
          head('POST /api/open/x', [...fromPage, 'X-CSRF: 1', 'Content-Length: 4000000', 'Connection: close']),
        )
        connection.send('x'.repeat(1_000))
        const answer = await connection.answer().catch(() => undefined)
        connection.close()
        const told = `${status}: ${answer?.status} ${answer?.text}`
        const isHeard = answer?.status === Number(status.slice(0, 3)) && answer.text === 'early'
        expect(isHeard || answer === undefined || answer.status === 502, told).toBe(true)
        expect(upstream.calls.length, told).toBeLessThanOrEqual(1)
        upstream.answer = (socket) => void socket.write(ok())
        expect((await outcome(url)).text, `after ${told}`).toBe('good')
      }
    })
  }
})

describe('R516 A call that breaks off', () => {
  const shared = sharedWorld(() => ({
    routes: [{ path: '/api/open', upstream: upstream.url, token: 'none', timeout: '2s' }],
  }))

  test('is not sent again when it could have had an effect', async () => {
    const { url } = shared()
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      upstream.calls.length = 0
      upstream.answer = (socket) => void socket.destroy()
      const { told, code } = await outcome(
        url,
        `${method} /api/open/x HTTP/1.1\r\nX-CSRF: 1\r\nContent-Length: 0\r\nX:`,
      )
      expect(`${told} ${code}`, method).toBe('502 upstream_unreachable')
      // workerd itself tries once more when a connection that it had kept turns out to be gone.
      expect(upstream.calls.length, method).toBeLessThanOrEqual(runtime === 'node' ? 1 : 2)
    }
  })

  test('with a body is not sent again in part, whatever its method', async () => {
    const { url } = shared()
    for (const method of ['OPTIONS', 'POST', ...(runtime === 'node' ? ['GET', 'HEAD'] : [])]) {
      upstream.calls.length = 0
      upstream.answer = (socket) => void socket.destroy()
      const connection = openConnection(url)
      const start = performance.now()
      connection.send(
        `${head(`${method} /api/open/x`, [...fromPage, 'X-CSRF: 1', 'Content-Length: 5', 'Connection: close'])}hello`,
      )
      const answer = await connection.answer(method === 'HEAD' ? method : undefined)
      expect(answer?.status, method).toBe(502)
      expect(upstream.calls.length, method).toBeLessThanOrEqual(runtime === 'node' ? 1 : 2)
      expect(performance.now() - start, method).toBeLessThan(5_000)
      connection.close()
    }
  })

  test('for a GET with a body is no fault of the upstream, where the runtime cannot send one', async () => {
    const { url } = shared()
    upstream.answer = (socket) => void socket.write(ok())
    const [answer] = await converse(
      url,
      `${head('GET /api/open/x', [...fromPage, 'Content-Length: 5', 'Connection: close'])}hello`,
    )
    expect(answer?.status).toBeLessThan(500)
    const [empty] = await converse(
      url,
      head('GET /api/open/x', [...fromPage, 'Content-Length: 0', 'Connection: close']),
    )
    expect(empty?.status, 'a length of nothing').toBe(200)
  })

  test('is tried at most once more when it could not, and then told', async () => {
    const { url } = shared()
    for (const method of ['GET', 'HEAD', 'OPTIONS']) {
      upstream.calls.length = 0
      upstream.answer = (socket) => void socket.destroy()
      const { told } = await outcome(url, `${method} /api/open/x`)
      expect(told, method).toBe('502')
      expect(upstream.calls.length, method).toBeLessThanOrEqual(runtime === 'node' ? 2 : 3)
    }
  })
})

// Attack: bytes that coatcheck and somebody before or behind it could split into requests in two ways.
// R500 R510 R511 R514
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask, converse, fromPage, head, openConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const page = fromPage.join('\r\n')
const smuggled = head('GET /api/open/0000/smuggled', fromPage)
const second = head('GET /api/open/0000/second', [...fromPage, 'Connection: close'])
/** A POST with these raw header lines, and after the empty line these raw bytes. */
const post = (lines: string, rest = '') =>
  `POST /api/open/0000/first HTTP/1.1\r\nHost: app.localhost\r\n${page}\r\n${lines}\r\n\r\n${rest}`
/** A GET whose request line, host line and further lines are given raw. */
const get = (line: string, lines = 'Host: app.localhost') => `${line}\r\n${lines}\r\n${page}\r\n\r\n`
const chunkedBody = (body: string) => post('Transfer-Encoding: chunked', body)

/** Length of the smuggled request, for a Content-Length that swallows or frees it. */
const length = smuggled.length

/** Nobody can say where these end: one 400, a closed connection, and an upstream that heard nothing. */
const endless: Record<string, Record<string, string>> = {
  'contradictory lengths': {
    'Content-Length and Transfer-Encoding': post(
      'Content-Length: 5\r\nTransfer-Encoding: chunked',
      `0\r\n\r\n${smuggled}`,
    ),
    'Transfer-Encoding and Content-Length': post(
      `Transfer-Encoding: chunked\r\nContent-Length: ${length + 5}`,
      `0\r\n\r\n${smuggled}`,
    ),
    'two different Content-Lengths': post(`Content-Length: 0\r\nContent-Length: ${length}`, smuggled),
    'two equal Content-Lengths': post('Content-Length: 0\r\nContent-Length: 0', smuggled),
    'a list of Content-Lengths': post(`Content-Length: 0, ${length}`, smuggled),
    'a list of equal Content-Lengths': post('Content-Length: 0, 0', smuggled),
  },
  'a Content-Length that is no number': Object.fromEntries(
    [
      '+0',
      '-1',
      '0x0',
      '0 0',
      '0,',
      '0;',
      '1e1',
      '0.0',
      "'0'",
      '"0"',
      '٠',
      '18446744073709551616',
      '0\v',
      'zero',
      '∞',
      '',
      '0\t1',
    ].map((value) => [`Content-Length: ${value}`, post(`Content-Length: ${value}`, smuggled)]),
  ),
  'a Transfer-Encoding that is not chunked alone': Object.fromEntries(
    [
      ...[
        'chunked, identity',
        'identity, chunked',
        'chunked, chunked',
        'xchunked',
        'chunkedx',
        'chunk',
        'identity',
        'gzip, chunked',
      ],
      ...[
        '"chunked"',
        '\x0bchunked',
        'chunked\x0b',
        'chunked;q=1',
        'chunked, cow',
        'x',
        'chunked\x00',
        ';chunked',
        'ch\tunked',
      ],
    ].map((value) => [
      `Transfer-Encoding: ${JSON.stringify(value)}`,
      post(`Content-Length: 5\r\nTransfer-Encoding: ${value}`, `0\r\n\r\n${smuggled}`),
    ]),
  ),
  'a Transfer-Encoding line that is hidden': {
    'space before the colon': post('Content-Length: 5\r\nTransfer-Encoding : chunked', `0\r\n\r\n${smuggled}`),
    'tab before the colon': post('Content-Length: 5\r\nTransfer-Encoding\t: chunked', `0\r\n\r\n${smuggled}`),
    'space before the name': post('Content-Length: 5\r\n Transfer-Encoding: chunked', `0\r\n\r\n${smuggled}`),
    folded: post('Content-Length: 5\r\nTransfer-Encoding:\r\n chunked', `0\r\n\r\n${smuggled}`),
    'behind a bare LF': post('Content-Length: 5\nTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`),
    'behind a bare CR': post('Content-Length: 5\rTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`),
    'inside a value with LF': post('X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5', `0\r\n\r\n${smuggled}`),
    twice: post(
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 5',
      `0\r\n\r\n${smuggled}`,
    ),
    'with a NUL in the name': post('Content-Length: 5\r\nTransfer-Encoding\0: chunked', `0\r\n\r\n${smuggled}`),
    'in HTTP/1.0': post('Content-Length: 5\r\nTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`).replace(
      'HTTP/1.1',
      'HTTP/1.0',
    ),
  },
  'lines that do not end in CR LF': {
    'bare LF everywhere': `GET /api/open/0000/first HTTP/1.1\nHost: app.localhost\n${fromPage.join('\n')}\n\n`,
    'bare LF after the request line': get('GET /api/open/0000/first HTTP/1.1').replace('\r\n', '\n'),
    'bare LF after a header': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\nX: y'),
    'bare LF as the empty line': `GET /api/open/0000/first HTTP/1.1\r\nHost: app.localhost\r\n${page}\r\n\n`,
    'bare CR after a header': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\rX: y'),
    'bare CR in a value': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nX: a\rb'),
    'NUL in a value': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nX: a\0b'),
    'obs-fold': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nX: a\r\n b'),
    'obs-fold with a tab': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nX: a\r\n\tb'),
  },
  'headers that are none': {
    'no colon': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nnonsense'),
    'no name': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\n: x'),
    'space in the name': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nX Y: z'),
    'space before the colon': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nX : z'),
    'space before the first name': get('GET /api/open/0000/first HTTP/1.1', ' Host: app.localhost'),
    'brackets in the name': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nX[]: z'),
    'non-ASCII name': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nÜ: z'),
  },
  'request lines that are none': {
    'no version': get('GET /api/open/0000/first'),
    'HTTP/0.9 simple request': 'GET /api/open/0000/first\r\n\r\n',
    'tab for space': get('GET\t/api/open/0000/first\tHTTP/1.1'),
    'lower-case version': get('GET /api/open/0000/first http/1.1'),
    'version 2.0': get('GET /api/open/0000/first HTTP/2.0'),
    'version 1.10': get('GET /api/open/0000/first HTTP/1.10'),
    'version 9.9': get('GET /api/open/0000/first HTTP/9.9'),
    'HTTP/2 preface': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'method of our own making': get('SMUGGLE /api/open/0000/first HTTP/1.1'),
    'lower-case method': get('get /api/open/0000/first HTTP/1.1'),
    'space in the target': get('GET /api/open/0000/first /x HTTP/1.1'),
    'bytes beyond ASCII in the target': get('GET /api/open/0000/first\xff HTTP/1.1'),
    'TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
  },
}

/** These end where they end, but cannot be served: 400, and the upstream heard nothing. */
const refused: Record<string, Record<string, string>> = {
  'targets that are not paths': {
    'OPTIONS *': get('OPTIONS * HTTP/1.1'),
    'GET *': get('GET * HTTP/1.1'),
    'no slash': get('GET api/open/first HTTP/1.1'),
    ftp: get('GET ftp://app.localhost/api/open/0000/first HTTP/1.1'),
    file: get('GET file:///api/open/0000/first HTTP/1.1'),
    javascript: get('GET javascript:/api/open/0000/first HTTP/1.1'),
    'scheme without authority': get('GET http:/api/open/0000/first HTTP/1.1'),
    'authority form': get('GET app.localhost:80 HTTP/1.1'),
    'query alone': get('GET ?x HTTP/1.1'),
    backslash: get('GET \\api\\open\\first HTTP/1.1'),
  },
  'a Host that is not exactly one host': {
    none: get('GET /api/open/0000/first HTTP/1.1', 'X: y'),
    'two different': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nHost: evil.test'),
    'two equal': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nHost: app.localhost'),
    empty: get('GET /api/open/0000/first HTTP/1.1', 'Host: '),
    'a list': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost, evil.test'),
    userinfo: get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost@evil.test'),
    'a path': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost/evil'),
    'a query': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost?evil'),
    'a space': get('GET /api/open/0000/first HTTP/1.1', 'Host: app localhost'),
    'a backslash': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\\evil'),
    'none in HTTP/1.0': get('GET /api/open/0000/first HTTP/1.0', 'X: y'),
  },
}

/** Bodies that break off: the upstream may have heard of the first request, and of nothing else. */
const broken: Record<string, Record<string, string>> = {
  'chunk sizes that are no number': Object.fromEntries(
    ['+5', '-5', '0x5', '5x', ' 5', '5 5', 'G', '', '5,', 'FFFFFFFFFFFFFFFFF', '5\x00', '5\v', '٥', '5"'].map(
      (size) => [`size ${JSON.stringify(size)}`, chunkedBody(`${size}\r\nhello\r\n0\r\n\r\n${smuggled}`)],
    ),
  ),
  'chunks with other ends than CR LF': {
    'LF after the size': chunkedBody(`5\nhello\r\n0\r\n\r\n${smuggled}`),
    'LF after the data': chunkedBody(`5\r\nhello\n0\r\n\r\n${smuggled}`),
    'LF in a chunk extension': chunkedBody(`5;a\nb\r\nhello\r\n0\r\n\r\n${smuggled}`),
    'LF ends a chunk extension': chunkedBody(`5;a=b\nhello\r\n0\r\n\r\n${smuggled}`),
    'CR in a chunk extension': chunkedBody(`5;a\rb\r\nhello\r\n0\r\n\r\n${smuggled}`),
    'NUL in a chunk extension': chunkedBody(`5;a\0b\r\nhello\r\n0\r\n\r\n${smuggled}`),
    'CR after the size': chunkedBody(`5\rhello\r\n0\r\n\r\n${smuggled}`),
    'data longer than its size': chunkedBody(`4\r\nhello\r\n0\r\n\r\n${smuggled}`),
    'two characters for CR LF': chunkedBody(`5\r\nhelloXX0\r\n\r\n${smuggled}`),
    'framing in the trailers': chunkedBody(
      `5\r\nhello\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${smuggled}`,
    ),
    'LF ends the last chunk': chunkedBody(`5\r\nhello\r\n0\n\n${smuggled}`),
  },
}

/** Unusual but clear: exactly one upstream request, and the request behind it gets its own answer. */
const clear: Record<string, string> = {
  'a body that looks like a request': post(`Content-Length: ${length}`, smuggled),
  'a GET with a body that looks like a request': post(`Content-Length: ${length}`, smuggled).replace('POST', 'GET'),
  'a DELETE with a body that looks like a request': post(`Content-Length: ${length}`, smuggled).replace(
    'POST',
    'DELETE',
  ),
  'a chunk that looks like a request': chunkedBody(`${length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`),
  'Transfer-Encoding: Chunked': post('Transfer-Encoding: Chunked', '5\r\nhello\r\n0\r\n\r\n'),
  'chunk extensions': chunkedBody('5;a=b;c="d e"\r\nhello\r\n0;last\r\n\r\n'),
  'chunk size in capitals with zeros': chunkedBody('000A\r\nhellohello\r\n0000\r\n\r\n'),
  'trailers that would be dangerous headers': chunkedBody(
    '5\r\nhello\r\n0\r\nAuthorization: Bearer ATTACK\r\nHost: evil\r\nX_Y: z\r\n\r\n',
  ),
  'a header named like Transfer-Encoding with an underscore': post(
    'Content-Length: 5\r\nTransfer_Encoding: chunked\r\nContent_Length: 0',
    'hello',
  ),
  'an empty line before the request line': `\r\n${get('GET /api/open/0000/first HTTP/1.1')}`,
  'two spaces in the request line': get('GET  /api/open/0000/first HTTP/1.1'),
  'absolute form': get('GET http://evil.test/api/open/0000/first HTTP/1.1'),
  'Content-Length: 0 on GET': get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nContent-Length: 0'),
  'Expect with the body at once': post('Content-Length: 5\r\nExpect: 100-continue', 'hello'),
  'Connection that names the framing': post(
    'Content-Length: 5\r\nConnection: content-length, transfer-encoding, host',
    'hello',
  ),
}

describe('R514 Bytes that could be split in two ways', () => {
  const shared = sharedWorld()
  let attacks = 0

  /** Sends an attack with a good request behind it, under paths of its own. */
  async function attack(bytes: string) {
    const { url, api } = shared()
    const own = `/open/${String(++attacks).padStart(4, '0')}/`
    const sent = (bytes + second).replaceAll('/open/0000/', own)
    const answers = await converse(url, Buffer.from(sent, 'latin1'))
    const seen = api.requests.filter(({ target }) => target.startsWith(own))
    const called = seen.map(({ target }) => target.slice(own.length)).sort()
    /** Whose answers these are. */
    const answered = answers.map(({ status, text }) =>
      status === 200 ? String(JSON.parse(text).target).slice(own.length) : String(status),
    )
    return { answers, seen, called: called.join(), answered: answered.join() }
  }

  for (const [what, entries] of Object.entries(endless)) {
    test(`R511 ${what}: 400, closed, and the upstream hears nothing`, async () => {
      const wrong: string[] = []
      for (const [name, bytes] of Object.entries(entries)) {
        const { answers, called, answered } = await attack(bytes)
        if (answered !== '400' || called !== '') wrong.push(`${name} -> [${answered}], upstream [${called}]`)
        else if (answers[0]?.headers.get('coatcheck-error') !== 'bad_request') wrong.push(`${name} -> not our 400`)
      }
      expectNone(wrong)
    })
  }

  for (const [what, entries] of Object.entries(refused)) {
    test(`R500 R510 ${what}: 400, and the request behind gets its own answer or none`, async () => {
      const wrong: string[] = []
      for (const [name, bytes] of Object.entries(entries)) {
        const { called, answered } = await attack(bytes)
        const isRefused = (answered === '400' && called === '') || (answered === '400,second' && called === 'second')
        if (!isRefused) wrong.push(`${name} -> [${answered}], upstream [${called}]`)
      }
      expectNone(wrong)
    })
  }

  for (const [what, entries] of Object.entries(broken)) {
    test(`${what}: the connection ends, and what follows is never a request`, async () => {
      const wrong: string[] = []
      for (const [name, bytes] of Object.entries(entries)) {
        const { seen, called, answered } = await attack(bytes)
        const isOver = (answered === '400' || answered === '') && (called === 'first' || called === '')
        const isWhole = seen.some(({ body }) => String(body) === 'hello')
        if (!isOver || isWhole) wrong.push(`${name} -> [${answered}], upstream [${called}]`)
      }
      expectNone(wrong)
    })
  }

  test('unusual but clear requests cause one call each, and the request behind gets its own answer', async () => {
    const wrong: string[] = []
    for (const [name, bytes] of Object.entries(clear)) {
      const { seen, called, answered } = await attack(bytes)
      if (called !== 'first,second' || answered !== called) wrong.push(`${name} -> [${answered}], upstream [${called}]`)
      const names = seen.flatMap(({ rawHeaders }) => rawHeaders.filter((_, index) => index % 2 === 0))
      if (names.some((one) => /_|^authorization$/i.test(one))) wrong.push(`${name} -> forbidden header upstream`)
    }
    expectNone(wrong)
  })

  test('R016 CONNECT and TRACE reach no upstream', async () => {
    const connect = await attack(get('CONNECT evil.test:443 HTTP/1.1'))
    expect([connect.called, connect.answered]).toEqual(['', ''])
    const trace = await attack(get('TRACE /api/open/0000/first HTTP/1.1'))
    expect([trace.called, trace.answered]).toEqual(['second', '405,second'])
    expect(trace.answers[0]?.headers.get('allow')).toBe('GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS')
  })
})

describe('R514 Pipelining', () => {
  const shared = sharedWorld()

  test('twenty requests in one packet are answered in their order, each with its own answer', async () => {
    const { url, api } = shared()
    const paths = Array.from({ length: 20 }, (_, index) => `/api/open/${index}`)
    const requests = paths.map((path, index) =>
      head(`GET ${path}`, index === 19 ? [...fromPage, 'Connection: close'] : fromPage),
    )
    // The later a request, the sooner its answer is there.
    const waiting: (() => void)[] = []
    api.answer = (request, response) => {
      waiting.unshift(() => response.end(`${request.url}`))
      if (waiting.length === paths.length) for (const answer of waiting) answer()
    }
    const answers = await converse(url, requests.join(''))
    expect(answers.map(({ text }) => text)).toEqual(paths.map((path) => path.replace('/api', '')))
  })

  test('one request in as many packets as it has bytes is one request', async () => {
    const { url, api } = await startWorld()
    const connection = openConnection(url)
    for (const byte of post('Content-Length: 5\r\nConnection: close', 'hello')) {
      connection.send(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const answers = await connection.answers()
    expect(answers.map(({ status }) => status)).toEqual([200])
    expect(api.requests.map(({ body }) => String(body))).toEqual(['hello'])
  })

  test('garbage behind a request that is still being answered is not taken for its answer', async () => {
    const { url, api } = shared()
    const connection = openConnection(url)
    const called = new Promise<() => void>((resolve) => {
      api.answer = (request, response) => resolve(() => response.end(`answer to ${request.url}`))
    })
    connection.send(head('GET /api/open/0000/first', fromPage))
    const answerFirst = await called
    connection.send('GARBAGE\r\n\r\n')
    // Once this is answered the garbage was read.
    await ask(url, 'GET /healthz')
    answerFirst()
    const answer = await connection.answer()
    connection.close()
    // Either the connection ends without a word, or the first answer on it belongs to the first request.
    expect(answer?.text ?? 'closed').toMatch(/^(?:closed|answer to \/open\/0000\/first)$/)
  })

  test('garbage behind a request does not get into the body of its answer', async () => {
    const { url, api } = shared()
    const connection = openConnection(url)
    const begun = new Promise<() => void>((resolve) => {
      api.answer = (_, response) => {
        response.write('one,')
        resolve(() => response.end('two'))
      }
    })
    connection.send(head('GET /api/open/0000/first', fromPage))
    const finish = await begun
    await expect.poll(() => connection.received()).toContain('one,')
    connection.send('GARBAGE\r\n\r\n')
    await ask(url, 'GET /healthz')
    finish()
    await connection.answer().catch(() => undefined)
    connection.close()
    const [answer = '', refusal] = connection.received().split('HTTP/1.1 400')
    const isWhole = answer.endsWith('\r\n0\r\n\r\n')
    expect(refusal === undefined || isWhole, `received ${JSON.stringify(connection.received())}`).toBe(true)
  })
})

// Requests whose end two servers could see in different places. `/open/0000/` stands for a path of each attack's own.
import { fromPage, head } from './raw.ts'

const page = fromPage.join('\r\n')
const smuggled = head('GET /api/open/0000/smuggled', fromPage)
export const second = head('GET /api/open/0000/second', [...fromPage, 'Connection: close'])
/** A POST with these raw header lines, and after the empty line these raw bytes. */
export const post = (lines: string, rest = '') =>
  `POST /api/open/0000/first HTTP/1.1\r\nHost: app.localhost\r\n${page}\r\n${lines}\r\n\r\n${rest}`
/** A GET whose request line, host line and further lines are given raw. */
export const get = (line: string, lines = 'Host: app.localhost') => `${line}\r\n${lines}\r\n${page}\r\n\r\n`
const chunkedBody = (body: string) => post('Transfer-Encoding: chunked', body)

/** Length of the smuggled request, for a Content-Length that swallows or frees it. */
const length = smuggled.length

/** Nobody can say where these end: one 400, a closed connection, and an upstream that heard nothing. */
export const endless: Record<string, Record<string, string>> = {
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
    'with a vertical tab in the name': post(
      'Content-Length: 5\r\nTransfer-Encoding\v: chunked',
      `0\r\n\r\n${smuggled}`,
    ),
    'a value on the next line, after a bare LF': post(
      'Content-Length: 5\r\nTransfer-Encoding:\n chunked',
      `0\r\n\r\n${smuggled}`,
    ),
    'cut by a fold': post('Content-Length: 5\r\nTransfer-Encoding: chu\r\n nked', `0\r\n\r\n${smuggled}`),
    'chunked two times over': post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`),
    'chunked, then nothing': post(
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: \r\nContent-Length: 5',
      `0\r\n\r\n${smuggled}`,
    ),
    'nothing, beside a length': post('Content-Length: 5\r\nTransfer-Encoding: ', `0\r\n\r\n${smuggled}`),
    'beside a length that is hidden': post('Transfer-Encoding: chunked\r\nContent-Length : 5', `0\r\n\r\n${smuggled}`),
    'in HTTP/1.0': post('Content-Length: 5\r\nTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`).replace(
      'HTTP/1.1',
      'HTTP/1.0',
    ),
  },
  'a Content-Length line that is hidden': {
    'space before the colon': post(`Content-Length : ${length}`, smuggled),
    'tab before the colon': post(`Content-Length\t: ${length}`, smuggled),
    'space before the name': post(` Content-Length: ${length}`, smuggled),
    folded: post(`Content-Length:\r\n ${length}`, smuggled),
    'behind a bare LF': post(`X: y\nContent-Length: ${length}`, smuggled),
    'behind a bare CR': post(`X: y\rContent-Length: ${length}`, smuggled),
    'with a NUL in the name': post(`Content-Length\0: ${length}`, smuggled),
    'a second one behind a fold': post(`Content-Length: 0\r\n \r\nContent-Length: ${length}`, smuggled),
    'a second one with a space': post(`Content-Length: 0\r\nContent-Length : ${length}`, smuggled),
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
export const refused: Record<string, Record<string, string>> = {
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
export const broken: Record<string, Record<string, string>> = {
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
    'two CR after the size': chunkedBody(`5\r\r\nhello\r\n0\r\n\r\n${smuggled}`),
    'CR alone after the data': chunkedBody(`5\r\nhello\r0\r\n\r\n${smuggled}`),
    'LF in the extension of the last chunk': chunkedBody(`5\r\nhello\r\n0;a\n\r\n\r\n${smuggled}`),
    'a trailer with LF': chunkedBody(`5\r\nhello\r\n0\r\nX: a\nContent-Length: 5\r\n\r\n${smuggled}`),
    'a trailer that is folded': chunkedBody(`5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n${smuggled}`),
    'a trailer without a colon': chunkedBody(`5\r\nhello\r\n0\r\nGET /api/open/0000/smuggled\r\n\r\n${smuggled}`),
  },
}

/** Unusual but clear: exactly one upstream request, and the request behind it gets its own answer. */
export const clear: Record<string, string> = {
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

/** How a body may come with a method that usually has none. */
const bodies = {
  'Content-Length': (method: string) => post(`Content-Length: ${length}`, smuggled).replace('POST', method),
  chunks: (method: string) => chunkedBody(`${length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`).replace('POST', method),
}

/** Clear by the letter, but some server in the row reads over the body: one upstream call, and nothing smuggled. */
export const unexpected: Record<string, Record<string, string>> = {
  'a body with a method that has none': Object.fromEntries(
    ['GET', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE'].flatMap((method) =>
      Object.entries(bodies).map(([how, bytes]) => [`${method} with ${how}`, bytes(method)]),
    ),
  ),
  'a body that somebody is asked to wait for': Object.fromEntries(
    [
      ...['100-continue', '100-CONTINUE', '100-continue, x', 'x 100-continue', 'x', '', '100-continue\r\nExpect: x'],
      ...['\t100-continue', '"100-continue"', '100-continue;q=1', '200-ok'],
    ].flatMap((value) => [
      [`Expect: ${JSON.stringify(value)}`, post(`Content-Length: ${length}\r\nExpect: ${value}`, smuggled)],
      [
        `GET, Expect: ${JSON.stringify(value)}`,
        post(`Content-Length: ${length}\r\nExpect: ${value}`, smuggled).replace('POST', 'GET'),
      ],
    ]),
  ),
  'a protocol that is to be changed': {
    'h2c with a body': post(
      `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: ${length}`,
      smuggled,
    ),
    'h2c and its preface': `${get('GET /api/open/0000/first HTTP/1.1', 'Host: app.localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA')}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${smuggled}`,
    'TLS over HTTP': get(
      'OPTIONS /api/open/0000/first HTTP/1.1',
      'Host: app.localhost\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0',
    ),
    'a WebSocket of no known version': get(
      'GET /api/open/0000/first HTTP/1.1',
      'Host: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.test',
    ),
    'a WebSocket with a body': post(
      `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.test\r\nContent-Length: ${length}`,
      smuggled,
    ).replace('POST', 'GET'),
    'an upgrade that nobody announced': get(
      'GET /api/open/0000/first HTTP/1.1',
      'Host: app.localhost\r\nUpgrade: h2c, websocket',
    ),
  },
  'a body behind a refusal': {
    'of the method': post(`Content-Length: ${length}`, smuggled).replace('POST', 'PROPFIND'),
    'of the path': post(`Content-Length: ${length}`, smuggled).replace('/first', '/first%00'),
    'of the origin': post(`Content-Length: ${length}\r\nOrigin: https://evil.test`, smuggled),
    'of the origin, in chunks': post(
      'Transfer-Encoding: chunked\r\nOrigin: https://evil.test',
      `${length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
    ),
    'of the length': post(`Content-Length: 99999999999\r\n`, smuggled),
  },
}

// Attack: requests that the HTTP client towards the upstream refuses, until its connection pool is stuck for everybody.
// R508 R514
import { describe, expect, test } from 'vitest'
import { expectNone } from '../support/corpus.ts'
import { ask, converse, fromPage, head } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const close = [...fromPage, 'Connection: close']
/** Each of them is odd enough for some HTTP client to refuse to send it on. */
const odd = [
  head('OPTIONS *', close),
  head('GET *', close),
  head('GET ftp://x/y', close),
  head('GET http://evil.test/api/open/x', close),
  head('GET /api/open/a b', close),
  head('GET /api/open/%E2%9C%93?q=%00', close),
  head('GET /api/open/x?\\^`{|}', close),
  `${head('POST /api/open/x', [...close, 'X-CSRF: 1', 'Expect: 100-continue', 'Content-Length: 2'])}hi`,
  `${head('POST /api/open/x', [...close, 'X-CSRF: 1', 'Transfer-Encoding: chunked'])}2\r\nhi\r\n0\r\n\r\n`,
  `${head('POST /api/open/x', [...close, 'X-CSRF: 1', 'Content-Length: 0', 'Transfer-Encoding: chunked'])}0\r\n\r\n`,
  head('GET /api/open/x', [...fromPage, 'Connection: close, upgrade', 'Upgrade: websocket']),
  head('GET /api/open/x', [...fromPage, 'Connection: close, keep-alive, te', 'Keep-Alive: 1', 'TE: trailers']),
  head('GET /api/open/x', [...close, 'X-Odd: \x80\xff', 'Content-Type: \xe9']),
  head('GET /api/open/x', [...close, 'Host: second.test']),
  head('GET /api/open/x', [...close, 'Proxy-Connection: close', 'Content-Length: 0']),
  head('TRACE /api/open/x', close),
  head('PRI /api/open/x', close),
]

describe('R508 R514 The connections to the upstream', () => {
  const shared = sharedWorld()

  // More of each than there are connections to an upstream: each may leave one behind.
  for (const bytes of odd) {
    const lines = bytes.split('\r\n').filter((line) => line !== '' && !/^(?:Host: app|Sec-Fetch)/.test(line))
    test(`still serve everybody after 300 requests like ${JSON.stringify(lines.slice(0, 4).join(' | '))}`, async () => {
      const { url } = shared()
      for (let round = 0; round < 10; round++) {
        await Promise.all(Array.from({ length: 30 }, () => converse(url, Buffer.from(bytes, 'latin1'))))
      }
      expect((await ask(url, 'GET /api/open/good')).status).toBe(200)
    })
  }

  test('still serve everybody after 600 odd requests at the same time', async () => {
    const { url, api } = shared()
    const bytes = Array.from({ length: 600 }, (_, count) => Buffer.from(odd[count % odd.length] ?? '', 'latin1'))
    await Promise.all(bytes.map((one) => converse(url, one)))
    const before = api.requests.length
    const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(url, `GET /api/open/good/${index}`)))
    const wrong = answers.map(({ status, text }, index) =>
      status === 200 && JSON.parse(text).target === `/open/good/${index}` ? '' : `${index} -> ${status} ${text}`,
    )
    expectNone(wrong.filter((one) => one !== ''))
    expect(api.requests.length - before).toBe(50)
  })
})

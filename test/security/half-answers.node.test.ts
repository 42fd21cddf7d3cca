// Attack: an answer by HTTP/2 that breaks off in the middle and is made to look whole.
// R632
import { request as httpRequest } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  answerHead,
  data,
  goaway,
  type RawHttp2Upstream,
  reset,
  startRawHttp2Upstream,
} from '../support/raw-http2-upstream.ts'
import { sharedWorld } from '../support/shared-world.ts'

let api: RawHttp2Upstream
beforeAll(async () => {
  api = await startRawHttp2Upstream()
})
afterAll(() => api.close())

/** What a browser makes of a call: status and text of a whole answer, or `cut`. */
function outcome(url: string, body = ''): Promise<string> {
  return new Promise((resolve) => {
    const request = httpRequest(new URL('/api/x', url), {
      method: body === '' ? 'GET' : 'POST',
      agent: false,
      headers: { 'x-csrf': '1' },
    })
    request.on('response', (answer) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => {
        text += chunk
      })
      answer.on('end', () => resolve(`${answer.statusCode} ${text}`)).on('error', () => resolve('cut'))
    })
    request.on('error', () => resolve('cut'))
    request.write(body)
    if (body === '') request.end()
  })
}

/** What the upstream sends, at once and a moment later. */
type Parts = (stream: number) => Buffer[]
const start: Parts = (stream) => [answerHead(stream), data(stream, 'half', 'more')]
const whole: Parts = (stream) => [answerHead(stream), data(stream, 'whole', 'last')]
const refusals: Record<string, Parts> = {
  'a reset with an error': (stream) => [reset(stream, 2)],
  'a goodbye': (stream) => [goaway(stream)],
}

const together = (parts: Parts[]) => (socket: TLSSocket, stream: number) => {
  socket.write(Buffer.concat(parts.flatMap((part) => part(stream))))
}

describe('R632 An answer by HTTP/2 that its upstream did not end', () => {
  const shared = sharedWorld(() => ({
    routes: [{ path: '/api', upstream: api.url, token: 'none', timeout: '3s', tls: { ca: api.ca } }],
  }))

  test.each(Object.entries(refusals))('but followed by %s is cut at the browser', async (what, refusal) => {
    const end = (socket: TLSSocket) => what === 'a goodbye' && socket.end()
    api.answer = (socket, stream) => {
      together([start, refusal])(socket, stream)
      end(socket)
    }
    expect(await outcome(shared().url)).toBe('cut')
    api.answer = (socket, stream) => {
      socket.write(Buffer.concat(start(stream)))
      // The second piece goes when the first has had the time to be read.
      setTimeout(() => {
        socket.write(Buffer.concat(refusal(stream)))
        end(socket)
      }, 50)
    }
    expect(await outcome(shared().url)).toBe('cut')
  })

  test('is whole when it was ended before the rest of the request was declined (RFC 9113, section 8.1)', async () => {
    api.answer = together([whole, (stream) => [reset(stream)]])
    expect(await outcome(shared().url)).toBe('200 whole')
    expect(await outcome(shared().url, 'the first half')).toBe('200 whole')
  })

  test('and reset without an error is taken as whole: so Node ends whole answers while its connection is busy', async () => {
    api.answer = together([start, (stream) => [reset(stream)]])
    expect(await outcome(shared().url)).toBe('200 half')
  })

  test('is whole when all of an announced length is there', async () => {
    api.answer = together([(stream) => [answerHead(stream, '5'), data(stream, 'whole', 'more'), reset(stream)]])
    expect(await outcome(shared().url)).toBe('200 whole')
    api.answer = together([(stream) => [answerHead(stream, '6'), data(stream, 'whole', 'more'), reset(stream)]])
    expect(await outcome(shared().url)).toBe('cut')
  })
})

// Attack: heads that are too large: one line, one name, or thousands of them, from the browser and from the upstream.
// R505 R511 R523
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask, fromPage, head, openConnection } from '../support/raw.ts'
import { type RawUpstream, startRawUpstream } from '../support/raw-upstream.ts'
import { sharedWorld } from '../support/shared-world.ts'

let upstream: RawUpstream
beforeAll(async () => {
  upstream = await startRawUpstream()
})
afterAll(() => upstream.close())

const isNode = runtime === 'node'
const many = (count: number, line = (index: number) => `X-${index}: y`) =>
  Array.from({ length: count }, (_, n) => line(n))
/** Just under and far over the 64 KB that a head may have on Node. */
const [allowed, tooLong] = ['x'.repeat(60_000), 'x'.repeat(70_000)]

const bombs: Record<string, readonly string[]> = {
  'one value of 70 KB': [`X: ${tooLong}`],
  'one value of 1 MB': [`X: ${'x'.repeat(1_000_000)}`],
  'one name of 70 KB': [`${tooLong}: x`],
  'one name of 1 MB': [`${'x'.repeat(1_000_000)}: x`],
  'a line of 70 KB that is no header': [tooLong],
  'ten thousand names': many(10_000),
  'one name thirty thousand times': many(30_000, () => 'XX: y'),
  'twenty thousand empty values': many(20_000, (index) => `X${index}:`),
  'three values of 30 KB': many(3, (index) => `X-${index}: ${'x'.repeat(30_000)}`),
}
/** Large on the way only: parsers leave it out and count none of it. */
const hollow = [`X:${' '.repeat(70_000)}y`]
const small: Record<string, readonly string[]> = {
  'one value of 60 KB': [`X: ${allowed}`],
  'nine hundred names': many(900),
  'one name nine hundred times': many(900, () => 'X: y'),
}

describe('R511 A head from the browser', () => {
  const shared = sharedWorld(() => ({
    routes: [{ path: '/api/open', upstream: upstream.url, token: 'none' }],
  }))
  const good = () => {
    upstream.answer = (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood')
  }

  test('that is too large is 431 in our own words, nobody is called, and the next request is served', async () => {
    const { url, logged } = shared()
    good()
    const browserBombs = {
      ...bombs,
      'cookies of 70 KB': [`Cookie: ${'a=b; '.repeat(14_000)}`],
      'fourteen thousand cookie lines': many(14_000, () => 'Cookie: a=b'),
      'Connection that names 70 KB of headers': [`Connection: ${'x, '.repeat(23_000)}`],
    }
    const wrong: string[] = []
    for (const [what, lines] of Object.entries(browserBombs)) {
      for (const method of ['GET', 'POST']) {
        const before = upstream.calls.length
        const connection = openConnection(url)
        connection.send(head(`${method} /api/open/x`, [...fromPage, ...lines, 'Connection: close']))
        const answer = await connection.answer().catch(() => undefined)
        connection.close()
        const told = `${method} with ${what} -> ${answer?.status} ${answer?.headers.get('coatcheck-error')}`
        // In front of a Worker other limits hold, and another server says so.
        const isRefused = isNode
          ? answer?.status === 431 && answer.headers.get('coatcheck-error') === 'headers_too_large'
          : (answer?.status ?? 400) < 500 || answer?.status === 502
        // What is no header is refused for that, if it is noticed first.
        if (!isRefused && !(what.includes('no header') && answer?.status === 400)) wrong.push(told)
        if (isNode && upstream.calls.length !== before) wrong.push(`${told}: forwarded`)
        if ((await ask(url, 'GET /api/open/x')).text !== 'good') wrong.push(`after ${told}`)
      }
    }
    expectNone(wrong)
    if (isNode) expect(logged('request.refused').some(({ reason }) => reason === 'head_too_large')).toBe(true)
  })

  test('of a request line that is too long is 4xx, in every part of it', async () => {
    const { url } = shared()
    good()
    const wrong: string[] = []
    for (const length of [17_000, 70_000, 1_000_000]) {
      const text = 'x'.repeat(length)
      for (const line of [
        `GET /api/open/${text}`,
        `GET /api/open?${text}`,
        `GET http://${text}/api/open/x`,
        `${text} /`,
      ]) {
        const before = upstream.calls.length
        const connection = openConnection(url)
        connection.send(head(line, [...fromPage, 'Connection: close']))
        const answer = await connection.answer().catch(() => undefined)
        connection.close()
        const told = `${line.slice(0, 24)} of ${length} -> ${answer?.status}`
        const isOther = line.startsWith('GET http') && answer?.status === 200
        const status = answer?.status ?? (isNode ? 0 : 400)
        if (!isOther && (status < 400 || (status >= 500 && status !== 501))) wrong.push(told)
        if (!isOther && upstream.calls.length !== before) wrong.push(`${told}: forwarded`)
      }
    }
    expectNone(wrong)
  })

  test('that is large but allowed passes whole', async () => {
    const { url } = shared()
    good()
    for (const [what, lines] of Object.entries(small)) {
      const before = upstream.calls.length
      const { status } = await ask(url, 'GET /api/open/x', lines)
      expect([status, upstream.calls.length - before], what).toEqual([200, 1])
      expect((upstream.calls.at(-1) ?? '').length, what).toBeGreaterThan(lines.length * 3)
    }
  })
})

describe('R523 A head from the upstream', () => {
  const shared = sharedWorld(() => ({
    routes: [{ path: '/api/open', upstream: upstream.url, token: 'none', timeout: '2s' }],
  }))
  const answer = (lines: readonly string[], status = '200 OK') =>
    Buffer.from(['', ...lines, 'Content-Length: 4', '', 'good'].join('\r\n').replace('', `HTTP/1.1 ${status}`))

  test('that is too large is 502 in our own words, and the next call is served', async () => {
    const { url } = shared()
    const upstreamBombs: Record<string, Buffer> = {
      ...Object.fromEntries(Object.entries(bombs).map(([what, lines]) => [what, answer(lines)])),
      'five early hints of 30 KB, and a head of 70 KB': Buffer.concat([
        Buffer.from(`HTTP/1.1 103 Early Hints\r\nLink: ${'x'.repeat(30_000)}\r\n\r\n`.repeat(5)),
        answer([`X: ${tooLong}`]),
      ]),
      'trailers of 1 MB': Buffer.from(
        `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n${`X: ${'x'.repeat(1_000)}\r\n`.repeat(1_000)}\r\n`,
      ),
    }
    const wrong: string[] = []
    for (const [what, bytes] of Object.entries(upstreamBombs)) {
      upstream.answer = (socket) => void socket.end(bytes)
      const connection = openConnection(url)
      connection.send(head('GET /api/open/x', [...fromPage, 'Connection: close']))
      const found = await connection.answer().catch((error: Error) => error)
      const received = connection.received()
      connection.close()
      const told = `${what} -> ${found instanceof Error ? found.message.slice(0, 80) : found?.status}`
      if (found instanceof Error) wrong.push(told)
      // With the head gone already, a body that breaks off is all that can be said.
      else if (what.startsWith('trailers')) {
        if (found && (found.status !== 200 || found.text !== 'good' || received.includes('xxxx'))) wrong.push(told)
      } else if (
        isNode ? found?.headers.get('coatcheck-error') !== 'upstream_invalid' : ![200, 502].includes(found?.status ?? 0)
      ) {
        wrong.push(`${told} ${found?.headers.get('coatcheck-error')}`)
      } else if (found?.status === 502 && (found.text.includes('xxxx') || !found.text.includes('upstream_')))
        wrong.push(told)
      upstream.answer = (socket) => void socket.end(answer([]))
      if ((await ask(url, 'GET /api/open/x')).text !== 'good') wrong.push(`after ${told}`)
    }
    expectNone(wrong)
  })

  test('that is large only in what is thrown away is an answer like others', async () => {
    const { url } = shared()
    for (const [what, bytes] of Object.entries({
      'white space': answer(hollow),
      'a reason': answer([], `200 ${'x'.repeat(1_000_000)}`),
      'early hints': Buffer.concat([
        Buffer.from(`HTTP/1.1 103 Early Hints\r\nLink: ${'x'.repeat(30_000)}\r\n\r\n`.repeat(5)),
        answer([]),
      ]),
    })) {
      upstream.answer = (socket) => void socket.end(bytes)
      const { status, text } = await ask(url, 'GET /api/open/x')
      // workerd has limits of its own for these.
      if (isNode || status !== 502) expect([status, text], what).toEqual([200, 'good'])
    }
  })

  test('that is large but allowed passes whole', async () => {
    const { url } = shared()
    for (const [what, lines] of Object.entries(small)) {
      upstream.answer = (socket) => void socket.end(answer(lines))
      const { status, text, headers } = await ask(url, 'GET /api/open/x')
      expect([status, text], what).toEqual([200, 'good'])
      expect([...headers].length + (headers.get('x')?.length ?? 0), what).toBeGreaterThan(800)
    }
  })
})

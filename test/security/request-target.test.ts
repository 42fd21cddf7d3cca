// Attack: a request target in a form of its own (absolute, authority, asterisk), or one that climbs out of its route in
// characters that only look like dots and slashes. R014 R500 R501 R502 R503 R505
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { converse, fromPage, head } from '../support/raw.ts'
import { isInside, worstReading } from '../support/readings.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const close = [...fromPage, 'Connection: close']

/** A server that nobody must ever connect to, not even without asking anything. */
let sinkhole: Upstream
let connections = 0
beforeAll(async () => {
  sinkhole = await startUpstream()
  sinkhole.server.on('connection', () => connections++)
})
afterAll(() => sinkhole.close())

/** Ways to write a step upwards. */
const climbs = {
  'compatibility characters': [
    ...['%ef%bc%8e%ef%bc%8e', '%e2%80%a5', '%e2%80%a4%e2%80%a4', '%ef%b9%92%ef%b9%92', '.%ef%bc%8e', '%e2%80%a4'],
    ...['..%ef%bc%8f', '..%ef%bc%bc..', '%ef%bc%8e%ef%bc%8e%ef%bc%8f', '%ef%b9%a8..', '..%ef%bc%9b', '..%cd%be'],
  ],
  'characters that look alike': [
    ...['..%e2%88%95', '..%e2%81%84', '%e3%80%82%e3%80%82', '%c2%b7%c2%b7', '..%c2%ad', '.%e2%80%8b.', '..%cc%b8'],
    ...['%ef%bb%bf..', '..%e2%80%ae', '%d9%a0..', '..%e2%a7%b5', '%f3%a0%80%ae%f3%a0%80%ae'],
  ],
  'overlong UTF-8': ['%c0%ae%c0%ae', '%c0%2e%c0%2e', '%e0%80%ae%e0%80%ae', '..%c0%af', '..%c1%9c', '%f0%80%80%ae.'],
  'mixed separators': ['..\\/', '..%5c/', '../\\', '..%2f\\', '..;%2f', '..;/..;', '%2f..%5c..', '\\../', '..//\\'],
  'parameters and fragments': ['..;a=b', '..%3b', '..%3B/..%3b', ';/../', '..;%2e', '..#', '%23..', '#/../', ';..'],
  'NUL and white space': [
    '..%00/',
    '%00..',
    '..%2500',
    '..\0',
    '..%20',
    '%20..',
    '..%a0',
    '..+',
    '..%09',
    '.. ',
    '..%0b',
  ],
  'encodings of encodings': ['%25%32%65%25%32%65', '%252e%252e', '%25252e%25252e', '%%32%65%%32%65', '%u002e%u002e'],
  'great length': [
    ...['../'.repeat(500), '%2e%2e/'.repeat(500), './'.repeat(3_000), `${'a/'.repeat(1_500)}${'../'.repeat(1_503)}`],
    ...[`${'x'.repeat(8_000)}/..`, '..;/'.repeat(800), '%ef%bc%8e%ef%bc%8e/'.repeat(300), '..%2f'.repeat(900)],
  ],
}
const frames = ['/api/orders/{}/secret', '/api/orders/a/{}/{}/secret', '/api/orders{}/secret', '/api/orders/{}']

describe('A request target', () => {
  const shared = sharedWorld(({ api }) => ({
    routes: [
      { path: '/api/orders', upstream: `${api.url}/v1/orders`, token: 'none' },
      { path: '/api/secret', upstream: `${sinkhole.url}/secret`, token: 'user' },
      { path: '/bare', upstream: api.url, token: 'none' },
    ],
  }))

  /** Everything that names the sinkhole, or us, in front of a path. */
  function authorities(): string[] {
    const { port, url } = { ...sinkhole, url: shared().url }
    const evil = `127.0.0.1:${port}`
    return [
      ...['', url, `http://${evil}`, `HTTP://${evil}`, `https://${evil}`, `http://user:pass@${evil}`],
      ...[`http://app.localhost@${evil}`, `http://${evil}@app.localhost`, `http://127.1:${port}`],
    ]
  }

  /** Sends a request and says what is wrong with what came of it, if anything is. */
  async function mistake(line: string, host?: string): Promise<string | undefined> {
    const { url, api } = shared()
    const before = api.requests.length
    const answers = await converse(url, Buffer.from(head(line, close, host), 'latin1')).catch((e: Error) => e)
    if (answers instanceof Error) return answers.message
    const seen = api.requests.slice(before)
    const status = answers[0]?.status
    const told = `${line.slice(0, 200)} -> ${status} [${seen.map(({ target }) => target.slice(0, 200))}]`
    if (seen.length > 1 || answers.length > 1) return `${told}: more than one`
    for (const { target, headers } of seen) {
      if (headers.host !== `127.0.0.1:${api.port}`) return `${told}: Host ${headers.host}`
      const isOwn = line.includes('/bare') ? !/^\/[/\\]/.test(target) : isInside('/v1/orders', worstReading(target))
      if (!isOwn) return `${told}: outside of the route`
    }
    // What is not forwarded is refused in our own words, or by the parser in front of a Worker.
    if (status === undefined ? runtime === 'node' : status >= 500 && !(runtime === 'workerd' && status === 501))
      return told
    const code = answers[0]?.headers.get('coatcheck-error')
    if (runtime === 'node' && status !== 200 && code === null) return `${told}: not in our words`
    return undefined
  }

  for (const [what, steps] of Object.entries(climbs)) {
    test(`R502 R503 R505 that climbs by ${what} stays inside its route, in every form, and calls nobody else`, async () => {
      const wrong: string[] = []
      for (const step of steps) {
        for (const frame of frames) {
          const path = frame.replaceAll('{}', step)
          for (const authority of authorities()) {
            const found = await mistake(`GET ${authority}${path}`)
            if (found !== undefined) wrong.push(found)
          }
        }
      }
      expectNone(wrong)
      expect(connections, 'connections to somebody else').toBe(0)
    })
  }

  test('R502 the corpus is as large as it is said to be', () => {
    const paths = frames.flatMap((frame) =>
      Object.values(climbs)
        .flat()
        .map((step) => frame.replaceAll('{}', step)),
    )
    expect(new Set(paths).size).toBeGreaterThanOrEqual(250)
  })

  test('R502 characters that only a name is made of pass as they are', async () => {
    const { url, api } = shared()
    const names = [
      '%E2%80%A6',
      '%EF%BC%8F',
      'a%EF%BC%8Eb',
      '%E7%AC%AC1%E7%AB%A0%E2%80%A6',
      '...',
      '%EF%BC%9F',
      '%C3%BC',
    ]
    const wrong: string[] = []
    for (const name of names) {
      const [answer] = await converse(url, head(`GET /api/orders/${name}`, close))
      if (answer?.status !== 200 || api.last().target !== `/v1/orders/${name}`)
        wrong.push(`${name} -> ${answer?.status}`)
    }
    expectNone(wrong)
  })

  test('R014 R500 R501 that is no path calls nobody else, with no method and no Host', async () => {
    const { port } = sinkhole
    const evil = `127.0.0.1:${port}`
    const own = 'app.localhost'
    const targets = [
      ...['*', '*/api/orders/x', '/*', `${evil}`, `${evil}/api/orders/x`, `@${evil}/x`, `//${evil}`, `///${evil}/x`],
      ...[
        'http:',
        'http:/',
        'http://',
        `http:///${evil}/x`,
        `http:/${evil}/x`,
        `http:${evil}/x`,
        `http:\\\\${evil}\\x`,
      ],
      ...[`ws://${evil}/x`, `ftp://${evil}/x`, `gopher://${evil}/x`, `file://${evil}/x`, `unix:/x`, 'javascript:x'],
      ...[`http://[::ffff:127.0.0.1]:${port}/api/orders/x`, `http://2130706433:${port}/api/orders/x`],
      ...[`http://0x7f000001:${port}/api/orders/x`, `http://0177.1:${port}/api/orders/x`],
      ...[`http://${own}:${port}/api/orders/x`, `http://${own}:99999/api/orders/x`, `http://${own}:-1/api/orders/x`],
      ...[`http://${own}:/api/orders/x`, `http://${own}:80:${port}/api/orders/x`, `http://${own}.:80/api/orders/x`],
      ...[
        `http://${evil}`,
        `http://${evil}?/api/orders/x`,
        `http://${evil}#/api/orders/x`,
        `http://${evil}\\@${own}/x`,
      ],
      ...[`http://${own}?@${evil}/api/orders/x`, `http://${own}#@${evil}/api/orders/x`, `http://${own};@${evil}/x`],
      ...[`http://${own}%00@${evil}/x`, `http://${own}%2f@${evil}/x`, `http://${own}%40${evil}/x`],
      ...[`/bare/..//${evil}/x`, `/bare/.//${evil}`, `/bare//${evil}`, `/bare/%2f${evil}`, `/bare/\\${evil}/x`],
      ...[`/bare:${port}/x`, `/bare/:${port}/x`, `/bare@${evil}`, `/bare/@${evil}`, `/bare.${evil}`, `/bare%40${evil}`],
    ]
    const wrong: string[] = []
    for (const target of targets) {
      for (const method of ['GET', 'OPTIONS', 'DELETE']) {
        for (const host of [own, evil]) {
          const found = await mistake(`${method} ${target}`, host)
          if (found !== undefined) wrong.push(`Host: ${host}, ${found}`)
        }
      }
    }
    expectNone(wrong)
    expect(connections, 'connections to somebody else').toBe(0)
  })
})

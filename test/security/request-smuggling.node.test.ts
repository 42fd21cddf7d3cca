// Attack: bytes that coatcheck and somebody before or behind it could split into requests in two ways.
// R500 R510 R511 R514
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask, converse, fromPage, head, openConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { broken, clear, endless, get, post, refused, second } from '../support/smuggling.ts'

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

// Attack: a request inside another. Whatever the server in front of our code makes of the bytes, nobody slips one past it.
// R514
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask, fromPage, head, openConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { broken, clear, endless, refused, second, unexpected } from '../support/smuggling.ts'

const corpus = { ...endless, ...refused, ...broken, ...unexpected, 'what is unusual but clear': clear }

/** workerd itself sees two whole requests in each of these, and answers both: no code of ours sees the bytes. */
const wholeToWorkerd = new Set([
  ...['two equal Content-Lengths', 'chunked two times over'],
  ...['NUL in a chunk extension', 'framing in the trailers'],
])

describe('R514 A request with another one inside', () => {
  const shared = sharedWorld()
  let attacks = 0

  test('the corpus is as large as it is said to be', () => {
    const all = Object.values(corpus).flatMap((entries) => Object.values(entries))
    expect(new Set(all).size).toBeGreaterThanOrEqual(180)
  })

  /** Sends an attack with a good request behind it, under paths of its own, and tells what is wrong with the outcome. */
  async function mistake(name: string, bytes: string): Promise<string | undefined> {
    const { url, api } = shared()
    const own = `/open/${String(++attacks).padStart(4, '0')}/`
    const connection = openConnection(url)
    connection.send(Buffer.from((bytes + second).replaceAll('/open/0000/', own), 'latin1'))
    const answers = await connection.answers(bytes.startsWith('HEAD') ? 'HEAD' : undefined).catch((e: Error) => e)
    connection.close()
    if (answers instanceof Error) return answers.message
    const called = api.requests.flatMap(({ target }) => (target.startsWith(own) ? [target.slice(own.length)] : []))
    /** Whose answers these are, in their order. An answer to HEAD does not say. */
    const served = answers.flatMap(({ status, text }) =>
      status === 200 ? [text === '' ? 'first' : String(JSON.parse(text).target).slice(own.length)] : [],
    )
    const told = `answers [${answers.map(({ status }) => status)}] of [${served}], calls of [${called}]`
    const isTwo = runtime === 'workerd' && wholeToWorkerd.has(name)
    const order = isTwo ? ['first', 'smuggled', 'second'] : ['first', 'second']
    if (String(served) !== String(order.filter((one) => served.includes(one)))) return `foreign answer: ${told}`
    if (new Set(called).size !== called.length || called.some((one) => !order.includes(one))) return `smuggled: ${told}`
    // A first call may have begun and broken off with the request that caused it; no other goes without its answer.
    if (called.some((one) => one !== 'first' && !served.includes(one))) return `a call without its answer: ${told}`
    const failed = answers.find(
      ({ status }) => status >= 500 && !(runtime === 'workerd' && [501, 502].includes(status)),
    )
    return failed && told
  }

  for (const [what, entries] of Object.entries(corpus)) {
    test(`${what}: refused, or one call that gets its own answer; what is inside is never a request`, async () => {
      const wrong: string[] = []
      for (const [name, bytes] of Object.entries(entries)) {
        const found = await mistake(name, bytes)
        if (found !== undefined) wrong.push(`${name} -> ${found}`)
      }
      expectNone(wrong)
      expect((await ask(shared().url, 'GET /api/open/good')).status).toBe(200)
    })
  }

  for (const protocol of ['h2c', 'websocket', 'TLS/1.0']) {
    test(`a request to upgrade to ${protocol} and half a request in one packet: the other half is no request of its own`, async () => {
      const { url, api, publicUrl } = shared()
      const own = `/open/${String(++attacks).padStart(4, '0')}/`
      const upgrade = [...fromPage, 'Connection: Upgrade', `Upgrade: ${protocol}`, `Origin: ${publicUrl}`]
      const connection = openConnection(url)
      connection.send(
        `${head(`GET /api${own}first`, upgrade)}POST /api${own}second HTTP/1.1\r\nHost: app.localhost\r\nX: `,
      )
      await connection.answer()
      connection.send(head(`GET /api${own}smuggled`, [...fromPage, 'Connection: close']))
      connection.send(head(`GET /api${own}third`, [...fromPage, 'Connection: close']))
      await connection.answers().catch(() => [])
      connection.close()
      expect(api.requests.filter(({ target }) => target === `${own}smuggled`)).toEqual([])
    })
  }
})

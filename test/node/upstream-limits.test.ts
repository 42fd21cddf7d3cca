import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { ask, fromPage, head, openConnection, type RawConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const page = (line: string, ...headers: string[]) => head(line, [...fromPage, ...headers])

/** Sends one request over each of many connections, and does not wait for the answers. */
async function sendMany(url: string, count: number, request: string): Promise<RawConnection[]> {
  const all: RawConnection[] = []
  while (all.length < count) {
    // No more at once than the system keeps for a server that is busy.
    const some = Array.from({ length: Math.min(128, count - all.length) }, () => openConnection(url))
    await Promise.all(some.map(({ socket }) => once(socket, 'connect')))
    for (const connection of some) connection.send(request)
    all.push(...some)
  }
  return all
}

describe('Calls of one upstream', { timeout: 60_000 }, () => {
  const shared = sharedWorld(({ config }) => ({
    routes: [
      ...(config.routes ?? []).map((route) => ({ ...route, timeout: '20s' })),
      { path: '/brief', upstream: config.routes?.[0]?.upstream ?? '', token: 'none' as const, timeout: '300ms' },
    ],
  }))

  test('are 256 at once; 1,024 wait for an end, and whoever comes then is told to come back', async () => {
    const { url, api, logged } = shared()
    const held: ServerResponse[] = []
    api.answer = (_, response) => void held.push(response)
    const first = await sendMany(url, 256, page('GET /api/open/x'))
    await expect.poll(() => held.length).toBe(256)
    const late = await ask(url, 'GET /brief/x')
    expect([late.status, late.headers.get('coatcheck-error')]).toEqual([504, 'upstream_timeout'])
    const waiting = await sendMany(url, 1_024, page('GET /api/open/y'))
    // The queue is full once the first of those who come after it is turned away.
    await expect
      .poll(async () => (await ask(url, 'GET /brief/x')).headers.get('coatcheck-error'), { interval: 50 })
      .toBe('upstream_unreachable')
    const refused = await ask(url, 'GET /brief/x')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([502, '1'])
    expect(logged('upstream.failed').at(-1)).toMatchObject({ route: '/brief', reason: 'upstream_queue_full' })
    expect(held.length).toBe(256)

    // Browsers that leave make room for others.
    for (const connection of waiting.splice(0, 24)) connection.close()
    await expect.poll(async () => (await ask(url, 'GET /brief/x')).status).toBe(504)

    api.answer = (_, response) => void response.end('good')
    for (const response of held) response.end('good')
    const answers = await Promise.all([...first, ...waiting].map((connection) => connection.answer()))
    expect(answers.filter((answer) => answer?.text !== 'good')).toEqual([])
    for (const connection of [...first, ...waiting]) connection.close()
    expect((await ask(url, 'GET /api/open/x')).text).toBe('good')
  })

  test('go on beside 2,000 event streams of the same upstream', async () => {
    const { url, api } = shared()
    const streams: ServerResponse[] = []
    let closed = 0
    api.answer = (request, response) => {
      if (request.headers.accept !== 'text/event-stream') return void response.end('good')
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      response.on('close', () => closed++)
      return void streams.push(response)
    }
    const open = await sendMany(url, 2_000, page('GET /api/open/events', 'Accept: text/event-stream'))
    await expect.poll(() => streams.length, { timeout: 30_000, interval: 200 }).toBe(2_000)
    const heard = (text: string) =>
      expect
        .poll(() => open.filter((one) => one.received().includes(text)).length, { timeout: 30_000, interval: 200 })
        .toBe(2_000)
    await heard('data: 1')
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(url, 'GET /api/open/x')))
    expect(answers.filter(({ text }) => text !== 'good')).toEqual([])
    for (const response of streams) response.write('data: 2\n\n')
    await heard('data: 2')
    for (const connection of open) connection.close()
    await expect.poll(() => closed, { timeout: 30_000, interval: 200 }).toBe(2_000)
  })

  test.each([
    ['event streams', 'text/event-stream; charset=utf-8'],
    ['streams of any other kind', 'application/x-ndjson'],
  ])('go on beside %s that nobody announced, and are as many as ever', async (_, type) => {
    const { url, api } = shared()
    let streams = 0
    let held: ServerResponse[] = []
    api.answer = (request, response) => {
      if (request.url?.endsWith('/held')) return void held.push(response)
      if (request.method === 'GET') return void response.end('good')
      streams++
      return void response.writeHead(200, { 'content-type': type }).write('{}\n')
    }
    // As libraries for language models ask for a stream: by a member of the body.
    const ask300 = page('POST /api/open/chat', 'Accept: application/json', 'Content-Length: 15')
    const open = await sendMany(url, 300, `${ask300}{"stream":true}`)
    await expect.poll(() => streams).toBe(300)
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(url, 'GET /api/open/x')))
    expect(answers.filter(({ text }) => text !== 'good')).toEqual([])

    const others = await sendMany(url, 256, page('GET /api/open/held'))
    await expect.poll(() => held.length).toBe(256)
    expect((await ask(url, 'GET /brief/x')).status).toBe(504)
    for (const connection of open) connection.close()
    // What the streams had does not come back twice.
    expect((await ask(url, 'GET /brief/x')).status).toBe(504)
    for (const response of held) response.end('good')
    held = []
    await Promise.all(others.map((connection) => connection.answer()))
    for (const connection of others) connection.close()
    expect((await ask(url, 'GET /brief/x')).text).toBe('good')
  })
})

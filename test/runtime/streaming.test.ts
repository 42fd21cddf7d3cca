import { request as httpRequest, type IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { runtime, startWorld, type World } from '../support/coatcheck.ts'

/** Opens a request and hands out the response while it is still under way. */
function open(world: World, path: string, cookie = '', method = 'GET') {
  const request = httpRequest(new URL(path, world.url), { method, agent: false, headers: { 'x-csrf': '1', cookie } })
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
  })
  return { request, response }
}

describe('a streamed answer', () => {
  test('reaches the browser head first, and each event as it is sent', async () => {
    const world = await startWorld()
    let send = (_: string) => {}
    world.api.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      send = (text) => response.write(text)
    }
    const { request, response } = open(world, '/api/open')
    request.end()
    const answer = await response
    expect(answer.headers['content-type']).toBe('text/event-stream')
    const events: string[] = []
    answer.on('data', (chunk) => events.push(String(chunk)))
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      send(event)
      await expect.poll(() => events.at(-1)).toBe(event)
    }
    request.destroy()
  })

  test('ends at the upstream when the browser goes away', async () => {
    const world = await startWorld()
    let gone = false
    world.api.answer = (_, response) => {
      response.writeHead(200)
      // workerd notices with the next bytes that nobody takes them.
      const beat = setInterval(() => response.write('beat'), 50)
      response.on('close', () => {
        clearInterval(beat)
        gone = true
      })
    }
    const { request, response } = open(world, '/api/open')
    request.end()
    await response
    request.destroy()
    await expect.poll(() => gone).toBe(true)
    await expect.poll(() => world.logged('upstream.failed')).toEqual([])
  })

  test.each(['text/event-stream', 'application/x-ndjson'])('of type %s ends with its session', async (type) => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    world.api.answer = (_, response) => response.writeHead(200, { 'content-type': type }).write('data: 1\n\n')
    const { request, response } = open(world, '/api/clock', browser.cookieHeader())
    request.end()
    const answer = await response
    let ended = false
    answer.on('error', () => (ended = true)).resume()
    await browser.fetch('/auth/logout', { method: 'POST' })
    await expect.poll(() => ended).toBe(true)
    await expect.poll(() => world.logged('stream.ended')).toMatchObject([{ route: '/api' }])
  })

  test.each([
    ['little, in pieces', 1_000, 100],
    ['much', 1_000_000, 1_000],
    ['much, of which nothing comes', 1_000_000, 0],
  ])('of announced length (%s) ends with its session as well, if it lasts', async (_, length, part) => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    let gone = false
    world.api.answer = (_, response) => {
      response
        .on('close', () => (gone = true))
        .writeHead(200, { 'content-length': length })
        .flushHeaders()
      if (part > 0) response.write('x'.repeat(part))
    }
    const { request, response } = open(world, '/api/report', browser.cookieHeader())
    let ended = false
    const end = () => (ended = true)
    response.then((answer) => answer.on('error', end).resume()).catch(end)
    request.end()
    await expect.poll(() => world.api.requests.length).toBe(1)
    await browser.fetch('/auth/logout', { method: 'POST' })
    await expect.poll(() => [ended, gone]).toEqual([true, true])
    await expect.poll(() => world.logged('stream.ended')).toMatchObject([{ route: '/api' }])
    expect(world.logged('client.gone')).toEqual([])
  })

  test('of announced length arrives whole, and with its length, when the session goes on', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    world.api.answer = (_, response) => {
      let left = 5
      response.writeHead(200, { 'content-length': 50_000 })
      const beat = setInterval(() => {
        response.write('x'.repeat(10_000))
        if (--left === 0) clearInterval(beat)
      }, 500)
    }
    const answer = await browser.fetch('/api/report')
    expect(answer.bytes.length).toBe(50_000)
    expect(answer.headers.get('content-length')).toBe('50000')
    expect(world.logged('stream.ended')).toEqual([])
  })

  test('that breaks off at the upstream breaks off at the browser, and is not mistaken for a whole one', async () => {
    const world = await startWorld()
    world.api.answer = (_, response) => {
      response.writeHead(200).write('half')
      setImmediate(() => response.destroy())
    }
    const { request, response } = open(world, '/api/open')
    request.end()
    const answer = await response
    const error = await new Promise((resolve) =>
      answer
        .on('error', resolve)
        .on('end', () => resolve('whole'))
        .resume(),
    )
    expect(error).toMatchObject({ code: 'ECONNRESET' })
    // workerd passes the bytes on by itself, and does not say how that went.
    const told = runtime === 'node' ? [{ route: '/api/open', reason: 'upstream_reset' }] : []
    await expect.poll(() => world.logged('upstream.failed')).toMatchObject(told)
  })

  test('waits for a slow browser instead of filling the memory', async () => {
    const world = await startWorld()
    const chunk = Buffer.alloc(1_048_576)
    let sent = 0
    world.api.answer = (_, response) => {
      response.writeHead(200)
      const more = () => {
        while (sent < 400 && response.write(chunk)) sent++
        if (sent < 400) response.once('drain', () => ++sent && more())
        else response.end()
      }
      more()
    }
    const { request, response } = open(world, '/api/open')
    request.end()
    const answer = await response
    // Nobody reads: after a while nothing more is sent.
    const seen: number[] = []
    await expect.poll(() => seen.push(sent) > 1 && seen.at(-1) === seen.at(-2), { interval: 200 }).toBe(true)
    expect(sent).toBeLessThan(100)
    let received = 0
    for await (const part of answer) received += part.length
    expect(received).toBe(400 * 1_048_576)
  })
})

describe('a streamed request', () => {
  test('reaches the upstream while it is being sent', async () => {
    const world = await startWorld()
    world.api.readsBody = false
    const received: string[] = []
    world.api.answer = (request, response) => {
      request.on('data', (chunk) => received.push(String(chunk))).on('end', () => response.end(received.join('')))
    }
    const { request, response } = open(world, '/api/open', '', 'POST')
    request.write('one,')
    await expect.poll(() => received).toEqual(['one,'])
    request.end('two')
    const chunks = []
    for await (const chunk of await response) chunks.push(chunk)
    expect(Buffer.concat(chunks).toString()).toBe('one,two')
  })

  test('without an announced length is cut off at the limit of the route', async () => {
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'none', bodyLimit: '1KB' }],
    }))
    const { request, response } = open(world, '/api', '', 'POST')
    request.write('x'.repeat(600))
    request.end('x'.repeat(600))
    const answer = await response
    expect(answer.statusCode).toBe(413)
    expect(answer.headers['coatcheck-error']).toBe('body_too_large')
  })

  test('that says it is too large is refused before the upstream hears of it', async () => {
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'none', bodyLimit: '1KB' }],
    }))
    const answer = await world.browser().fetch('/api', { method: 'POST', body: 'x'.repeat(1_025) })
    expect(answer.json()).toMatchObject({ status: 413, code: 'body_too_large' })
    expect(world.api.requests).toEqual([])
  })

  test('ends at the upstream when the browser gives up', async () => {
    const world = await startWorld()
    world.api.readsBody = false
    let broken = false
    let begun = false
    world.api.answer = (request) => {
      begun = true
      request.on('close', () => (broken = true)).resume()
    }
    const { request, response } = open(world, '/api/open', '', 'POST')
    response.catch(() => {})
    request.write('begin')
    await expect.poll(() => begun).toBe(true)
    request.destroy()
    await expect.poll(() => broken).toBe(true)
  })
})

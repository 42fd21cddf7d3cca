// A chat completion as the APIs of language models stream it: one POST, and an event for every few letters of the answer.
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { runtime, startWorld, type World } from '../support/coatcheck.ts'

const question = { model: 'small', stream: true, messages: [{ role: 'user', content: 'What is a coat check?' }] }
const delta = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`

/** An API whose answer the test writes, and which notices when nobody listens any more. */
function scripted(world: World) {
  const model = {
    answer: undefined as ServerResponse | undefined,
    isGone: false,
    /** Without this the API thinks for as long as the test likes. */
    begin() {
      model.answer?.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
      model.answer?.flushHeaders()
    },
    /** Resolves when the API sees that nobody listens. workerd notices with the next bytes that nobody takes them. */
    async gone() {
      const looks = () => {
        if (runtime === 'workerd') model.answer?.write(delta('...'))
        return model.isGone
      }
      await expect.poll(looks).toBe(true)
    },
  }
  world.api.answer = (_, response) => {
    response.on('close', () => (model.isGone = !response.writableFinished))
    model.answer = response
  }
  return model
}

/** Sends the question from a page of the application, and hands out the answer while it is still being written. */
function ask(world: World, cookie: string) {
  const body = JSON.stringify(question)
  const request = httpRequest(new URL('/api/chat/completions', world.url), {
    method: 'POST',
    agent: false,
    headers: {
      ...{ cookie, origin: world.publicUrl, 'sec-fetch-site': 'same-origin', accept: 'text/event-stream' },
      ...{ 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    },
  })
  request.on('error', () => {}).end(body)
  const received: string[] = []
  const head = new Promise<IncomingMessage>((resolve) => request.on('response', resolve))
  const ended = head.then((answer) => {
    answer.on('data', (chunk) => received.push(String(chunk)))
    return new Promise((resolve) => answer.on('end', () => resolve('whole')).on('error', resolve))
  })
  return { request, head, received, ended }
}

async function signedInWorld() {
  const world = await startWorld()
  const browser = world.browser()
  await browser.signIn()
  return { world, cookie: browser.cookieHeader(), model: scripted(world), browser }
}

describe('a chat completion', () => {
  test('arrives delta by delta, each before the next is written', async () => {
    const { world, cookie, model } = await signedInWorld()
    const { head, received, ended } = ask(world, cookie)
    await expect.poll(() => model.answer).toBeDefined()
    model.begin()
    // The head is here before there is anything to read.
    const { statusCode, headers: told } = await head
    expect([statusCode, told['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8'])
    const sent = [...['You', ' keep', ' a', ' ticket', '.'].map(delta), 'data: [DONE]\n\n']
    for (const [index, event] of sent.entries()) {
      expect(received).toHaveLength(index)
      model.answer?.write(event)
      await expect.poll(() => received).toEqual(sent.slice(0, index + 1))
    }
    model.answer?.end()
    expect(await ended).toBe('whole')
    const { headers, body } = world.api.last()
    expect(JSON.parse(body.toString())).toEqual(question)
    expect(headers).toMatchObject({ 'content-type': 'application/json', accept: 'text/event-stream' })
    expect(headers.authorization).toMatch(/^Bearer /)
    expect(headers.cookie).toBeUndefined()
  })

  test('that the page aborts in the middle is aborted at the API', async () => {
    const { world, cookie, model } = await signedInWorld()
    const { request, received } = ask(world, cookie)
    await expect.poll(() => model.answer).toBeDefined()
    model.begin()
    model.answer?.write(delta('You'))
    await expect.poll(() => received).toHaveLength(1)
    request.destroy()
    await model.gone()
  })

  test('that the page aborts while the model still thinks is aborted at the API', async () => {
    const { world, cookie, model } = await signedInWorld()
    const { request } = ask(world, cookie)
    await expect.poll(() => model.answer).toBeDefined()
    request.destroy()
    await model.gone()
    expect(world.logged('upstream.failed')).toEqual([])
  })

  test('ends with the session of who asked, in the middle of a word', async () => {
    const { world, cookie, model, browser } = await signedInWorld()
    const { received, ended } = ask(world, cookie)
    await expect.poll(() => model.answer).toBeDefined()
    model.begin()
    model.answer?.write(delta('You ke'))
    await expect.poll(() => received).toHaveLength(1)
    await browser.fetch('/auth/logout', { method: 'POST' })
    expect(await ended).toMatchObject({ code: 'ECONNRESET' })
    await expect.poll(() => model.isGone).toBe(true)
  })

  test('that takes longer to begin than the route allows is given up, on both sides', async () => {
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'user', timeout: '300ms' }],
    }))
    const browser = world.browser()
    await browser.signIn()
    const model = scripted(world)
    const { head } = ask(world, browser.cookieHeader())
    expect((await head).headers['coatcheck-error']).toBe('upstream_timeout')
    await expect.poll(() => model.isGone).toBe(true)
  })

  test('may pause for longer than the time-out of its route once it has begun', async () => {
    const timeout = 300
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'user', timeout: `${timeout}ms` }],
    }))
    const browser = world.browser()
    await browser.signIn()
    const model = scripted(world)
    const { head, received } = ask(world, browser.cookieHeader())
    await expect.poll(() => model.answer).toBeDefined()
    model.begin()
    await head
    const begun = Date.now()
    await expect.poll(() => Date.now() - begun).toBeGreaterThan(2 * timeout)
    model.answer?.end('data: [DONE]\n\n')
    await expect.poll(() => received).toEqual(['data: [DONE]\n\n'])
  })
})

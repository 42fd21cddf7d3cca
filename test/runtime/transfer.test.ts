import { connect } from 'node:net'
import { beforeEach, describe, expect, test } from 'vitest'
import { describeOn, runtime, testOn } from '../support/coatcheck.ts'
import { converse, fromPage, head, openConnection, type RawConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { passed } from '../support/time.ts'

const content = Buffer.from(Array.from({ length: 1_000 }, (_, index) => index % 251))
const close = [...fromPage, 'Connection: close']

describe('An answer', () => {
  const shared = sharedWorld()
  beforeEach(() => {
    const { api } = shared()
    api.requests.length = 0
    api.readsBody = true
    api.answer = (request, response) => {
      const { range, 'if-range': ifRange } = request.headers
      const [, from, to] =
        /^bytes=(\d+)-(\d+)$/.exec(ifRange === undefined || ifRange === '"v1"' ? (range ?? '') : '') ?? []
      response.setHeader('etag', '"v1"').setHeader('accept-ranges', 'bytes').setHeader('content-type', 'video/mp4')
      if (from !== undefined && Number(from) >= content.length) {
        return void response.writeHead(416, { 'content-range': `bytes */${content.length}`, 'content-length': 0 }).end()
      }
      const part = from === undefined ? content : content.subarray(Number(from), Number(to) + 1)
      if (from !== undefined) response.setHeader('content-range', `bytes ${from}-${to}/${content.length}`)
      response.writeHead(from === undefined ? 200 : 206, { 'content-length': part.length })
      return void response.end(request.method === 'HEAD' ? undefined : part)
    }
  })

  const get = async (path: string, headers: string[] = [], method = 'GET') => {
    const [answer] = await converse(shared().url, head(`${method} /api/open${path}`, [...close, ...headers]))
    if (!answer) throw new Error('No answer')
    return answer
  }

  test('to a range request is that range, and says which', async () => {
    const answer = await get('/film', ['Range: bytes=100-199'])
    expect(answer.status).toBe(206)
    expect(answer.headers.get('content-range')).toBe('bytes 100-199/1000')
    expect(answer.body).toEqual(content.subarray(100, 200))
  })

  test('to a range request that asks for an older version is whole', async () => {
    const same = await get('/film', ['Range: bytes=0-9', 'If-Range: "v1"'])
    expect([same.status, same.body.length]).toEqual([206, 10])
    const other = await get('/film', ['Range: bytes=0-9', 'If-Range: "v0"'])
    expect([other.status, other.body.length]).toEqual([200, 1_000])
  })

  test('to a range that is not there is 416, as the upstream says it', async () => {
    const answer = await get('/film', ['Range: bytes=5000-5001'])
    expect(answer.status).toBe(416)
    expect(answer.headers.get('content-range')).toBe('bytes */1000')
    expect(answer.headers.get('coatcheck-error')).toBeNull()
  })

  test('to HEAD has the length of what GET would have, and no body', async () => {
    const answer = await get('/film', [], 'HEAD')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-length')).toBe('1000')
    expect(answer.headers.get('etag')).toBe('"v1"')
    expect(answer.body.length).toBe(0)
  })

  test.each([204, 304])('of %i has no body and no length that promises one', async (status) => {
    shared().api.answer = (_, response) => void response.writeHead(status, { etag: '"v1"' }).end()
    const answer = await get('/x')
    expect(answer.status).toBe(status)
    expect(answer.headers.get('etag')).toBe('"v1"')
    expect(answer.headers.get('transfer-encoding')).toBeNull()
    expect(answer.headers.get('content-length') ?? '0').toBe('0')
  })

  test('leaves its trailers behind, and nobody is promised any', async () => {
    const { api } = shared()
    api.answer = (_, response) => {
      response.writeHead(200, { trailer: 'x-late' })
      response.write('good')
      response.addTrailers({ 'x-late': 'SECRET' })
      response.end()
    }
    const connection = openConnection(shared().url)
    connection.send(head('GET /api/open/x', [...close, 'TE: trailers', 'Trailer: x-mine']))
    expect((await connection.answer())?.text).toBe('good')
    expect(connection.received()).not.toMatch(/x-late|SECRET|^trailer:/im)
    expect(api.last().headers).not.toHaveProperty('te')
    expect(api.last().headers).not.toHaveProperty('trailer')
    connection.close()
  })

  test('is asked for without the trailers of a request', async () => {
    const { api, url } = shared()
    const body = '4\r\ngood\r\n0\r\nX-Mine: SECRET\r\n\r\n'
    const [answer] = await converse(
      url,
      head('POST /api/open/x', [...close, 'Transfer-Encoding: chunked', 'Trailer: X-Mine']) + body,
    )
    expect(answer?.status).toBe(200)
    expect(api.last().body.toString()).toBe('good')
    expect(JSON.stringify(api.last().rawHeaders)).not.toMatch(/SECRET|X-Mine/i)
  })

  test('of each kind leaves both connections good for the next', async () => {
    const { api, url } = shared()
    let connections = 0
    const count = () => connections++
    const connection = openConnection(url)
    const next = async (line: string, headers: string[] = [], body = '') => {
      connection.send(head(line, [...fromPage, ...headers]) + body)
      return (await connection.answer(line.startsWith('HEAD') ? 'HEAD' : undefined))?.status
    }
    await next('GET /api/open/x')
    api.server.on('connection', count)
    expect(await next('HEAD /api/open/x')).toBe(200)
    expect(await next('GET /api/open/x', ['Range: bytes=1-2'])).toBe(206)
    expect(await next('GET /api/open/x', ['Range: bytes=5000-5001'])).toBe(416)
    expect(await next('POST /api/open/x', ['Content-Length: 2'], 'hi')).toBe(200)
    expect(await next('POST /api/open/x', ['Transfer-Encoding: chunked'], '2\r\nhi\r\n0\r\n\r\n')).toBe(200)
    api.answer = (_, response) => void response.writeHead(204).end()
    expect(await next('GET /api/open/x')).toBe(204)
    expect(await next('DELETE /api/open/x')).toBe(204)
    api.answer = (_, response) => void response.writeHead(304).end()
    expect(await next('GET /api/open/x')).toBe(304)
    api.answer = (_, response) => {
      response.addTrailers({ 'x-late': '1' })
      response.write('x')
      response.end()
    }
    expect(await next('GET /api/open/x')).toBe(200)
    // After HEAD there is a new one: some upstreams send a body where none may be. workerd decides for itself.
    if (runtime === 'node') expect(connections).toBe(1)
    api.server.off('connection', count)
    connection.close()
  })
})

describe('A request that asks first (Expect: 100-continue)', () => {
  const shared = sharedWorld(({ config }) => ({
    routes: [
      ...(config.routes ?? []).map((route) => ({ ...route, bodyLimit: '1KB' })),
      { path: '/nowhere', upstream: 'http://127.0.0.1:1', token: 'none' as const },
    ],
  }))
  const asking = (path: string, length: number) =>
    head(`POST ${path}`, [...fromPage, 'Content-Type: text/plain', `Content-Length: ${length}`, 'Expect: 100-continue'])

  /** Whether the server said to go on before it answered. */
  const wasToldToGoOn = (connection: RawConnection) => connection.received().startsWith('HTTP/1.1 100')

  test('is told to go on, once its body is wanted', async () => {
    const { url, api } = shared()
    const connection = openConnection(url)
    connection.send(asking('/api/open/x', 4))
    await expect.poll(() => wasToldToGoOn(connection)).toBe(true)
    connection.send('body')
    expect((await connection.answer())?.status).toBe(200)
    expect(api.last().body.toString()).toBe('body')
    expect(api.last().headers).not.toHaveProperty('expect')
    connection.close()
  })

  testOn('node')('is told to go on under /auth as well', async () => {
    const connection = openConnection(shared().url)
    connection.send(asking('/auth/backchannel-logout', 4))
    await expect.poll(() => wasToldToGoOn(connection)).toBe(true)
    connection.send('body')
    expect((await connection.answer())?.status).toBe(400)
    connection.close()
  })

  // workerd says so at once.
  testOn('node')('is refused without ever sending its body', async () => {
    const { url } = shared()
    for (const [path, length, status] of [
      ['/api/open/x', 5_000, 413],
      ['/api/x', 4, 401],
      ['/nowhere/x', 4, 502],
    ] as const) {
      const connection = openConnection(url)
      connection.send(asking(path, length))
      expect((await connection.answer())?.status, path).toBe(status)
      expect(wasToldToGoOn(connection), path).toBe(false)
      connection.close()
    }
  })

  test('may send its body without waiting', async () => {
    const { url, api } = shared()
    const [answer] = await converse(
      url,
      `${asking('/api/open/x', 4).replace(/\r\n\r\n$/, '\r\nConnection: close\r\n\r\n')}body`,
    )
    expect(answer?.status).toBe(200)
    expect(api.last().body.toString()).toBe('body')
  })
})

describe('An upstream that answers before it has seen the whole request', () => {
  const shared = sharedWorld(({ config }) => ({
    routes: (config.routes ?? []).map((route) => ({ ...route, bodyLimit: '50MB' })),
  }))
  const much = 20_000_000

  test.each(['Content-Length: 20000000', 'Transfer-Encoding: chunked'])(
    'has its answer delivered while the browser still sends (%s)',
    async (framing) => {
      const { url, api } = shared()
      api.readsBody = false
      api.answer = (_, response) => void response.writeHead(413, { 'content-length': 8 }).end('too much')
      const connection = openConnection(url)
      const isChunked = framing.startsWith('Transfer')
      connection.send(head('POST /api/open/x', [...fromPage, framing]))
      let sent = 0
      const piece = Buffer.alloc(100_000)
      const send = () => {
        if (sent < much) {
          sent += piece.length
          if (isChunked) connection.send(`${piece.length.toString(16)}\r\n`)
          connection.send(piece)
          if (isChunked) connection.send('\r\n')
        }
      }
      for (let times = 0; times < 10; times++) send()
      const answer = await connection.answer()
      expect([answer?.status, answer?.text]).toEqual([413, 'too much'])
      if (runtime === 'workerd') return connection.close()
      // What the browser goes on sending is taken, and then its connection is good for the next request.
      while (sent < much) send()
      if (isChunked) connection.send('0\r\n\r\n')
      api.answer = (_, response) => void response.end('next')
      connection.send(head('GET /api/open/x', fromPage))
      expect((await connection.answer())?.text).toBe('next')
      return connection.close()
    },
  )
})

// On Workers the runtime looks after this.
describeOn('node')('A browser that has its answer and is not done with its request', () => {
  const shared = sharedWorld(({ config }) => ({
    routes: [
      ...(config.routes ?? []).map((route) => ({ ...route, bodyLimit: '50MB' })),
      { path: '/small', upstream: config.routes?.[0]?.upstream ?? '', token: 'none' as const, bodyLimit: '1KB' },
    ],
  }))
  const piece = Buffer.alloc(200_000)
  const pieces = 14

  /** Sends a body for a second. */
  async function sendPieces(send: (bytes: string | Buffer) => void, [line = '', ...more]: string[], framing: string) {
    const isChunked = framing.startsWith('Transfer')
    send(head(line, [...fromPage, ...more, framing]))
    for (let sent = 0; sent < pieces; sent++) {
      if (isChunked) send(`${piece.length.toString(16)}\r\n`)
      send(piece)
      if (isChunked) send('\r\n')
      await passed(50)
    }
    if (isChunked) send('0\r\n\r\n')
  }

  describe.each([`Content-Length: ${pieces * piece.length}`, 'Transfer-Encoding: chunked'])('(%s)', (framing) => {
    test.each([
      ['an early answer of the upstream', '/api/open/x', 409],
      ['that it is too large', '/small/x', 413],
      ['that nobody is signed in', '/api/x', 401],
      ['that there is nothing', '/auth/nothing', 404],
      ['that its request is malformed', '/api/open/%2e%2e/x', 400],
    ])('hears %s, and may go on with the connection', async (_, path, status) => {
      const { api } = shared()
      api.readsBody = false
      api.answer = (_, response) => void response.writeHead(409, { 'content-length': 2 }).end('no')
      const connection = openConnection(shared().url)
      await sendPieces(connection.send, [`POST ${path}`], framing)
      expect((await connection.answer())?.status).toBe(status)
      connection.send(head('GET /healthz', fromPage))
      expect((await connection.answer())?.status).toBe(200)
      connection.close()
    })

    test.each([
      ['an early answer of the upstream', '/api/open/x', 409],
      ['that it is too large', '/small/x', 413],
      ['that nobody is signed in', '/api/x', 401],
    ])('hears %s on a connection that ends with it', async (_, path, status) => {
      const { api, url } = shared()
      api.readsBody = false
      api.answer = (_, response) => void response.writeHead(409, { 'content-length': 2 }).end('no')
      const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), allowHalfOpen: true })
      const failed = new Promise<never>((_, reject) => socket.once('error', reject))
      const answered = async () => {
        await sendPieces((bytes) => socket.write(bytes), [`POST ${path}`, 'Connection: close'], framing)
        socket.write(head('GET /api/open/next', fromPage))
        return (await socket.setEncoding('latin1').toArray()).join('')
      }
      const text = await Promise.race([answered(), failed])
      expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
      expect(text.match(/HTTP\/1.1/g)).toHaveLength(1)
      expect(api.requests.map(({ target }) => target)).not.toContain('/open/next')
      socket.destroy()
    })
  })

  test('may leave, and that is no malformed request', async () => {
    const { url, logged } = shared()
    const connection = openConnection(url)
    connection.send(`${head('POST /api/x', [...fromPage, 'Content-Length: 1000'])}begin`)
    expect((await connection.answer())?.status).toBe(401)
    const before = logged('request.refused').length
    connection.socket.end()
    expect(await connection.answer()).toBeUndefined()
    expect(logged('request.refused').length).toBe(before)
  })
})

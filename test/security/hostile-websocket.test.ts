// Attack: a browser, or whoever pretends to be one, or an upstream, that speaks WebSocket in ways it must not.
// R518 R528. What single frames may be is the runtime's business on Workers: hostile-websocket.node.test.ts.
import { describe, expect, test } from 'vitest'
import { runtime, startWorld, type World } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { head, openConnection } from '../support/raw.ts'
import { startRawUpstream } from '../support/raw-upstream.ts'
import { openPage, refusalOf, takeWebSockets } from '../support/websocket.ts'
import { acceptFor, handshakeLines, switching } from '../support/websocket-frames.ts'

const startLive = (upstream?: string, more: object = {}) =>
  startWorld(({ api }) => ({
    routes: [
      { path: '/api/x', upstream: upstream ?? api.url, token: 'none', websocket: { messageLimit: '64KB' }, ...more },
    ],
  }))

const handshake = (world: World, more: readonly string[] = []) =>
  head('GET /api/x', [...handshakeLines, `Origin: ${world.publicUrl}`, ...more])

describe('R528 A browser that', () => {
  test.each([
    ['no key', [0, 1, 2]],
    ['a key of the wrong length', [0, 1, 2], 'Sec-WebSocket-Key: dGhl'],
    ['two keys', [0, 1, 2, 3], 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
    ['no version', [0, 1, 3]],
    ['an empty subprotocol', [0, 1, 2, 3], 'Sec-WebSocket-Protocol: a,,b'],
    ['a subprotocol twice', [0, 1, 2, 3], 'Sec-WebSocket-Protocol: a, a'],
    ['a subprotocol that is no token', [0, 1, 2, 3], 'Sec-WebSocket-Protocol: a b'],
  ])('begins with %s is refused before the upstream is dialled', async (_, lines: number[], ...more: string[]) => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const connection = openConnection(world.url)
    const proper = lines.map((at) => handshakeLines[at] ?? '')
    connection.send(head('GET /api/x', [...proper, `Origin: ${world.publicUrl}`, ...more]))
    const answer = await connection.answer()
    expect(answer?.status).toBe(400)
    expect(api.handshakes).toEqual([])
    connection.close()
  })

  test.each(['8', '14', '13, 8', 'x'])('asks for version %s hears which one there is', async (version) => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const connection = openConnection(world.url)
    const lines = handshakeLines.filter((line) => !line.startsWith('Sec-WebSocket-Version'))
    connection.send(head('GET /api/x', [...lines, `Origin: ${world.publicUrl}`, `Sec-WebSocket-Version: ${version}`]))
    const answer = await connection.answer()
    expect([answer?.status, answer?.headers.get('coatcheck-error')]).toEqual([426, 'upgrade_required'])
    expect(answer?.headers.get('sec-websocket-version')).toBe('13')
    // workerd keeps these two to itself.
    if (runtime === 'node') {
      expect(answer?.headers.get('upgrade')).toBe('websocket')
      expect(answer?.headers.get('connection')).toBe('close, upgrade')
    }
    expect(api.handshakes).toEqual([])
    connection.close()
  })

  test('R514 sends a request behind a handshake that is refused gets one answer', async () => {
    const world = await startLive()
    takeWebSockets(world.api).refuse = (_, socket) => !!socket.end('HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n')
    const connection = openConnection(world.url)
    connection.send(handshake(world) + head('GET /api/x', [`Origin: ${world.publicUrl}`, 'Connection: close']))
    expect((await connection.answer())?.status).toBe(403)
    if (runtime === 'node') expect(await connection.answers()).toEqual([])
    // workerd goes on with the connection; the request is then one of its own.
    else expect((await connection.answers()).length).toBeLessThanOrEqual(1)
    connection.close()
  })
})

describe('R528 An upstream that', () => {
  async function answering(answer: (head: string) => string | Buffer, more: object = {}) {
    const upstream = closeAfterTest(await startRawUpstream((socket, head) => void socket.write(answer(head))))
    return startLive(upstream.url, more)
  }

  test.each([
    [
      'accepts another key',
      (head: string) => switching(head).replace(acceptFor(head), acceptFor('Sec-WebSocket-Key: x')),
    ],
    ['accepts no key', (head: string) => switching(head).replace(/^Sec-WebSocket-Accept.*\r\n/m, '')],
    ['switches to something else', (head: string) => switching(head).replace('Upgrade: websocket', 'Upgrade: h2c')],
    ['switches to nothing', () => 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['chooses an extension that nobody offered', (head: string) => switching(head, ['Sec-WebSocket-Extensions: x-y'])],
    ['answers garbage', () => 'garbage\r\n\r\n'],
    [
      'sends a head without end',
      () => `HTTP/1.1 101 Switching Protocols\r\n${'X-Bomb: '.padEnd(1_000, 'x')}\r\n`.repeat(200),
    ],
  ])('%s is 502', async (what, answer) => {
    const world = await answering(answer, { timeout: '2s' })
    // workerd does not look at these.
    const lenient = ['accepts another key', 'accepts no key', 'chooses an extension that nobody offered']
    if (runtime === 'workerd' && lenient.includes(what)) return
    const refusal = await refusalOf(openPage(world, '/api/x'))
    expect(refusal.status).toBeGreaterThanOrEqual(502)
    // A 101 that switches to nothing workerd makes a 502 itself.
    const own = refusal.headers.get('coatcheck-error') ?? (runtime === 'workerd' && 'upstream_invalid')
    expect(own).toMatch(/^upstream_/)
  })

  test.each([
    ['nothing', () => ''],
    ['one byte after another', () => 'H'],
    ['one 100 after another', () => 'HTTP/1.1 100 Continue\r\n\r\n'],
  ])('answers %s is given up in time', async (what, answer) => {
    const upstream = closeAfterTest(
      await startRawUpstream((socket) => {
        const drip = setInterval(() => socket.write(answer()), 20)
        socket.on('close', () => clearInterval(drip))
      }),
    )
    const world = await startLive(upstream.url, { timeout: '300ms' })
    const refusal = await refusalOf(openPage(world, '/api/x'))
    expect([502, 504]).toContain(refusal.status)
    if (what === 'nothing') expect(refusal.headers.get('coatcheck-error')).toBe('upstream_timeout')
    await expect.poll(() => upstream.open.size).toBe(0)
  })

  test('R518 sets cookies and policies on its 101 sets none', async () => {
    const world = await answering((head) =>
      switching(head, [
        'Set-Cookie: coatcheck=stolen; Path=/',
        'Clear-Site-Data: "cookies"',
        'Strict-Transport-Security: max-age=0',
        'Access-Control-Allow-Origin: *',
        'X-Anything: at all',
        'Coatcheck-Error: forged',
      ]),
    )
    const page = await openPage(world, '/api/x')
    const { upgrade, connection, ...headers } = page.headers
    // workerd compresses if the browser likes.
    const own = /^(sec-websocket-(accept|extensions)|date)$/
    expect(Object.keys(headers).filter((name) => !own.test(name))).toEqual([])
  })
})

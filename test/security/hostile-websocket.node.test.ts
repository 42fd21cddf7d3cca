// Attack: WebSocket frames that break the protocol or the limit, from a browser and from an upstream (RFC 6455, section 5).
// R528
import { describe, expect, test } from 'vitest'
import { startWorld, type World } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { head, openConnection, type RawConnection } from '../support/raw.ts'
import { startRawUpstream } from '../support/raw-upstream.ts'
import { openPage, takeWebSockets } from '../support/websocket.ts'
import { closeCodeIn, frame, handshakeLines, opcodes, switching } from '../support/websocket-frames.ts'

const startLive = (upstream?: string) =>
  startWorld(({ api }) => ({
    routes: [{ path: '/api/x', upstream: upstream ?? api.url, token: 'none', websocket: { messageLimit: '64KB' } }],
  }))

/** A connection that has switched. */
async function switched(world: World): Promise<RawConnection> {
  const connection = openConnection(world.url)
  connection.send(head('GET /api/x', [...handshakeLines, `Origin: ${world.publicUrl}`]))
  await expect.poll(() => connection.received()).toMatch(/^HTTP\/1\.1 101 [^\r]*\r\n(?:[^\r]+\r\n)+\r\n/)
  return connection
}

/** The close code that came, once the connection is closed. */
async function closeCodeFor(connection: RawConnection): Promise<number | undefined> {
  const frames = () => {
    const received = connection.received()
    return Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1')
  }
  await expect.poll(() => connection.socket.destroyed || closeCodeIn(frames()) !== undefined).toBe(true)
  return closeCodeIn(frames())
}

describe('R528 A browser that', () => {
  const text = opcodes.text
  test.each([
    ['does not mask', frame(text, 'x', { masked: false })],
    ['sets a reserved bit', frame(text, 'x', { reserved: 4 })],
    ['uses an opcode that means nothing', frame(3, 'x')],
    ['sends text that is not UTF-8', frame(text, Buffer.from([0xc3, 0x28]))],
    ['announces more than anybody could send', frame(text, 'x', { announced: 2n ** 62n })],
    ['announces more than the limit', frame(text, 'x', { announced: 65_537n })],
    [
      'sends more than the limit in fragments',
      Buffer.concat(
        Array.from({ length: 5 }, (_, at) => frame(at === 0 ? text : 0, 'x'.repeat(16_384), { fin: false })),
      ),
    ],
    ['begins a message inside another', Buffer.concat([frame(text, 'x', { fin: false }), frame(text, 'y')])],
    ['goes on with a message that nobody began', frame(0, 'x')],
    ['sends a ping in fragments', frame(opcodes.ping, 'x', { fin: false })],
    ['sends a ping longer than a ping may be', frame(opcodes.ping, 'x'.repeat(126))],
    ['closes with a code that must not be sent', frame(opcodes.close, Buffer.from([3, 237]))],
    ['closes with half a code', frame(opcodes.close, Buffer.from([3]))],
  ])('%s is disconnected, and nothing of it goes up', async (_, bytes) => {
    const world = await startLive()
    const api = takeWebSockets(world.api)
    const connection = await switched(world)
    connection.send(bytes)
    const code = await closeCodeFor(connection)
    expect([1002, 1007, 1009]).toContain(code)
    expect((await api.last().closed).code).toBe(1001)
    expect(api.last().messages).toEqual([])
    // And nobody else notices.
    const page = await openPage(world, '/api/x')
    page.socket.send('still here')
    await expect.poll(() => page.messages.length).toBe(1)
    connection.close()
  })
})

describe('R528 An upstream that', () => {
  test.each([
    ['masks', () => frame(opcodes.text, 'x')],
    ['sends text that is not UTF-8', () => frame(opcodes.text, Buffer.from([0xff]), { masked: false })],
    ['sends more than the limit', () => frame(opcodes.text, 'x'.repeat(65_537), { masked: false })],
    ['announces more than there is', () => frame(opcodes.text, 'x', { masked: false, announced: 2n ** 62n })],
    ['sends what is no frame', () => Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
  ])('%s is disconnected, and the page hears that it is over', async (_, bytes) => {
    const upstream = closeAfterTest(
      await startRawUpstream(
        (socket, head) => void socket.write(Buffer.concat([Buffer.from(switching(head)), bytes()])),
      ),
    )
    const world = await startLive(upstream.url)
    const page = await openPage(world, '/api/x')
    expect([1009, 1011]).toContain((await page.closed).code)
    expect(page.messages).toEqual([])
    await expect.poll(() => world.logged('websocket.closed')).toHaveLength(1)
  })
})

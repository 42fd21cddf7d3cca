// Attack: a call that waits on its way until the session it began with is over, and then acts for it.
// R141
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { fromPage, head, openConnection } from '../support/raw.ts'
import { openPage, refusalOf, takeWebSockets } from '../support/websocket.ts'

const startLive = () =>
  startWorld(({ api }) => ({ routes: [{ path: '/api', upstream: api.url, token: 'user', websocket: true }] }))

describe('R141 A call that is still on its way when its session ends', () => {
  test('does not go up once its body is there', async () => {
    const world = await startLive()
    const browser = world.browser()
    await browser.signIn()
    const cookie = `Cookie: ${browser.cookieHeader()}`
    const parked = openConnection(world.url)
    parked.send(head('POST /api/transfer', [...fromPage, cookie, 'Content-Length: 10']))
    parked.send('12345')
    await once(parked.socket, 'connect')
    // Another call of the same session has gone all the way meanwhile.
    expect((await browser.fetch('/api/x')).status).toBe(200)
    await browser.fetch('/auth/logout', { method: 'POST' })
    parked.send('67890')
    const answer = await parked.answer()
    expect(answer?.status).toBe(401)
    expect(JSON.parse(answer?.text ?? '')).toMatchObject({ code: 'session_expired', loginUrl: '/auth/login' })
    expect(world.api.requests.map(({ method }) => method)).toEqual(['GET'])
    parked.close()
  })

  test('does not become a WebSocket', async () => {
    const world = await startLive()
    const browser = world.browser()
    await browser.signIn()
    const said: Buffer[] = []
    const dialled = Promise.withResolvers<() => Duplex>()
    takeWebSockets(world.api).refuse = ({ headers }, socket) => {
      const key = `${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
      const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade']
      const proof = `Sec-WebSocket-Accept: ${createHash('sha1').update(key).digest('base64')}`
      dialled.resolve(() => {
        socket.write([...lines, proof, '', ''].join('\r\n'))
        return socket.on('data', (bytes: Buffer) => said.push(bytes))
      })
      return true
    }
    const opening = refusalOf(openPage(world, '/api/live', { browser }))
    const accept = await dialled.promise
    await browser.fetch('/auth/logout', { method: 'POST' })
    const upstream = accept()
    const refused = await opening
    expect(refused.status).toBe(401)
    expect(refused.headers.get('coatcheck-error')).toBe('session_expired')
    // Cut, or closed where a connection cannot be cut (RFC 6455, section 5.5.1).
    await expect.poll(() => upstream.readableEnded || said[0]?.[0] === 0x88).toBe(true)
    expect(world.logged('websocket.opened')).toEqual([])
  })
})

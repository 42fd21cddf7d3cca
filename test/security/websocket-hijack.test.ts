// Attack: another site opens a WebSocket with the cookies of a signed-in user; browsers send no Fetch Metadata with it.
// R312
import { beforeAll, describe, expect, test } from 'vitest'
import { expectNone } from '../support/corpus.ts'
import { head, openConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import { handshakeLines, switching } from '../support/websocket-frames.ts'

describe.each([true, false])('R312 A WebSocket handshake, on routes with WebSockets: %s,', (websocket) => {
  const shared = sharedWorld(({ api }) => ({
    routes: [{ path: '/api', upstream: `${api.url}/v1`, token: 'user', websocket }],
  }))
  /** Every handshake the API heard of, whether or not as one. */
  const heard: string[] = []
  beforeAll(() => {
    const { api } = shared()
    api.server.on('connection', () => heard.push('connection'))
    api.server.on('upgrade', (request, socket) => {
      heard.push('upgrade')
      request.socket.on('error', () => {})
      const key = `${request.headers['sec-websocket-key']}`
      socket.end(switching(`Sec-WebSocket-Key: ${key}`))
    })
  })

  async function handshake(headers: readonly string[]) {
    const connection = openConnection(shared().url)
    connection.send(head('GET /api/x', [...handshakeLines, ...headers]))
    const answer = await connection.answer().finally(() => connection.close())
    return answer?.status ?? 0
  }

  test('from anywhere but the application is 403 before the upstream is dialled', async () => {
    const { api, publicUrl, browser } = shared()
    const user = browser()
    await user.signIn()
    const { port } = new URL(publicUrl)
    const elsewhere = [
      ...['https://evil.test', 'null', `http://sibling.localhost:${port}`, `${publicUrl}.evil`, `${publicUrl}/`],
      ...[
        publicUrl.replace('http:', 'https:'),
        publicUrl.replace('http:', 'ws:'),
        'http://app.localhost',
        `${publicUrl}, ${publicUrl}`,
      ],
    ].map((origin) => [`Origin: ${origin}`])
    const wrong: string[] = []
    for (const headers of elsewhere) {
      for (const more of [[], ['X-CSRF: 1'], ['Sec-Fetch-Site: same-origin'], ['Sec-WebSocket-Protocol: graphql-ws']]) {
        const before = api.requests.length + heard.length
        const status = await handshake([`Cookie: ${user.cookieHeader()}`, ...headers, ...more])
        if (status !== 403 || api.requests.length + heard.length !== before)
          wrong.push(`${headers} ${more} -> ${status}`)
      }
    }
    expectNone(wrong)
  })

  test('without an Origin is 403, whatever else it brings: browsers always send one', async () => {
    const { api, browser } = shared()
    const user = browser()
    await user.signIn()
    const wrong: string[] = []
    for (const more of [
      [],
      ['X-CSRF: 1'],
      ['Sec-Fetch-Site: same-origin'],
      ['Sec-Fetch-Mode: websocket', 'X-CSRF: 1'],
    ]) {
      const before = api.requests.length + heard.length
      const status = await handshake([`Cookie: ${user.cookieHeader()}`, ...more])
      if (status !== 403 || api.requests.length + heard.length !== before) wrong.push(`[${more}] -> ${status}`)
    }
    expectNone(wrong)
  })

  test('from the application is switched where the route says so, and else a call of which nothing more goes up', async () => {
    const { api, publicUrl, browser } = shared()
    const user = browser()
    await user.signIn()
    const before = api.requests.length
    const connection = openConnection(shared().url)
    connection.send(head('GET /api/x', [...handshakeLines, `Cookie: ${user.cookieHeader()}`, `Origin: ${publicUrl}`]))
    await expect.poll(() => connection.received()).toMatch(websocket ? /^HTTP\/1\.1 101 / : /^HTTP\/1\.1 200 /)
    connection.close()
    expect(heard.includes('upgrade')).toBe(websocket)
    for (const { headers } of api.requests.slice(before)) expect(headers).not.toHaveProperty('upgrade')
  })
})

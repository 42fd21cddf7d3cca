// Attack: another site opens a WebSocket with the cookies of a signed-in user; browsers send no Fetch Metadata with it.
// R312
import { describe, expect, test } from 'vitest'
import { expectNone } from '../support/corpus.ts'
import { head, openConnection } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const upgrade = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

describe('R312 A WebSocket handshake', () => {
  const shared = sharedWorld()

  async function handshake(headers: readonly string[]) {
    const connection = openConnection(shared().url)
    connection.send(head('GET /api/x', [...upgrade, ...headers]))
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
        const before = api.requests.length
        const status = await handshake([`Cookie: ${user.cookieHeader()}`, ...headers, ...more])
        if (status !== 403 || api.requests.length !== before) wrong.push(`${headers} ${more} -> ${status}`)
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
      const before = api.requests.length
      const status = await handshake([`Cookie: ${user.cookieHeader()}`, ...more])
      if (status !== 403 || api.requests.length !== before) wrong.push(`[${more}] -> ${status}`)
    }
    expectNone(wrong)
  })

  test('on a route without WebSockets is not switched, and nothing of it goes up, even for the application', async () => {
    const { api, publicUrl, browser } = shared()
    const user = browser()
    await user.signIn()
    const before = api.requests.length
    const status = await handshake([`Cookie: ${user.cookieHeader()}`, `Origin: ${publicUrl}`])
    expect(status).not.toBe(101)
    expect(status).toBeLessThan(500)
    for (const { headers } of api.requests.slice(before)) expect(headers).not.toHaveProperty('upgrade')
  })
})

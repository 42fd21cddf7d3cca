// Attack: APIs that refuse whatever token they are shown, so that refresh tokens are spent for nothing with every call.
// R516
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { startWorld } from '../support/coatcheck.ts'

type Token = NonNullable<ConfigInput['routes']>[number]['token']

const kinds: [string, Token][] = [
  ["the session's own token", 'user'],
  ['a token for that API', { kind: 'user', resource: 'https://orders.example' }],
  ['an exchanged token', { kind: 'exchange', audience: 'ledger' }],
  ["the application's token", 'client'],
]

describe.each(kinds)('R516 APIs on two routes that always refuse %s', (_, token) => {
  test.each([
    ['GET', undefined],
    ['POST', 'x'.repeat(100_000)],
  ])('have one token replaced, however often %s is called on either', async (method, body) => {
    const { as, api, browser } = await startWorld(({ api }) => ({
      routes: ['/api', '/api/two'].map((path) => ({ path, upstream: api.url, token })),
    }))
    const user = browser()
    await user.signIn()
    const call = (path: string) => user.fetch(path, { method, ...(body && { body }) })
    expect((await call('/api/x')).status).toBe(200)
    api.answer = (_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('no')
    const before = as.to('/token').length
    for (let n = 0; n < 10; n++) expect((await call(n % 2 ? '/api/x' : '/api/two')).status).toBe(401)
    expect(as.to('/token').length - before).toBe(1)
    expect(as.reuses).toEqual([])
  })
})

test('R516 an API that refuses one token after another once it has taken it has a few replaced, and then none for a while', async () => {
  const { as, api, browser } = await startWorld()
  const user = browser()
  await user.signIn()
  let shown: string | undefined
  api.answer = ({ headers }, response) => {
    const isKnown = headers.authorization === shown
    shown = headers.authorization
    response.writeHead(isKnown ? 401 : 200, isKnown ? { 'www-authenticate': 'Bearer error="invalid_token"' } : {})
    response.end('{}')
  }
  const before = as.to('/token').length
  const statuses: number[] = []
  for (let call = 0; call < 10; call++) statuses.push((await user.fetch('/api/x')).status)
  expect(statuses).toEqual([200, 200, 200, 200, 200, 401, 401, 401, 401, 401])
  expect(as.to('/token').length - before).toBe(4)
})

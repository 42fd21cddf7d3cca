import { describe, expect, test } from 'vitest'
import { providerFor, startWorld, type World } from '../support/coatcheck.ts'
import { openProof } from '../support/dpop.ts'
import { passed } from '../support/time.ts'
import type { UpstreamRequest } from '../support/upstream.ts'

const boundWorld = (nonce?: string) =>
  startWorld(({ as }) => {
    as.behaviour.dpop = nonce === undefined ? {} : { nonce }
    return { providers: [{ ...providerFor(as), dpop: true }] }
  })

async function signedIn(world: World) {
  const browser = world.browser()
  await browser.signIn()
  return browser
}

/** Opens the proof of a call as an API must. */
function proofOf({ api }: World, { method, target, headers }: UpstreamRequest) {
  const [scheme, token = ''] = String(headers.authorization).split(' ')
  expect(scheme).toBe('DPoP')
  return openProof({ method, headers }, `${api.url}${target.split('?')[0]}`, token)
}

const wantsNonce = (nonce: string) => ({ 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': nonce })

describe('a provider that binds tokens to a key (RFC 9449)', () => {
  test('gets one key from the sign-in to the last call, and each call a proof of its own', async () => {
    const world = await boundWorld()
    const browser = await signedIn(world)
    const keys = new Set<unknown>([world.as.to('/authorize')[0]?.query.get('dpop_jkt')])
    for (const path of ['/api/orders?secret=1', '/api/orders', '/api/orders']) {
      expect((await browser.fetch(path, { method: 'POST', body: 'x' })).status).toBe(200)
      const { thumbprint, payload } = await proofOf(world, world.api.last())
      keys.add(thumbprint)
      expect(payload.htu).not.toContain('secret')
    }
    expect([...keys]).toHaveLength(1)
  })

  test('goes on with that key after a refresh', async () => {
    const world = await boundWorld()
    world.as.behaviour.expiresIn = 0.05
    const browser = await signedIn(world)
    await passed(60)
    world.as.behaviour.expiresIn = 300
    await browser.fetch('/api/orders')
    const { thumbprint } = await proofOf(world, world.api.last())
    expect(thumbprint).toBe(world.as.to('/authorize')[0]?.query.get('dpop_jkt'))
    expect(world.as.to('/token')).toHaveLength(2)
  })

  test('two sessions have two keys', async () => {
    const world = await boundWorld()
    const keys = new Set<string>()
    for (const browser of [await signedIn(world), await signedIn(world)]) {
      await browser.fetch('/api/orders')
      keys.add((await proofOf(world, world.api.last())).thumbprint)
    }
    expect(keys.size).toBe(2)
  })

  test('may ask for a nonce at the token endpoint', async () => {
    const world = await boundWorld('as-nonce')
    const browser = await signedIn(world)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect((await proofOf(world, world.api.last())).payload.nonce).toBeUndefined()
  })

  test('binds the token of the application too', async () => {
    const world = await startWorld(({ as, api }) => {
      as.behaviour.dpop = {}
      const route = { path: '/api', upstream: api.url, token: 'client' } as const
      return { providers: [{ ...providerFor(as), dpop: true }], routes: [route] }
    })
    expect((await world.browser().fetch('/api/x')).status).toBe(200)
    await proofOf(world, world.api.last())
  })
})

describe('R070 an API that asks for a nonce', () => {
  test.each([
    ['without a body', undefined],
    ['of one megabyte', 'x'.repeat(1_048_576)],
  ])('gets a request %s again with it, whole, and later ones with it at once', async (_, body) => {
    const world = await boundWorld()
    const browser = await signedIn(world)
    world.api.answer = async ({ headers }, response) => {
      const { payload } = await openProof(
        { method: 'PUT', headers },
        `${world.api.url}/v1/orders`,
        String(headers.authorization).slice(5),
      )
      const isFresh = payload.nonce === 'rs-nonce'
      response.writeHead(isFresh ? 200 : 401, isFresh ? {} : wantsNonce('rs-nonce')).end('{}')
    }
    const call = () => browser.fetch('/api/orders', { method: 'PUT', ...(body && { body }) })
    expect((await call()).status).toBe(200)
    expect(world.api.requests.map((request) => request.body.length)).toEqual([body?.length ?? 0, body?.length ?? 0])
    expect((await call()).status).toBe(200)
    expect(world.api.requests).toHaveLength(3)
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('R069 is not told the nonce of another server, and the browser is not told any', async () => {
    const world = await boundWorld('as-nonce')
    const browser = await signedIn(world)
    world.api.answer = (_, response) => response.writeHead(200, { 'dpop-nonce': 'rs-nonce' }).end('{}')
    const answer = await browser.fetch('/api/orders')
    expect(answer.headers.get('dpop-nonce')).toBeNull()
    await browser.fetch('/api/orders')
    expect((await proofOf(world, world.api.last())).payload.nonce).toBe('rs-nonce')
  })

  test('again and again is asked twice, and its 401 goes through', async () => {
    const world = await boundWorld()
    const browser = await signedIn(world)
    let count = 0
    world.api.answer = (_, response) => response.writeHead(401, wantsNonce(`nonce-${count++}`)).end('no')
    const answer = await browser.fetch('/api/orders')
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBeNull()
    expect(world.api.requests).toHaveLength(2)
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test.each(['dpop error="use_dpop_nonce"', 'Bearer realm="x", DPoP algs="ES256", error="use_dpop_nonce"'])(
    'is understood however it says so: %s',
    async (challenge) => {
      const world = await boundWorld()
      const browser = await signedIn(world)
      let count = 0
      world.api.answer = (_, response) => {
        const isFirst = count++ === 0
        response
          .writeHead(isFirst ? 401 : 200, isFirst ? { 'www-authenticate': challenge, 'dpop-nonce': 'n' } : {})
          .end('{}')
      }
      expect((await browser.fetch('/api/orders')).status).toBe(200)
      expect((await proofOf(world, world.api.last())).payload.nonce).toBe('n')
    },
  )
})

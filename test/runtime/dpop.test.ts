import { decodeJwt } from 'jose'
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

  test('that is good once gets from each call the one that call was given, however many there are at once', async () => {
    const world = await boundWorld()
    const browser = await signedIn(world)
    const given = new Set<unknown>()
    const challenged: (() => void)[] = []
    world.api.answer = async ({ method = '', headers }, response) => {
      const token = String(headers.authorization).slice(5)
      const { payload } = await openProof({ method, headers }, `${world.api.url}/v1/orders`, token)
      if (given.delete(payload.nonce)) {
        response.end('{}')
        return
      }
      const nonce = `nonce-${challenged.length}`
      given.add(nonce)
      // All of them hear of their nonces at once, so that each has seen the others' by the time it tries again.
      challenged.push(() => response.writeHead(401, wantsNonce(nonce)).end('no'))
      if (challenged.length === 20) for (const answer of challenged) answer()
      if (challenged.length > 20) challenged.at(-1)?.()
    }
    const calls = Array.from({ length: 20 }, () => browser.fetch('/api/orders'))
    // Others begin while these try again.
    const late = Promise.race(calls).then(() =>
      Promise.all(Array.from({ length: 20 }, () => browser.fetch('/api/orders'))),
    )
    expect([...(await Promise.all(calls)), ...(await late)].map(({ status }) => status)).toEqual(Array(40).fill(200))
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

describe('R068 an authorization server that asks for a nonce', () => {
  test('with every answer is asked twice each time: no sign-in comes of it, and no refresh, but no session ends', async () => {
    const world = await boundWorld()
    world.as.behaviour.expiresIn = 0.05
    const browser = await signedIn(world)
    await passed(60)
    let count = 0
    world.as.behaviour.faults['/token'] = () => ({
      status: 400,
      headers: { 'dpop-nonce': `nonce-${count++}` },
      body: { error: 'use_dpop_nonce' },
    })
    expect((await world.browser().signIn()).status).toBe(400)
    expect(count).toBe(2)
    expect((await browser.fetch('/api/orders')).status).toBe(503)
    expect(count).toBe(4)
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true })
  })

  test('R069 that stays the same is asked twice once, whoever signs in after that', async () => {
    const world = await boundWorld('as-nonce')
    for (let user = 0; user < 5; user++) await signedIn(world)
    expect(world.as.to('/token')).toHaveLength(6)
  })
})

test('R068 an authorization server whose nonces are good once signs in who comes at the same time', async () => {
  const world = await boundWorld()
  const given = new Set<unknown>()
  let count = 0
  world.as.behaviour.faults['/token'] = (request) => {
    const proof = String(request.headers.dpop)
    if (given.delete(decodeJwt<{ nonce?: string }>(proof).nonce)) return undefined
    const nonce = `nonce-${count++}`
    given.add(nonce)
    return { status: 400, headers: { 'dpop-nonce': nonce }, body: { error: 'use_dpop_nonce' } }
  }
  for (let round = 0; round < 3; round++) {
    const signIns = Array.from({ length: 10 }, () => world.browser().signIn())
    expect((await Promise.all(signIns)).map(({ status }) => status)).toEqual(signIns.map(() => 303))
  }
})

describe('R074 a server whose clock is not ours', () => {
  const minutes = 60_000

  test.each([5, -5, 55])('by %d minutes is believed, from its first refusal on', async (off) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.dpop = { nonce: 'as-nonce', ahead: off * minutes }
      return { providers: [{ ...providerFor(as), dpop: true }] }
    })
    const browser = await signedIn(world)
    // Its clock is looked at first, then the nonce.
    expect(world.as.to('/token')).toHaveLength(3)
    await signedIn(world)
    expect(world.as.to('/token')).toHaveLength(4)
    world.api.answer = async ({ method = '', headers }, response) => {
      const token = String(headers.authorization).slice(5)
      const isGood = await openProof({ method, headers }, `${world.api.url}/v1/orders`, token, -off * minutes).then(
        () => true,
        () => false,
      )
      const date = new Date(Date.now() - off * minutes).toUTCString()
      response
        .writeHead(isGood ? 200 : 401, {
          date,
          ...(!isGood && { 'www-authenticate': 'DPoP error="invalid_dpop_proof"' }),
        })
        .end('{}')
    }
    for (let call = 0; call < 2; call++) expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.api.requests).toHaveLength(3)
    expect(world.as.to('/token')).toHaveLength(4)
  })

  test.each([0, 65, -65])(
    'by %d minutes is not the reason, or too far: it is asked once, and that is told',
    async (off) => {
      const world = await boundWorld()
      const browser = await signedIn(world)
      const date = () => new Date(Date.now() + off * minutes).toUTCString()
      world.as.behaviour.faults['/token'] = () => ({
        status: 400,
        headers: { date: date() },
        body: { error: 'invalid_dpop_proof' },
      })
      expect((await world.browser().signIn()).status).toBe(400)
      expect(world.as.to('/token')).toHaveLength(2)
      expect(world.logged('login.failed').map(({ reason }) => reason)).toEqual(['proof_rejected'])
      world.api.answer = (_, response) =>
        response.writeHead(401, { date: date(), 'www-authenticate': 'DPoP error="invalid_dpop_proof"' }).end('no')
      expect((await browser.fetch('/api/orders')).status).toBe(401)
      expect(world.api.requests).toHaveLength(1)
    },
  )

  test('of its own with every answer is asked twice each time', async () => {
    const world = await boundWorld()
    let ahead = 0
    world.as.behaviour.faults['/token'] = () => {
      ahead += minutes
      const date = new Date(Date.now() + ahead).toUTCString()
      return { status: 400, headers: { date }, body: { error: 'invalid_dpop_proof' } }
    }
    await world.browser().signIn()
    expect(world.as.to('/token')).toHaveLength(2)
  })
})

// Attack: a bound token becomes one that whoever has it may use, or its key gets out.
import { describe, expect, test } from 'vitest'
import { providerFor, startWorld } from '../support/coatcheck.ts'
import { passed } from '../support/time.ts'

describe('R067 Where tokens must be bound to a key', () => {
  test('a bearer token signs nobody in, and is sent to nobody', async () => {
    const world = await startWorld(({ as }) => ({ providers: [{ ...providerFor(as), dpop: true }] }))
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(400)
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
    expect(world.as.to('/userinfo')).toEqual([])
    expect(world.api.requests).toEqual([])
  })

  test.each([
    ['brings one', 'Bearer'],
    ['does not say what it brings', undefined],
  ])('a refresh that %s ends the session, and what came is revoked and sent to nobody', async (_, type) => {
    const world = await startWorld(({ as }) => {
      as.behaviour.dpop = {}
      as.behaviour.expiresIn = 0.05
      return { providers: [{ ...providerFor(as), dpop: true }] }
    })
    const browser = world.browser()
    await browser.signIn()
    await passed(60)
    let newest: unknown
    world.as.behaviour.tokenResponse = (response) => {
      newest = response.refresh_token
      response.token_type = type
    }
    expect((await browser.fetch('/api/orders')).headers.get('coatcheck-error')).toBe('session_expired')
    expect(world.logged('refresh.failed')).toMatchObject([{ reason: 'response_malformed', sessionKept: false }])
    expect(world.api.requests).toEqual([])
    await expect.poll(() => world.as.to('/revoke').map(({ body }) => body.get('token'))).toContain(newest)
  })

  test('the spelling of the type does not matter', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.dpop = {}
      as.behaviour.tokenResponse = (response) => void Object.assign(response, { token_type: 'dPoP' })
      return { providers: [{ ...providerFor(as), dpop: true }] }
    })
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test('and nobody asked for that, a bound token signs nobody in', async () => {
    const world = await startWorld()
    world.as.behaviour.tokenResponse = (response) => void Object.assign(response, { token_type: 'DPoP' })
    expect((await world.browser().signIn()).status).toBe(400)
  })
})

describe('R071 What a browser sends as a proof', () => {
  test('does not go up, nor does what it sends as Authorization', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.dpop = {}
      return { providers: [{ ...providerFor(as), dpop: true }] }
    })
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/orders', { headers: { dpop: 'MINE', authorization: 'DPoP MINE' } })
    const { rawHeaders, headers } = world.api.last()
    expect(rawHeaders.filter((name) => name.toLowerCase() === 'dpop')).toHaveLength(1)
    expect(`${headers.dpop} ${headers.authorization}`).not.toContain('MINE')
  })
})

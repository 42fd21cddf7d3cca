import { describe, expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { providerFor, startWorld, type World } from '../support/coatcheck.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { passed } from '../support/time.ts'

/** As an authorization server sends it: no cookies, no Fetch Metadata. */
function send(world: World, body: string, headers: Record<string, string> = {}) {
  return world.browser().send('/auth/backchannel-logout', {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
  })
}

const form = (token: string) => new URLSearchParams({ logout_token: token }).toString()

/** `sid` of the latest ID token. */
function watchSid(world: World): () => string {
  let sid = ''
  world.as.behaviour.idToken = (claims) => {
    sid = String(claims.sid)
  }
  return () => sid
}

describe('POST /auth/backchannel-logout', () => {
  test('R149 R150 ends the session with the sid of the token, and no other', async () => {
    const world = await startWorld()
    const sid = watchSid(world)
    const [ended, other] = [world.browser(), world.browser()]
    await other.signIn()
    await ended.signIn()
    const answer = await send(world, form(await world.as.logoutToken({ sid: sid(), sub: 'alice' })))
    expect([answer.status, answer.text]).toEqual([200, ''])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const over = await ended.fetch('/api/orders')
    expect([over.status, over.json().code]).toEqual([401, 'session_expired'])
    expect([...ended.cookies.keys()].filter((name) => !name.endsWith('-login'))).toEqual([])
    expect((await other.fetch('/api/orders')).status).toBe(200)
    await expect.poll(() => world.logged('backchannel.logout')).toMatchObject([{ provider: 'main', wholeUser: false }])
  })

  test('R149 with sid and sub ends sessions of that user whose ID token named no session, and of nobody else', async () => {
    const world = await startWorld()
    const [named, nameless, bob] = [world.browser(), world.browser(), world.browser()]
    await named.signIn()
    world.as.behaviour.idToken = (claims) => {
      delete claims.sid
    }
    await nameless.signIn()
    world.as.behaviour.user = { sub: 'bob' }
    await bob.signIn()
    expect((await send(world, form(await world.as.logoutToken({ sid: 'unheard-of', sub: 'alice' })))).status).toBe(200)
    expect((await nameless.fetch('/api/orders')).json().code).toBe('session_expired')
    for (const browser of [named, bob]) expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test('R149 with sub alone ends all sessions of that user', async () => {
    const world = await startWorld()
    const [one, two, bob] = [world.browser(), world.browser(), world.browser()]
    await one.signIn()
    await two.signIn()
    world.as.behaviour.user = { sub: 'bob' }
    await bob.signIn()
    expect((await send(world, form(await world.as.logoutToken({ sub: 'alice' })))).status).toBe(200)
    for (const browser of [one, two]) expect((await browser.fetch('/api/orders')).json().code).toBe('session_expired')
    expect((await bob.fetch('/api/orders')).status).toBe(200)
  })

  test('R154 does not end what begins later, and a replayed token ends nothing', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const token = form(await world.as.logoutToken({ sub: 'alice' }))
    expect((await send(world, token)).status).toBe(200)
    await passed(5)
    await browser.signIn()
    const again = await send(world, token)
    expect([again.status, again.json().error]).toEqual([400, 'invalid_request'])
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test('R153 beats a refresh that is under way', async () => {
    const world = await startWorld()
    const sid = watchSid(world)
    world.as.behaviour.expiresIn = 0.1
    const browser = world.browser()
    await browser.signIn()
    await passed(120)
    const signedInSid = sid()
    let answerNow = () => {}
    const waiting = new Promise<void>((resolve) => {
      answerNow = resolve
    })
    let begun = false
    world.as.behaviour.faults['/token'] = async () => {
      begun = true
      await waiting
      return undefined
    }
    const call = browser.fetch('/api/orders')
    await expect.poll(() => begun).toBe(true)
    expect((await send(world, form(await world.as.logoutToken({ sid: signedInSid })))).status).toBe(200)
    answerNow()
    const answer = await call
    expect([answer.status, answer.json().code]).toEqual([401, 'session_expired'])
    expect(world.api.requests).toEqual([])
    expect([...browser.cookies.keys()].filter((name) => !name.endsWith('-login'))).toEqual([])
    // What came back for a session that is over is withdrawn.
    await expect.poll(() => world.as.to('/revoke').length).toBeGreaterThan(0)
  })

  test('counts for the issuer of the token alone', async () => {
    const other = closeAfterTest(await startAuthorizationServer())
    const world = await startWorld(({ config }) => ({
      providers: [...config.providers, providerFor(other, 'other')],
    }))
    const browser = world.browser()
    await browser.signIn()
    expect((await send(world, form(await other.logoutToken({ sub: 'alice' })))).status).toBe(200)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })

  test('R146 is no place for a GET, and answers no other origin', async () => {
    const world = await startWorld()
    const got = await world.browser().send('/auth/backchannel-logout')
    expect([got.status, got.headers.get('allow')]).toEqual([405, 'POST'])
    const answer = await send(world, 'logout_token=x', { origin: 'https://evil.example' })
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  })

  test('answers 503 and ends nothing while the keys of the authorization server cannot be had', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const token = await world.as.logoutToken({ sub: 'alice' }, { kid: 'another' })
    world.as.behaviour.faults['/jwks'] = () => ({ status: 500, body: 'CANARY' })
    const answer = await send(world, form(token))
    expect([answer.status, answer.json().code]).toEqual([503, 'authorization_server_unavailable'])
    expect((await browser.fetch('/api/orders')).status).toBe(200)
  })
})

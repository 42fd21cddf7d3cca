import { describe, expect, test } from 'vitest'
import type { Answer } from '../support/authorization-server.ts'
import { startWorld } from '../support/coatcheck.ts'
import { passed } from '../support/time.ts'

const unknown = { status: 400, body: { error: 'invalid_request', error_description: 'Invalid token' } }

describe('POST /auth/logout', () => {
  test('ends the session, revokes the tokens and tells where to go on', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    expect(answer.status).toBe(200)
    const logoutUrl = new URL(answer.json().logoutUrl)
    expect(logoutUrl.origin + logoutUrl.pathname).toBe(`${world.as.issuer}/end-session`)
    expect(logoutUrl.searchParams.get('client_id')).toBe(world.as.clientId)
    expect(logoutUrl.searchParams.get('post_logout_redirect_uri')).toBe(`${world.publicUrl}/auth/logout/callback`)
    expect(logoutUrl.searchParams.get('state')).toMatch(/^[\w-]{43}$/)
    expect(logoutUrl.searchParams.get('id_token_hint')).toBeNull()
    expect([...browser.cookies]).toEqual([])
    expect(world.as.to('/revoke').map(({ body }) => body.get('token_type_hint'))).toEqual([
      'refresh_token',
      'access_token',
    ])
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
  })

  test('redirects a form to the authorization server', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'text/html' } })
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toContain(`${world.as.issuer}/end-session?`)
  })

  test('goes to the configured page where the server has no end-session endpoint', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => delete metadata.end_session_endpoint
      return { logout: { returnTo: '/bye' } }
    })
    const browser = world.browser()
    await browser.signIn()
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    expect(answer.json()).toEqual({ logoutUrl: '/bye' })
  })

  test('is not held up by a revocation endpoint that hangs', async () => {
    const world = await startWorld()
    world.as.behaviour.faults['/revoke'] = () => new Promise(() => {})
    const browser = world.browser()
    await browser.signIn()
    const start = Date.now()
    const answer = await browser.fetch('/auth/logout', { method: 'POST' })
    expect(answer.status).toBe(303)
    expect(Date.now() - start).toBeLessThan(4_000)
    expect([...browser.cookies]).toEqual([])
  })

  test.each<[string, string, Answer, string[]]>([
    ['does not know an access token, which ended with its refresh token', 'access_token', unknown, []],
    ['cannot revoke an access token', 'access_token', { status: 500, body: '' }, ['server_error']],
    ['does not know a refresh token', 'refresh_token', unknown, ['request_rejected']],
  ])('R084 warns only of failures: a server that %s', async (_, hint, answer, failures) => {
    const world = await startWorld()
    world.as.behaviour.faults['/revoke'] = ({ body }) => (body.get('token_type_hint') === hint ? answer : undefined)
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/logout', { method: 'POST' })).status).toBe(303)
    await expect.poll(() => world.logged('session.ended')).toHaveLength(1)
    await expect.poll(() => world.logged('revocation.failed').map(({ reason }) => reason)).toEqual(failures)
  })

  test('works for somebody who is not signed in', async () => {
    const world = await startWorld()
    const answer = await world
      .browser()
      .fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    expect(answer.json()).toEqual({ logoutUrl: '/' })
  })

  test('GET is refused with 405 and Allow, and changes nothing', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const answer = await browser.navigate('/auth/logout')
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('POST')
    expect(answer.headers.get('coatcheck-error')).toBe('method_not_allowed')
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
  })

  test('ends the session of the ticket, although an old session’s tokens stand beside it', async () => {
    const world = await startWorld()
    const [old, browser] = [world.browser(), world.browser()]
    await old.signIn()
    await browser.signIn()
    const copy = browser.cookieHeader()
    const pieces = [...old.cookies].filter(([name]) => /\.\d$/.test(name))
    // With tokens in the store there are no pieces to mix.
    for (const [name, value] of pieces) browser.cookies.set(name, value)
    expect((await browser.fetch('/auth/logout', { method: 'POST' })).status).toBe(303)
    const answer = await browser.fetch('/api/orders', { headers: { cookie: copy } })
    expect([answer.status, answer.json().code]).toEqual([401, 'session_expired'])
  })

  test('kills a copied cookie', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const copied = browser.cookieHeader()
    await browser.fetch('/auth/logout', { method: 'POST' })
    const answer = await browser.fetch('/api/orders', { headers: { cookie: copied } })
    expect(answer.status).toBe(401)
    expect(answer.json().code).toBe('session_expired')
    expect(world.api.requests).toEqual([])
  })

  test('beats a refresh that is under way: no cookie comes back, and the new tokens are revoked', async () => {
    const world = await startWorld()
    const browser = world.browser()
    world.as.behaviour.expiresIn = 0.05
    await browser.signIn()
    await passed(60)
    let answerToken = () => {}
    const issued = new Promise<void>((resolve) => {
      world.as.behaviour.tokenResponse = () => {
        resolve()
        return new Promise((answer) => {
          answerToken = answer
        })
      }
    })
    const slow = browser.fetch('/api/orders')
    await issued
    await browser.fetch('/auth/logout', { method: 'POST' })
    answerToken()
    const answer = await slow
    expect(answer.status).toBe(401)
    expect(answer.json().code).toBe('session_expired')
    expect([...browser.cookies]).toEqual([])
    await expect.poll(() => world.as.to('/revoke').length).toBe(4)
  })
})

describe('GET /auth/logout/callback', () => {
  test.each(['', '?state=wrong', '?state=a&state=b'])(
    'goes to the configured page, whatever came back (%s)',
    async (query) => {
      const world = await startWorld({ logout: { returnTo: '/bye' } })
      const answer = await world.browser().navigate(`/auth/logout/callback${query}`)
      expect(answer.status).toBe(303)
      expect(answer.headers.get('location')).toBe('/bye')
      await expect.poll(() => world.logged('logout.returned')).toMatchObject([{ confirmed: false }])
    },
  )

  test('recognises its own state, once', async () => {
    const world = await startWorld()
    const browser = world.browser()
    await browser.signIn()
    const answer = await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
    const state = new URL(answer.json().logoutUrl).searchParams.get('state')
    await browser.navigate(`/auth/logout/callback?state=${state}`)
    await browser.navigate(`/auth/logout/callback?state=${state}`)
    await expect.poll(() => world.logged('logout.returned').map(({ confirmed }) => confirmed)).toEqual([true, false])
  })
})

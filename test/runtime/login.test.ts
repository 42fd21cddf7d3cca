import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'

describe('GET /auth/login', () => {
  test('sends the browser to the authorization server with code flow, PKCE S256, state and nonce', async () => {
    const world = await startWorld()
    const answer = await world.browser().navigate('/auth/login?returnTo=/orders')
    expect(answer.status).toBe(303)
    const url = new URL(answer.headers.get('location') ?? '')
    expect(url.origin + url.pathname).toBe(`${world.as.issuer}/authorize`)
    const params = Object.fromEntries(url.searchParams)
    expect(params).toMatchObject({
      response_type: 'code',
      client_id: world.as.clientId,
      redirect_uri: `${world.publicUrl}/auth/callback`,
      scope: 'openid profile email offline_access',
      code_challenge_method: 'S256',
    })
    for (const name of ['state', 'nonce', 'code_challenge']) expect(params[name]).toMatch(/^[\w-]{43}$/)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.setCookie).toHaveLength(1)
    expect(answer.setCookie[0]).toMatch(/^coatcheck-login=Fe26[^;]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/)
  })

  test('passes on prompt, max_age, acr_values, login_hint and ui_locales, and nothing else', async () => {
    const world = await startWorld()
    const query = '?prompt=login&max_age=60&acr_values=gold&login_hint=a%40b.c&ui_locales=de&foo=bar&scope=admin'
    const answer = await world.browser().navigate(`/auth/login${query}`)
    const { searchParams } = new URL(answer.headers.get('location') ?? '')
    expect(searchParams.get('prompt')).toBe('login')
    expect(searchParams.get('max_age')).toBe('60')
    expect(searchParams.get('acr_values')).toBe('gold')
    expect(searchParams.get('login_hint')).toBe('a@b.c')
    expect(searchParams.get('ui_locales')).toBe('de')
    expect(searchParams.get('foo')).toBeNull()
    expect(searchParams.get('scope')).not.toContain('admin')
  })

  test('takes an empty acr_values for one that was left out (RFC 6749, section 3.1)', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const answer = await browser.signIn('?acr_values=&returnTo=/orders')
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/orders'])
    expect(world.as.to('/authorize')[0]?.query.has('acr_values')).toBe(false)
  })

  test('and its callback say in Allow what they take', async () => {
    const world = await startWorld()
    for (const path of ['/auth/login', '/auth/callback']) {
      for (const method of ['HEAD', 'POST', 'PUT']) {
        const answer = await world.browser().send(path, { method })
        expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET'])
      }
    }
  })

  test('pushes the request where the authorization server offers it, and shows only client_id and request_uri', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
      }
      return {}
    })
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login')
    const { searchParams } = new URL(answer.headers.get('location') ?? '')
    expect([...searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
    expect(world.as.to('/par')).toHaveLength(1)
    expect((await browser.signIn()).status).toBe(303)
  })

  test('refuses what is no navigation with a problem document, whatever it accepts', async () => {
    const world = await startWorld()
    for (const fetchMetadata of [
      { 'sec-fetch-mode': 'cors' },
      { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
    ]) {
      const headers = { accept: 'text/html', 'sec-fetch-site': 'same-origin', ...fetchMetadata }
      const answer = await world.browser().send('/auth/login', { headers })
      expect(answer.status).toBe(403)
      expect(answer.headers.get('content-type')).toBe('application/problem+json')
      expect(answer.setCookie).toEqual([])
    }
  })

  test('returns to / rather than set a cookie that no browser keeps', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const returnTo = `/${'\u5bff'.repeat(1_000)}`
    const login = await browser.navigate(`/auth/login?returnTo=${encodeURIComponent(returnTo)}`)
    for (const cookie of login.headers.getSetCookie()) expect(cookie.length).toBeLessThanOrEqual(4_096)
    const finished = await browser.signIn(`?returnTo=${encodeURIComponent(returnTo)}`)
    expect([finished.status, finished.headers.get('location')]).toEqual([303, '/'])
  })

  test('answers 503 with Retry-After while the authorization server is away, and works once it is back', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.faults['/.well-known/openid-configuration'] = () => ({ status: 503, body: 'later' })
      return {}
    })
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login')
    expect(answer.status).toBe(503)
    expect(answer.headers.get('coatcheck-error')).toBe('authorization_server_unavailable')
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(answer.text).toContain('<h1>')
    world.as.behaviour.faults = {}
    await expect.poll(async () => (await browser.navigate('/auth/login')).status, { timeout: 5_000 }).toBe(303)
  })
})

describe('GET /auth/callback', () => {
  test('signs in and goes to returnTo, query and all', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const answer = await browser.signIn('?returnTo=%2Forders%3Fpage%3D2%26q%3Da%2520b%23note')
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toBe('/orders?page=2&q=a%20b#note')
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({
      authenticated: true,
      user: { sub: 'alice', name: 'Alice', email: 'alice@example.com' },
      provider: 'main',
    })
  })

  test('with a live session a repeated callback goes on to its returnTo and asks nobody anything', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callback = await browser.untilCallback('?returnTo=/orders')
    await browser.navigate(callback)
    const again = await browser.navigate(callback)
    expect(again.status).toBe(303)
    expect(again.headers.get('location')).toBe('/orders')
    expect(world.as.to('/token')).toHaveLength(1)
  })

  test('without a session a repeated callback shows a page that offers to start again', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callback = await browser.untilCallback('?returnTo=/orders')
    await browser.navigate(callback)
    await browser.fetch('/auth/logout', { method: 'POST' })
    const again = await browser.navigate(callback)
    expect(again.status).toBe(400)
    expect(again.headers.get('content-type')).toContain('text/html')
    expect(again.headers.get('coatcheck-error')).toBe('login_expired')
    expect(again.text).toContain('href="/auth/login')
  })

  test('several tabs can sign in at once', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callbacks = []
    for (const tab of ['/a', '/b', '/c']) callbacks.push(await browser.untilCallback(`?returnTo=${tab}`))
    const answers = []
    for (const callback of callbacks) answers.push(await browser.navigate(callback))
    expect(answers.map(({ headers }) => headers.get('location'))).toEqual(['/a', '/b', '/c'])
  })

  test('that fails after the code was redeemed leaves no tokens behind', async () => {
    const world = await startWorld()
    const answer = await world.browser().signIn('?acr_values=gold')
    expect(answer.status).toBe(400)
    await expect.poll(() => world.as.to('/revoke').length).toBe(2)
  })

  test('works again as soon as the keys of the authorization server can be had again', async () => {
    const world = await startWorld()
    world.as.behaviour.faults['/jwks'] = () => ({ status: 503, body: 'away' })
    for (let attempt = 0; attempt < 6; attempt++) expect((await world.browser().signIn()).status).not.toBe(303)
    world.as.behaviour.faults = {}
    expect((await world.browser().signIn()).status).toBe(303)
  })

  test('asks userinfo for claims that the ID token lacks', async () => {
    const world = await startWorld()
    world.as.behaviour.user = { sub: 'alice' }
    world.as.behaviour.userinfo = { sub: 'alice', name: 'Alice of userinfo', secret: 'not asked for' }
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().user).toEqual({ sub: 'alice', name: 'Alice of userinfo' })
  })

  test('prompt=none that finds nobody signed in goes back without a session and without an error', async () => {
    const world = await startWorld()
    world.as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      parameters.set('error', 'login_required')
    }
    const browser = world.browser()
    const answer = await browser.signIn('?prompt=none&returnTo=/start')
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toBe('/start')
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false })
  })
})

// Forced login: a site, a frame or a script that opens the login endpoint for a visitor, to sign them in as somebody else, to
// fill their cookie jar, or without their notice (R004, R028, R204, R310; FAPI 2.0 5.3.3.1, RFC 10017 6.1.2.1).
import { describe, expect, test } from 'vitest'
import type { Behaviour } from '../support/authorization-server.ts'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { elements, links } from '../support/html.ts'
import { expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'

const fromElsewhere = { 'sec-fetch-site': 'cross-site' }
const asked = ['/authorize', '/par', '/token']

describe('R004 the login endpoint', () => {
  const world = faultWorld()
  const image = { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }
  const loads: Record<string, Record<string, string>> = {
    'fetch of a page': { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    'fetch without CORS': { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'empty' },
    'fetch of the same origin': { 'sec-fetch-mode': 'same-origin', 'sec-fetch-dest': 'empty' },
    'an image': image,
    'a script': { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' },
    'a stylesheet': { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'style' },
    'a video': { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'video' },
    'a frame': { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
    'an old frame': { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'frame' },
    'an object': { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'object' },
    'an embedded document': { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'embed' },
    'a fenced frame': { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'fencedframe' },
    'a service worker': { 'sec-fetch-mode': 'same-origin', 'sec-fetch-dest': 'serviceworker' },
    'a WebSocket': { 'sec-fetch-mode': 'websocket', 'sec-fetch-dest': 'websocket' },
    'prefetch as Chromium says it': { 'sec-purpose': 'prefetch' },
    'prerendering as Chromium says it': { 'sec-purpose': 'prefetch;prerender' },
    'prefetch as browsers used to say it': { purpose: 'prefetch' },
  }

  describe.each(['same-origin', 'same-site', 'cross-site', 'none'])('from %s', (site) => {
    test.each(Object.entries(loads))('refuses %s and sets nothing', async (_, headers) => {
      const browser = world.browser()
      const answer = await browser.navigate('/auth/login', {
        headers: { ...headers, 'sec-fetch-site': site, accept: '*/*' },
      })
      expectRefusal(answer, 403, 'forbidden')
      expect(answer.headers.get('content-type')).toBe('application/problem+json')
      expect(answer.setCookie).toEqual([])
      expectSilent(world.as, ...asked)
      await expect.poll(() => world.logged('request.refused')).toMatchObject([{ reason: 'not_a_navigation' }])
    })
  })

  test('R204 as a hundred images fills nobody a cookie jar', async () => {
    const browser = world.browser()
    for (let time = 0; time < 100; time++) {
      await browser.navigate('/auth/login', { headers: { ...image, ...fromElsewhere } })
    }
    expect([...browser.cookies]).toEqual([])
  })

  test('is not started by other methods', async () => {
    const browser = world.browser()
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await browser.navigate('/auth/login', { method, headers: { 'x-http-method-override': 'GET' } })
      expectRefusal(answer, 405, 'method_not_allowed')
      expect(answer.headers.get('allow')).toBe('GET')
      expect(answer.setCookie).toEqual([])
    }
  })

  test('R004 is never where the session endpoint sends a page', async () => {
    const answer = await world.browser().fetch('/auth/session')
    expect([answer.status, answer.headers.get('location')]).toEqual([200, null])
    expect(answer.json()).toEqual({ authenticated: false })
  })
})

describe('R310 a login that another site opened', () => {
  const world = faultWorld()

  test.each(['cross-site', 'same-site'])(
    'from %s asks first: no cookie, no word to the authorization server',
    async (site) => {
      const browser = world.browser()
      const answer = await browser.navigate('/auth/login?returnTo=/orders&prompt=none', {
        headers: { 'sec-fetch-site': site },
      })
      expect(answer.status).toBe(200)
      expect(answer.headers.get('location')).toBeNull()
      expect(answer.headers.get('refresh')).toBeNull()
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect(answer.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
      expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
      expect(answer.setCookie).toEqual([])
      expectSilent(world.as, ...asked)
      // Nothing on the page goes on by itself.
      expect(elements(answer.text)).toEqual(['a', 'h1', 'html', 'main', 'meta', 'nav', 'p', 'style', 'title'])
      expect(answer.text).not.toMatch(/http-equiv/i)
      expect(links(answer.text)).toEqual(['/auth/login?returnTo=/orders&prompt=none', '/'])
    },
  )

  test('switches no identity while somebody is signed in', async () => {
    const victim = world.browser()
    await victim.signIn()
    world.as.behaviour.user = { sub: 'mallory' }
    for (const query of ['', '?prompt=none', '?prompt=login&login_hint=mallory', '?provider=main&max_age=0']) {
      const answer = await victim.navigate(`/auth/login${query}`, { headers: fromElsewhere })
      expect([answer.status, answer.setCookie]).toEqual([200, []])
    }
    expect((await victim.fetch('/auth/session')).json().user.sub).toBe('alice')
  })

  test('goes on when the person says so', async () => {
    const browser = world.browser()
    const page = await browser.navigate('/auth/login?returnTo=/orders', { headers: fromElsewhere })
    const [go = ''] = links(page.text)
    expect((await browser.signIn(go.slice('/auth/login'.length))).headers.get('location')).toBe('/orders')
  })

  test('asks again when it hides behind the returnTo of another login', async () => {
    const browser = world.browser()
    const finished = await browser.signIn(
      `?returnTo=${encodeURIComponent('/auth/login?prompt=none&login_hint=mallory')}`,
    )
    const next = finished.headers.get('location') ?? ''
    world.as.requests.length = 0
    const answer = await browser.navigate(next, { headers: fromElsewhere })
    expect([answer.status, answer.setCookie]).toEqual([200, []])
    expectSilent(world.as, ...asked)
  })

  test.each([
    ['markup', '"><script>alert(1)</script>'],
    ['markup, encoded twice', '%22%3E%3Cscript%3E'],
    ['an attribute', '" autofocus onfocus="alert(1)'],
    ['an apostrophe', "' onclick='alert(1)"],
    ['a script address', 'javascript:alert(1)'],
    ['an entity', '&quot;&gt;&lt;script&gt;'],
    ['a template', '${alert(1)}{{alert(1)}}'],
  ])('shows %s in no parameter as anything but text', async (_, value) => {
    for (const name of ['returnTo', 'login_hint', 'provider', 'ui_locales', 'nobody_knows']) {
      const query = `?${name}=${encodeURIComponent(value)}`
      const answer = await world.browser().navigate(`/auth/login${query}`, { headers: fromElsewhere })
      expect(answer.status).toBe(200)
      expect(elements(answer.text)).not.toContain('script')
      expect(answer.text).not.toMatch(/<a [^>]*(?:onfocus|onclick)=/)
      const [go = ''] = links(answer.text)
      expect(new URL(go, world.publicUrl).searchParams.get(name)).toBe(value)
      expect(go.startsWith('/auth/login?')).toBe(true)
    }
  })
})

describe('R028 prompt=none', () => {
  const world = faultWorld(({ as }) => {
    as.behaviour.metadata = (metadata) => {
      metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
    }
    return {}
  })
  const answers = (error: string) => {
    world.as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      parameters.set('error', error)
    }
  }

  test.each(['login_required', 'interaction_required', 'consent_required', 'account_selection_required'])(
    'that is answered %s goes back once, without a session and without a loop',
    async (error) => {
      answers(error)
      const browser = world.browser()
      const answer = await browser.signIn('?prompt=none&returnTo=/start')
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/start'])
      await expectSignedOut(browser, answer)
      expectSilent(world.as, '/token')
      expect(world.as.to('/authorize')).toHaveLength(1)
    },
  )

  test.each(['access_denied', 'invalid_request', 'server_error', 'temporarily_unavailable'])(
    'that is answered %s goes back as well, and the log says why',
    async (error) => {
      answers(error)
      const browser = world.browser()
      const answer = await browser.signIn('?prompt=none&returnTo=/start')
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/start'])
      await expectSignedOut(browser, answer)
      await expect.poll(() => world.logged('login.failed')).toMatchObject([{ oauthError: error }])
    },
  )

  test.each<[string, Behaviour['faults']]>([
    ['the token endpoint is away', { '/token': () => ({ status: 503, body: 'later' }) }],
    ['the request may not be pushed', { '/par': () => ({ status: 400, body: { error: 'invalid_scope' } }) }],
    ['nothing can be pushed', { '/par': () => ({ status: 503, body: 'later' }) }],
  ])('goes back, with a word in the log, when %s', async (_, faults) => {
    Object.assign(world.as.behaviour.faults, faults)
    const browser = world.browser()
    const start = await browser.navigate('/auth/login?prompt=none&returnTo=/start')
    const next = start.headers.get('location') ?? ''
    const answer = next === '/start' ? start : await browser.signIn('?prompt=none&returnTo=/start')
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/start'])
    await expectSignedOut(browser, answer)
    await expect.poll(() => world.logged('login.failed').length).toBeGreaterThan(0)
  })

  test('goes back when nothing is known of the authorization server yet', async () => {
    const cold = await startWorld(({ as }) => {
      as.behaviour.faults['/.well-known/openid-configuration'] = () => ({ status: 503, body: 'later' })
      return {}
    })
    const browser = cold.browser()
    for (let time = 0; time < 4; time++) {
      const answer = await browser.navigate('/auth/login?prompt=none&returnTo=/start')
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/start'])
    }
    const stopped = await browser.navigate('/auth/login?prompt=none&returnTo=/start')
    expect(stopped.text).toContain('A page asked several times in a row whether you are signed in')
    expect(stopped.text).toContain('href="/auth/login?returnTo=%2Fstart"')
  })

  test('whose callback comes again goes back, and signs nobody in', async () => {
    answers('login_required')
    const browser = world.browser()
    const callback = await browser.untilCallback('?prompt=none&returnTo=/start')
    for (let time = 0; time < 2; time++) {
      expect((await browser.navigate(callback)).headers.get('location')).toBe('/start')
    }
    await expectSignedOut(browser)
  })

  test('leaves a live session as it is when it finds nobody', async () => {
    const browser = world.browser()
    await browser.signIn()
    answers('login_required')
    await browser.signIn('?prompt=none')
    expect((await browser.fetch('/auth/session')).json().user.sub).toBe('alice')
  })

  test.each(['?prompt=none', '?prompt=none&returnTo=//evil.test'])('cannot be framed: %s', async (query) => {
    const browser = world.browser()
    const callback = await browser.untilCallback(query)
    for (const answer of [await browser.navigate(`/auth/login${query}`), await browser.navigate(callback)]) {
      expect(answer.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    }
  })
})

describe('R204 many logins', () => {
  test('a hundred of them in one browser take one small cookie, and the newest still work', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callbacks: string[] = []
    for (let time = 0; time < 100; time++) {
      callbacks.push(await browser.untilCallback(`?returnTo=/${time}/${'a'.repeat(800)}`))
      expect([...browser.cookies.keys()]).toEqual(['coatcheck-login'])
      expect(`coatcheck-login=${browser.cookies.get('coatcheck-login')}`.length).toBeLessThanOrEqual(4_096)
    }
    const oldest = await browser.navigate(callbacks[0] ?? '')
    expectRefusal(oldest, 400, 'login_expired')
    const newest = await browser.navigate(callbacks[99] ?? '')
    expect(newest.headers.get('location')).toMatch(/^\/99\/a+$/)
    expectNoCanary(world, browser)
  })

  test('a sixth of ordinary size pushes out the oldest', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callbacks: string[] = []
    for (let time = 0; time < 6; time++) callbacks.push(await browser.untilCallback(`?returnTo=/${time}`))
    expectRefusal(await browser.navigate(callbacks[0] ?? ''), 400, 'login_expired')
    expect((await browser.navigate(callbacks[1] ?? '')).headers.get('location')).toBe('/1')
  })

  test('five of ordinary size can be finished in any order', async () => {
    const world = await startWorld()
    const browser = world.browser()
    const callbacks: string[] = []
    for (let time = 0; time < 5; time++) callbacks.push(await browser.untilCallback(`?returnTo=/${time}`))
    const finished: (string | null)[] = []
    for (const callback of callbacks.reverse())
      finished.push((await browser.navigate(callback)).headers.get('location'))
    expect(finished).toEqual(['/4', '/3', '/2', '/1', '/0'])
  })

  test.each(['acr_values', 'returnTo', 'login_hint', 'ui_locales', 'prompt'])(
    'one with a %s of 6,000 characters sets no cookie that a browser would drop',
    async (name) => {
      const world = await startWorld()
      const value = name === 'returnTo' ? `/${'a'.repeat(6_000)}` : 'a'.repeat(6_000)
      const answer = await world.browser().navigate(`/auth/login?${name}=${value}`)
      expect([303, 400]).toContain(answer.status)
      for (const cookie of answer.setCookie) expect(cookie.length).toBeLessThanOrEqual(4_096)
    },
  )
})

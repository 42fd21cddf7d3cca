import { beforeEach, describe, expect, test, vi } from 'vitest'
import { createClient, type Problem, type SessionInfo } from '../src/client.ts'
import { startWorld, type World } from './support/coatcheck.ts'

const assign = vi.fn()

/** A page of the application: its address, and a `fetch` with the cookies of a browser. */
function page(world: World) {
  const browser = world.browser()
  vi.stubGlobal('location', { ...urlParts(`${world.publicUrl}/orders?page=2#note`), assign })
  const fetch = async (input: URL | Request, init: RequestInit) => {
    const headers = Object.fromEntries(new Headers(init.headers))
    const { pathname, search } = input instanceof Request ? new URL(input.url) : input
    const method = init.method ?? (input instanceof Request ? input.method : 'GET')
    const answer = await browser.fetch(pathname + search, { method, headers })
    return new Response(answer.status === 204 ? null : answer.text, { status: answer.status, headers: answer.headers })
  }
  return { browser, fetch: fetch as unknown as typeof globalThis.fetch }
}

function urlParts(href: string) {
  const { origin, pathname, search, hash } = new URL(href)
  return { href, origin, pathname, search, hash }
}

beforeEach(() => {
  assign.mockReset()
  return () => vi.unstubAllGlobals()
})

describe('createClient()', () => {
  test('session() and extend() say who is signed in', async () => {
    const world = await startWorld()
    const { browser, fetch } = page(world)
    const client = createClient({ fetch })
    expect(await client.session()).toEqual({ authenticated: false })
    await browser.signIn()
    expect(await client.session()).toMatchObject({ authenticated: true, user: { sub: 'alice' } })
    expect(await client.extend()).toMatchObject({ authenticated: true })
  })

  test('login() leaves for the login endpoint, and comes back to where the user was', async () => {
    page(await startWorld())
    createClient().login({ provider: 'main', prompt: 'login', loginHint: 'a@b.c' })
    const url = new URL(assign.mock.calls[0]?.[0], 'http://x')
    expect(url.pathname).toBe('/auth/login')
    expect(Object.fromEntries(url.searchParams)).toEqual({
      returnTo: '/orders?page=2#note',
      provider: 'main',
      prompt: 'login',
      login_hint: 'a@b.c',
    })
  })

  test('logout() ends the session, then leaves for the authorization server', async () => {
    const world = await startWorld()
    const { browser, fetch } = page(world)
    await browser.signIn()
    await createClient({ fetch }).logout()
    expect(assign.mock.calls[0]?.[0]).toContain(`${world.as.issuer}/end-session?`)
    expect(await createClient({ fetch }).session()).toEqual({ authenticated: false })
  })

  test('fetch() calls the API and sends the proof that routes with csrf "header" ask for', async () => {
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'user', csrf: 'header' }],
    }))
    const { browser, fetch } = page(world)
    await browser.signIn()
    const answer = await createClient({ fetch }).fetch('/api/orders', { method: 'PUT' })
    expect(await answer.json()).toMatchObject({ method: 'PUT', target: '/orders' })
  })

  test('fetch() tells apart that a call needs a stronger sign-in, and login() asks for just that', async () => {
    const world = await startWorld()
    const { browser, fetch } = page(world)
    await browser.signIn()
    const signedOut: Problem[] = []
    const stronger: Problem[] = []
    const client = createClient({
      fetch,
      onSignedOut: (problem) => signedOut.push(problem),
      onStrongerSignIn: (problem) => stronger.push(problem),
    })
    const challenge = 'Bearer error="insufficient_user_authentication", acr_values="gold"'
    world.api.answer = (_, response) => response.writeHead(401, { 'www-authenticate': challenge }).end()
    expect((await client.fetch('/api/orders')).status).toBe(401)
    expect(signedOut).toEqual([])
    expect(stronger).toMatchObject([{ code: 'step_up_required' }])
    const [problem] = stronger
    client.login(problem ? { problem } : {})
    const { searchParams } = new URL(assign.mock.calls[0]?.[0], 'http://x')
    expect(Object.fromEntries(searchParams)).toEqual({ acr_values: 'gold', returnTo: '/orders?page=2#note' })
  })

  test('fetch() tells when nobody is signed in any more, but not when the API itself says 401', async () => {
    const world = await startWorld()
    const { browser, fetch } = page(world)
    const told: Problem[] = []
    const client = createClient({ fetch, onSignedOut: (problem) => told.push(problem) })
    expect((await client.fetch('/api/orders')).status).toBe(401)
    expect(told).toMatchObject([{ code: 'session_required', loginUrl: '/auth/login' }])
    await browser.signIn()
    world.api.answer = (_, response) => response.writeHead(401).end()
    expect((await client.fetch('/api/orders')).status).toBe(401)
    expect(told).toHaveLength(1)
  })

  test('tells a page that comes back that another session took the place of the one it knew', async () => {
    const world = await startWorld()
    const { browser, fetch } = page(world)
    const document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
    vi.stubGlobal('document', document)
    const told: SessionInfo[] = []
    const client = createClient({ fetch, onSessionChanged: (info) => told.push(info) })
    await browser.signIn()
    await client.session()
    await client.session()
    expect(told).toEqual([])
    world.as.behaviour.user = { sub: 'bob' }
    await browser.signIn()
    document.dispatchEvent(new Event('visibilitychange'))
    await expect.poll(() => told).toMatchObject([{ user: { sub: 'bob' }, session: { replacedUser: true } }])
  })

  test('fetch() fits where a library takes a fetch: a URL or a Request is as good as a path', async () => {
    const world = await startWorld(({ api }) => ({
      routes: [{ path: '/api', upstream: api.url, token: 'user', csrf: 'header' }],
    }))
    const { browser, fetch } = page(world)
    await browser.signIn()
    const taken: typeof globalThis.fetch = createClient({ fetch }).fetch
    const url = new URL('/api/mcp?a=1', world.publicUrl)
    expect(await (await taken(url)).json()).toEqual({ method: 'GET', target: '/mcp?a=1' })
    const request = new Request(url, { method: 'DELETE', headers: { 'mcp-session-id': 'one' } })
    expect(await (await taken(request)).json()).toEqual({ method: 'DELETE', target: '/mcp?a=1' })
    expect(world.api.last().headers).toMatchObject({ 'mcp-session-id': 'one' })
    await expect(taken(new Request('https://evil.example/api'))).rejects.toThrow('it is not on this origin')
  })

  test('fetch() refuses other origins before anything is sent', async () => {
    const world = await startWorld()
    const { fetch } = page(world)
    await expect(createClient({ fetch }).fetch('https://evil.example/api')).rejects.toThrow('it is not on this origin')
    await expect(createClient({ fetch }).fetch('//evil.example/api')).rejects.toThrow('it is not on this origin')
  })
})

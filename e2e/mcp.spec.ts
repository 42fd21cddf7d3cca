// The official MCP SDK in a page, and an MCP server that wants an access token: Streamable HTTP through coatcheck.
import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js'
import type { Page } from 'playwright/test'
import { type AiWorld, expect, isSignedIn, openSignedOut, signIn, test } from './ai-world.ts'

/** Opens an MCP session from a page, and brings its id. */
async function connect(page: Page, options: { compilesSchemas?: boolean } = {}) {
  const mcp = await page.evaluateHandle(
    (options) =>
      assistant.connect({
        ...options,
        // As the SDK has it, but soon.
        reconnectionOptions: {
          ...{ initialReconnectionDelay: 10, maxReconnectionDelay: 10 },
          ...{ reconnectionDelayGrowFactor: 1, maxRetries: 2 },
        },
      }),
    options,
  )
  const id = await mcp.evaluate(({ transport }) => transport.sessionId)
  return { mcp, id }
}

/** What the server saw of one kind. */
const seen = ({ mcp }: AiWorld, method: string) => mcp.requests.filter((one) => one.method === method)

test('initializes, lists tools, and shows the progress of a call while it runs', async ({ page, world }) => {
  await signIn(page)
  const { mcp, id } = await connect(page)
  expect(await mcp.evaluate(({ client }) => client.getServerVersion()?.name)).toBe('counter')
  const tools = await mcp.evaluate(async ({ client }) => (await client.listTools()).tools.map(({ name }) => name))
  expect(tools).toEqual(['count', 'hang-up', 'whoami'])

  const call = await mcp.evaluateHandle(({ client }) => {
    const progress: number[] = []
    const onprogress = (step: { progress: number }) => void progress.push(step.progress)
    return { progress, result: client.callTool({ name: 'count', arguments: { to: 3 } }, undefined, { onprogress }) }
  })
  for (const step of [1, 2, 3]) {
    // Nothing more is told before the page has this.
    await expect.poll(() => call.evaluate(({ progress }) => progress.at(-1))).toBe(step)
    world.mcp.goOn()
  }
  const content = await call.evaluate(async ({ result }) => (await result).content)
  expect(content).toEqual([{ type: 'text', text: 'Counted to 3' }])

  const [initialize, ...later] = world.mcp.requests
  expect(initialize?.headers['mcp-session-id']).toBeUndefined()
  expect(later.length).toBeGreaterThanOrEqual(4)
  for (const { headers } of later) {
    expect(headers).toMatchObject({ 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' })
  }
  for (const { headers, status } of world.mcp.requests) {
    expect(headers.authorization).toMatch(/^Bearer eyJ/)
    expect(headers).not.toHaveProperty('cookie')
    expect(headers).not.toHaveProperty('x-csrf')
    expect([200, 202]).toContain(status)
  }
})

test('ends the MCP session with DELETE', async ({ page, world }) => {
  await signIn(page)
  const { mcp, id } = await connect(page)
  expect([...world.mcp.sessions.keys()]).toEqual([id])
  await mcp.evaluate(({ transport }) => transport.terminateSession())
  expect(seen(world, 'DELETE')).toMatchObject([{ status: 200, headers: { 'mcp-session-id': id } }])
  expect(world.mcp.sessions.size).toBe(0)
  expect(await mcp.evaluate(({ transport }) => transport.sessionId)).toBeUndefined()
})

test('hears what the server says unasked, and after a break what it missed', async ({ page, world }) => {
  await signIn(page)
  const { mcp, id = '' } = await connect(page)
  const session = world.mcp.sessions.get(id)
  const say = (data: string) => session?.server.sendLoggingMessage({ level: 'info', data })
  const heard = () => mcp.evaluate(({ messages }) => messages)
  await expect.poll(() => seen(world, 'GET')).toMatchObject([{ isOpen: true, status: 200 }])
  for (const word of ['one', 'two']) {
    await say(word)
    await expect.poll(async () => (await heard()).at(-1)).toBe(word)
  }

  session?.transport.closeStandaloneSSEStream()
  await say('three')
  await expect.poll(heard).toEqual(['one', 'two', 'three'])
  const streams = seen(world, 'GET')
  expect(streams).toMatchObject([{ isOpen: false }, { isOpen: true, headers: { 'mcp-session-id': id } }])
  expect(streams[0]?.headers).not.toHaveProperty('last-event-id')
  expect(streams[1]?.headers).toHaveProperty('last-event-id')
})

test('gets the result of a call whose stream ended in the middle', async ({ page, world }) => {
  await signIn(page)
  const { mcp } = await connect(page)
  await expect.poll(() => seen(world, 'GET').length).toBe(1)
  const call = await mcp.evaluateHandle(({ client }) => {
    const progress: number[] = []
    const onprogress = (step: { progress: number }) => void progress.push(step.progress)
    return { progress, result: client.callTool({ name: 'hang-up' }, undefined, { onprogress }) }
  })
  await expect.poll(() => call.evaluate(({ progress }) => progress)).toEqual([1])
  world.mcp.goOn()
  const content = await call.evaluate(async ({ result }) => (await result).content)
  expect(content).toEqual([{ type: 'text', text: 'Done all the same' }])
  expect(await call.evaluate(({ progress }) => progress)).toEqual([1, 2])
  expect(seen(world, 'GET').filter(({ headers }) => 'last-event-id' in headers)).toHaveLength(1)
})

test('lets no script find a token', async ({ page }) => {
  await signIn(page)
  const answers: Record<string, string>[] = []
  page.on('response', (answer) => answers.push(answer.headers()))
  const { mcp, id } = await connect(page)
  await mcp.evaluate(({ client }) => client.callTool({ name: 'whoami' }))
  expect(answers.map((headers) => headers['mcp-session-id'])).toContain(id)
  expect(answers.filter((headers) => 'www-authenticate' in headers || 'authorization' in headers)).toEqual([])
  expect(await page.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length])).toEqual(['', 0, 0])
  expect(await page.content()).not.toContain('eyJ')
  // That no token, code or secret went to the browser at all is asked after each of these tests.
})

test('is told 401 when nobody is signed in, and begins no sign-in of its own', async ({ page, world }) => {
  const asked: string[] = []
  await openSignedOut(page)
  page.on('request', (request) => asked.push(new URL(request.url()).pathname))
  const error = await page.evaluate(() => assistant.connect().catch(({ code, message }) => ({ code, message })))
  expect(error).toMatchObject({ code: 401, message: expect.stringContaining('"code":"session_required"') })
  expect(asked).toEqual(['/api/mcp'])
  expect(await page.evaluate(() => assistant.signedOut)).toEqual(['session_required'])
  expect(world.mcp.requests).toEqual([])
})

test('an authProvider, which has no business here, finds no authorization server at our origin', async ({ page }) => {
  const asked: string[] = []
  await openSignedOut(page)
  page.on('response', (answer) => asked.push(`${answer.status()} ${new URL(answer.url()).pathname}`))
  const error = await page.evaluate(() => {
    const provider: Partial<OAuthClientProvider> = {
      redirectUrl: location.href,
      clientMetadata: { redirect_uris: [location.href] },
      tokens: () => undefined,
      clientInformation: () => undefined,
      saveClientInformation: () => {},
    }
    return assistant.connect({ authProvider: provider as OAuthClientProvider }).catch(({ message }) => message)
  })
  expect(error).toContain('404')
  expect(asked).toEqual([
    '401 /api/mcp',
    '404 /.well-known/oauth-protected-resource/api/mcp',
    '404 /.well-known/oauth-protected-resource',
    '404 /.well-known/oauth-authorization-server',
    '404 /.well-known/openid-configuration',
    '404 /register',
  ])
})

test('ends the open stream after a sign-out in another tab', async ({ page, context, world }) => {
  await signIn(page)
  const { mcp } = await connect(page)
  await expect.poll(() => seen(world, 'GET')).toMatchObject([{ isOpen: true }])
  const other = await context.newPage()
  await other.goto('/')
  await isSignedIn(other)
  await other.getByRole('button', { name: 'Sign out' }).click()

  await expect.poll(() => seen(world, 'GET')).toMatchObject([{ isOpen: false }])
  await expect.poll(() => page.evaluate(() => assistant.signedOut)).toContain('session_required')
  expect((await mcp.evaluate(({ errors }) => errors)).join()).toContain('SSE stream disconnected')
  const code = await mcp.evaluate(({ client }) => client.callTool({ name: 'whoami' }).catch((error) => error.code))
  expect(code).toBe(401)
  expect(seen(world, 'GET')).toHaveLength(1)
})

test.describe('with access tokens that end after eight seconds', () => {
  // An API counts whole seconds: shorter ones would end before they are renewed, and be refused.
  test.use({ accessTokenLifetime: 8 })

  test('goes on in the same MCP session with the next token, and the open stream with it', async ({ page, world }) => {
    await signIn(page)
    const { mcp, id = '' } = await connect(page)
    const whoami = () =>
      mcp.evaluate(async ({ client }) => (await client.callTool({ name: 'whoami' })).structuredContent as Caller)
    const before = await whoami()
    await expect.poll(async () => (await whoami()).jti, { intervals: [300], timeout: 15_000 }).not.toBe(before.jti)
    expect((await whoami()).sub).toBe(before.sub)
    expect(world.authorizationServer.counters).toMatchObject({ logins: 1, refusedRefreshes: 0, reuses: 0 })

    expect([...world.mcp.sessions.keys()]).toEqual([id])
    await world.mcp.sessions.get(id)?.server.sendLoggingMessage({ level: 'info', data: 'still here' })
    await expect.poll(() => mcp.evaluate(({ messages }) => messages)).toEqual(['still here'])
    expect(seen(world, 'GET')).toMatchObject([{ isOpen: true }])
    expect(await mcp.evaluate(({ errors }) => errors)).toEqual([])
  })
})

test('a token that the server refuses is replaced, and the call does not notice', async ({ page, world }) => {
  await signIn(page)
  const { mcp } = await connect(page)
  /** @param padding makes the call so long that coatcheck does not keep it for a second try. */
  const whoami = (padding = 0) =>
    mcp.evaluate(
      ({ client }, padding) =>
        client.callTool({ name: 'whoami', arguments: { padding: 'x'.repeat(padding) } }).then(
          ({ structuredContent }) => (structuredContent as Caller).jti,
          ({ code }) => code as number,
        ),
      padding,
    )
  const first = String(await whoami())
  world.mcp.refuse(first)
  const second = String(await whoami())
  expect(second).not.toBe(first)
  expect(world.authorizationServer.counters).toMatchObject({ refreshGrants: 1, reuses: 0 })

  world.mcp.refuse(second)
  expect(await whoami(70_000)).toBe(401)
  await expect.poll(() => whoami()).toEqual(expect.any(String))
  expect(world.authorizationServer.counters).toMatchObject({ refreshGrants: 2, reuses: 0 })
  expect(await page.evaluate(() => assistant.signedOut)).toEqual([])
})

test('works with a plain fetch where requestInit has the header that the route asks for', async ({ page }) => {
  await signIn(page)
  const tried = (headers: Record<string, string>) =>
    page.evaluate(
      (headers) =>
        assistant.connect({ requestInit: { headers }, fetch: (input, init) => fetch(input, init) }).then(
          async ({ client, transport }) => {
            const { tools } = await client.listTools()
            await transport.terminateSession()
            return tools.length
          },
          ({ message }) => message as string,
        ),
      headers,
    )
  expect(await tried({})).toContain('"code":"csrf_rejected"')
  expect(await tried({ 'X-CSRF': '1' })).toBe(3)
})

test('the SDK’s own schema validator is stopped by the Content-Security-Policy', async ({ page }) => {
  await signIn(page)
  const { mcp } = await connect(page, { compilesSchemas: true })
  const error = await mcp.evaluate(({ client }) => client.listTools().catch(({ name }) => name as string))
  expect(error).toBe('EvalError')
})

interface Caller {
  readonly sub: string
  readonly jti: string
}

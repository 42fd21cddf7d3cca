// Hostile error responses: what stands in error, error_description and error_uri is text of a stranger, and reaches neither
// page nor log (R056, R036, R631; RFC 6749 4.1.2.1, ASVS 1.2.1 and 16.4.1).
import { describe, expect, test } from 'vitest'
import { faultWorld } from '../support/fault-world.ts'
import { elements, links } from '../support/html.ts'
import {
  expectLoginFailed,
  expectLoginRefused,
  expectNoCanary,
  expectRefusal,
  expectSignedOut,
  expectSilent,
} from '../support/oracles.ts'

const marker = 'CANARY-injected'

const hostile: [string, string][] = [
  ['markup', `<script>alert("${marker}")</script>`],
  ['markup that closes an attribute', `"><img src=x onerror=alert(1)>${marker}`],
  ['markup, encoded', `%3Cscript%3E${marker}`],
  ['entities', `&lt;script&gt;&#60;${marker}`],
  ['a script address', `javascript:alert(1)//${marker}`],
  ['a line of a log', `x\r\n{"level":"info","event":"login.completed","session":"${marker}"}`],
  ['a header', `x\r\nSet-Cookie: coatcheck=${marker}\r\n\r\n<html>`],
  ['terminal escapes', `\x1b[2J\x1b]0;${marker}\x07\u009b31m`],
  ['text that runs from right to left', `\u202e${marker}\u2066`],
  ['NUL', `\0${marker}`],
  ['a template', `\${1234*4321}{{1234*4321}}<%= 1234*4321 %>#{1234*4321}${marker}`],
  ['8 KB', marker.repeat(500)],
]

const onPage = ['a', 'code', 'h1', 'html', 'main', 'meta', 'nav', 'p', 'style', 'title']

describe.each(['error', 'error_description'])('R056 %s of the authorization server', (name) => {
  const world = faultWorld()

  test.each(hostile)('with %s in it stands on no page and in no log', async (_, text) => {
    world.as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      parameters.set('error', 'access_denied')
      parameters.set(name, text)
      parameters.set('error_uri', `https://evil.test/${marker}`)
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'authorization_refused')
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(elements(answer.text)).toEqual(onPage)
    expect(links(answer.text)).toEqual(['/auth/login?returnTo=%2F'])
    expect(answer.text).not.toMatch(/CANARY|evil\.test|alert\(|4321|5332114/)
  })
})

describe('R056 R612 an error that is the name of something else', () => {
  const world = faultWorld()
  const names = [
    '__proto__',
    'constructor',
    'toString',
    'valueOf',
    'hasOwnProperty',
    '__defineGetter__',
    '0',
    'undefined',
  ]

  test.each(names)('%s is only unknown, on the page, in JSON and in the log', async (error) => {
    world.as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      parameters.set('error', error)
    }
    const browser = world.browser()
    const page = await browser.signIn()
    expectRefusal(page, 400, 'login_failed')
    expect(page.text).toContain('Nobody was signed in.')
    expect(page.text).not.toMatch(/\[object|native code|function/)
    await expectLoginFailed(world, 'authorization_refused')
    expect(JSON.stringify(world.logged('login.failed'))).not.toMatch(/"detail":(?!")/)

    const json = await browser.navigate(await browser.untilCallback(), { headers: { accept: 'application/json' } })
    expect(json.json()).toEqual({
      status: 400,
      title: expect.any(String),
      code: 'login_failed',
      loginUrl: '/auth/login?returnTo=%2F',
    })
  })
})

describe('R056 an error response', () => {
  const world = faultWorld()
  const answers = (members: Record<string, string>) => {
    world.as.behaviour.callback = (parameters) => {
      parameters.delete('code')
      for (const [name, value] of Object.entries(members)) parameters.set(name, value)
    }
  }

  test('uses the transaction up', async () => {
    answers({ error: 'access_denied' })
    const browser = world.browser()
    const callback = await browser.untilCallback()
    const first = await browser.navigate(callback)
    expectRefusal(first, 400, 'login_failed')
    expect(first.text).toContain('The sign-in was cancelled or refused.')
    expectRefusal(await browser.navigate(callback), 400, 'login_expired')
    const withCode = callback.replace('error=access_denied', 'code=CANARY-code')
    expectRefusal(await browser.navigate(withCode), 400, 'login_expired')
    expectSilent(world.as, '/token')
    await expectSignedOut(browser)
  })

  test('without a login of this browser is only stale', async () => {
    const browser = world.browser()
    const query = `?error=${encodeURIComponent(`<script>${marker}`)}&error_description=${marker}&state=${marker}`
    const answer = await browser.navigate(`/auth/callback${query}`)
    expectRefusal(answer, 400, 'login_expired')
    expect(elements(answer.text)).toEqual(onPage)
    expectNoCanary(world, browser)
  })

  test('leaves the session that there is alone', async () => {
    const browser = world.browser()
    await browser.signIn()
    answers({ error: 'access_denied' })
    expectRefusal(await browser.signIn(), 400, 'login_failed')
    expect((await browser.fetch('/auth/session')).json().user.sub).toBe('alice')
  })

  test.each(['https://evil.test', ''])('R036 from another issuer is refused as such: iss %j', async (iss) => {
    answers({ error: 'access_denied', iss })
    const browser = world.browser()
    const answer = await browser.signIn()
    expectSilent(world.as, '/token')
    await expectLoginRefused(world, browser, answer, 'issuer_mismatch')
    expect(answer.text).not.toContain('The sign-in was cancelled')
  })

  test.each(['login_required', 'interaction_required'])(
    'R036 %s with prompt=none from another issuer is no answer either, and ends where a silent sign-in ends',
    async (error) => {
      answers({ error, iss: 'https://evil.test' })
      const browser = world.browser()
      const answer = await browser.signIn('?prompt=none&returnTo=/start')
      expectSilent(world.as, '/token')
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/start'])
      await expectSignedOut(browser, answer)
      await expectLoginFailed(world, 'issuer_mismatch')
    },
  )

  test.each(['text/html', 'application/json', '*/*', 'text/html;q=0, application/json', 'text/html\t', ''])(
    'says no more to Accept: %s',
    async (accept) => {
      answers({ error: `<b>${marker}`, error_description: `<script>${marker}` })
      const browser = world.browser()
      const answer = await browser.navigate(await browser.untilCallback(), { headers: { accept } })
      expectRefusal(answer, 400, 'login_failed')
      expect(answer.headers.get('content-type')).toMatch(/^(?:text\/html; charset=utf-8|application\/problem\+json)$/)
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      expectNoCanary(world, browser)
    },
  )

  test('cannot pass for an error of the API: the code is ours', async () => {
    answers({ error: 'session_required', error_description: 'step_up_required' })
    const browser = world.browser()
    expectRefusal(await browser.signIn(), 400, 'login_failed')
  })
})

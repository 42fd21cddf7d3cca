// Attack: tokens, logins and foreign cookies so large that browsers drop cookies silently or servers refuse the request.
// R200 R201 R202 R203 R204
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { expectRefusal, expectSignedOut, sessionCookies } from '../support/oracles.ts'
import { ask, converse, head, type RawAnswer } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const largest = 4_096
const budget = 7.5 * 1_024

/** What is wrong with the sizes of these `Set-Cookie`s: of each, and of the session together in a `Cookie` header. */
function oversized(setCookie: readonly string[]): string[] {
  const session = setCookie.filter((line) => !line.includes('-login='))
  const together = session.map((line) => line.slice(0, line.indexOf(';'))).join('; ').length
  const single = setCookie
    .filter((line) => line.length > largest)
    .map((line) => `${line.slice(0, 20)}... ${line.length} bytes`)
  return together > budget ? [...single, `together ${together} bytes`] : single
}

describe('R200 R202 Large tokens', () => {
  const shared = sharedWorld()

  test('make a session that works, or a sign-in that fails and says how many bytes came from where; never half a session', async () => {
    const { as, browser, logged } = shared()
    as.behaviour.jwtAccessTokens = false
    const wrong: string[] = []
    let [worked, failed] = [0, 0]
    for (let padding = 0; padding <= 12_000; padding += 300) {
      as.behaviour.accessTokenPadding = padding
      const user = browser()
      const answer = await user.signIn()
      for (const size of oversized(answer.setCookie)) wrong.push(`token of ${padding} bytes: ${size}`)
      const call = await user.fetch('/api/x')
      if (answer.status === 303) {
        worked++
        if (call.status !== 200) wrong.push(`token of ${padding} bytes: signed in, but the call is ${call.status}`)
      } else {
        failed++
        const isLoud = answer.status === 400 && /\d{4,} bytes.*access token \d+/s.test(answer.text)
        if (!isLoud || call.status !== 401)
          wrong.push(`token of ${padding} bytes: ${answer.status}, call ${call.status}`)
        if (sessionCookies(answer).length > 0) wrong.push(`token of ${padding} bytes: failed, but sets a session`)
      }
    }
    expectNone(wrong)
    expect([worked > 5, failed > 5]).toEqual([true, true])
    const [event] = logged('login.failed')
    expect(event?.reason).toBe('tokens_too_large')
    expect(event?.detail).toMatch(/\d+ bytes.*access token \d+/)
  })

  for (const kilobytes of [1.5, 3, 6, 12]) {
    test(`of ${kilobytes} KB that come with a refresh keep every Set-Cookie within its limits, and the session whole or over`, async () => {
      const { url, as, api, browser, events } = shared()
      const user = browser()
      as.behaviour.accessTokenPadding = 0
      await user.signIn()
      as.behaviour.accessTokenPadding = kilobytes * 1_024
      const honest = api.answer
      api.answer = (_, response) => {
        api.answer = honest
        response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' })
        response.end()
      }
      const answer = await ask(url, 'GET /api/x', [`Cookie: ${user.cookieHeader()}`])
      expectNone(oversized(answer.setCookie))
      for (const line of answer.setCookie) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
        if (value === '') user.cookies.delete(name)
        else user.cookies.set(name, value)
      }
      // The next request says what the browser is left with.
      const next = await user.fetch('/api/x')
      const session = (await user.fetch('/auth/session')).json()
      const isWhole = next.status === 200 && session.authenticated
      // A session that had to end because of it says so.
      const isTold = events().some((event) => 'reason' in event && event.reason === 'tokens_too_large')
      const isOver = next.status === 401 && !session.authenticated && isTold
      expect(isWhole || isOver, `first ${answer.status}, next ${next.status}, session ${session.authenticated}`).toBe(
        true,
      )
    })
  }

  test('that become small again leave no piece of the large ones in the session', async () => {
    const { as, api, browser } = shared()
    const user = browser()
    as.behaviour.accessTokenPadding = 2_800
    await user.signIn()
    expect(user.cookies.has('coatcheck.2')).toBe(true)
    as.behaviour.accessTokenPadding = 0
    const honest = api.answer
    api.answer = (_, response) => {
      api.answer = honest
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' })
      response.end()
    }
    expect((await user.fetch('/api/x')).status).toBe(200)
    const { authorization } = api.last().headers
    expect(authorization?.length).toBeLessThan(200)
    expect((await user.fetch('/api/x')).status).toBe(200)
    expect(api.last().headers.authorization).toBe(authorization)
  })
})

/** A navigation over a raw connection: no answer is too long for it. */
async function start(url: string, path: string): Promise<RawAnswer> {
  const [answer] = await converse(url, head(`GET ${path}`, ['Sec-Fetch-Mode: navigate', 'Connection: close']))
  if (!answer) throw new Error('No answer')
  return answer
}

describe('R204 Sign-ins without end', () => {
  const shared = sharedWorld()

  test('a hundred of them leave one login cookie of at most 4 KB, and the newest five still work', async () => {
    const { browser } = shared()
    const user = browser()
    const callbacks: string[] = []
    for (let count = 0; count < 100; count++) {
      callbacks.push(await user.untilCallback(`?returnTo=/${count}`))
      expect(user.cookieHeader().length).toBeLessThan(largest)
    }
    expect([...user.cookies.keys()]).toEqual(['coatcheck-login'])
    const answers = []
    for (const callback of callbacks.slice(-7)) answers.push((await user.navigate(callback)).headers.get('location'))
    expect(answers.slice(2)).toEqual(['/95', '/96', '/97', '/98', '/99'])
  })

  test('no parameter of a sign-in makes its cookie longer than a browser keeps', async () => {
    const { url } = shared()
    const wrong: string[] = []
    for (const name of ['returnTo', 'prompt', 'max_age', 'acr_values', 'login_hint', 'ui_locales']) {
      for (const length of [1_000, 3_000, 6_000, 12_000]) {
        const value = name === 'returnTo' ? `/${'a'.repeat(length)}` : 'a'.repeat(length)
        const answer = await start(url, `/auth/login?${name}=${value}`)
        if (answer.status !== 303 && answer.status !== 400) wrong.push(`${name} of ${length}: ${answer.status}`)
        for (const size of oversized(answer.setCookie)) wrong.push(`${name} of ${length}: ${size}`)
      }
    }
    expectNone(wrong)
  })

  test('five large ones fit into one cookie, or the oldest give way', async () => {
    const { browser } = shared()
    const user = browser()
    let callback = ''
    for (let count = 0; count < 6; count++) {
      callback = await user.untilCallback(`?returnTo=/${'r'.repeat(1_000)}${count}`)
      expect(`coatcheck-login=${user.cookies.get('coatcheck-login')}`.length).toBeLessThan(largest - 100)
    }
    expect((await user.navigate(callback)).headers.get('location')).toMatch(/r5$/)
  })

  test('an image, a frame, a script and a fetch start none', async () => {
    const { url } = shared()
    const wrong: string[] = []
    for (const [mode, destination] of [
      ['no-cors', 'image'],
      ['navigate', 'iframe'],
      ['no-cors', 'script'],
      ['cors', 'empty'],
      ['navigate', 'frame'],
    ]) {
      const { status, setCookie } = await ask(url, 'GET /auth/login', [
        `Sec-Fetch-Mode: ${mode}`,
        `Sec-Fetch-Dest: ${destination}`,
      ])
      if (![401, 403].includes(status) || setCookie.length > 0) wrong.push(`${destination} -> ${status}`)
    }
    expectNone(wrong)
  })
})

describe('R201 R203 Cookies of others', () => {
  const shared = sharedWorld()
  const crowd = (count: number, length: number) =>
    Array.from({ length: count }, (_, index) => `sibling${index}=${'x'.repeat(length)}`).join('; ')

  test('two hundred from a sibling host are a clean 401 without a session, and do not disturb one', async () => {
    const { browser, api } = shared()
    const user = browser()
    const crowded = { cookie: crowd(200, 100), 'x-csrf': '1' }
    expectRefusal(await user.send('/api/x', { headers: crowded }), 401, 'session_required')
    expect(api.requests).toEqual([])
    await user.signIn()
    const both = { ...crowded, cookie: `${crowd(100, 100)}; ${user.cookieHeader()}; ${crowd(100, 100)}` }
    expect((await user.send('/api/x', { headers: both })).status).toBe(200)
    expect(api.last().headers).not.toHaveProperty('cookie')
  })

  test('R207 two thousand pairs are no reason to fail', async () => {
    const { browser } = shared()
    const user = browser()
    await user.signIn()
    const cookie = `${crowd(2_000, 8)}; ${user.cookieHeader()}`
    expect((await user.send('/api/x', { headers: { cookie, 'x-csrf': '1' } })).status).toBe(200)
  })

  test('R203 no cookie locks a user out of signing in', async () => {
    const { browser } = shared()
    const garbage = [
      crowd(180, 300),
      'coatcheck=garbage; coatcheck.1=garbage; coatcheck-login=garbage',
      `coatcheck=${'Fe26.2*1*'.repeat(400)}; coatcheck-login=${'Fe26.2*1*'.repeat(400)}`,
      Array.from({ length: 60 }, (_, index) => `coatcheck.${index}=x; coatcheck-login=${index}`).join('; '),
      'coatcheck-login=',
      'coatcheck-login',
    ]
    const wrong: string[] = []
    for (const cookie of garbage) {
      const user = browser()
      for (const pair of cookie.split('; '))
        user.cookies.set(pair.split('=')[0] ?? '', pair.slice(pair.indexOf('=') + 1))
      const answer = await user.signIn()
      const signedIn = (await user.fetch('/auth/session')).json().authenticated
      if (answer.status !== 303 || !signedIn) wrong.push(`${cookie.slice(0, 60)} -> ${answer.status}, ${signedIn}`)
    }
    expectNone(wrong)
  })

  test('R203 R511 more than the server takes is 431 in our own words, or is taken', async () => {
    const { url } = shared()
    const { status, headers } = await ask(url, 'GET /auth/session', [`Cookie: ${crowd(300, 1_000)}`])
    if (runtime === 'node') {
      expect([status, headers.get('coatcheck-error')]).toEqual([431, 'headers_too_large'])
    } else expect([200, 400, 413, 431, 503]).toContain(status)
    await expectSignedOut(shared().browser())
  })
})

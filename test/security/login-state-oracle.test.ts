// Login-state oracle: another site loads our endpoints and learns from the answer whether its visitor is signed in here
// (R314; OWASP XS-Leaks).
import { describe, expect, test } from 'vitest'
import type { BrowserResponse, RequestOptions } from '../support/browser.ts'
import { faultWorld } from '../support/fault-world.ts'

/** Everything of an answer that another site could tell apart; what is random in it is left out. */
function look({ status, headers, setCookie, text }: BrowserResponse) {
  const random = /nonce(?:-|=")[\w-]+/g
  const fields = [...headers].filter(([name]) => !['date', 'set-cookie', 'keep-alive', 'connection'].includes(name))
  const length = headers.get('content-length') ?? text.length
  return {
    status,
    fields: fields.map(([name, value]) => [name, value.replace(random, '')]),
    setCookie,
    length,
    text: text.replace(random, ''),
  }
}

const loads: Record<string, Record<string, string>> = {
  'a link or window.open': { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: 'text/html' },
  'a frame': { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe', accept: 'text/html' },
  'an image': { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image', accept: 'image/*' },
  'a script': { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script', accept: '*/*' },
  'fetch with CORS': {
    'sec-fetch-mode': 'cors',
    'sec-fetch-dest': 'empty',
    origin: 'https://evil.test',
    accept: '*/*',
  },
}

const targets: [string, RequestOptions['method']][] = [
  ['/auth/login', 'GET'],
  ['/auth/login?prompt=none&returnTo=/orders', 'GET'],
  ['/auth/login?max_age=x', 'GET'],
  ['/auth/session', 'GET'],
  ['/auth/session', 'POST'],
  ['/auth/callback', 'GET'],
  ['/auth/callback?state=guess&code=guess', 'GET'],
  ['/auth/callback?error=access_denied', 'GET'],
  ['/auth/logout', 'GET'],
  ['/auth/logout', 'POST'],
  ['/auth/logout/callback?state=guess', 'GET'],
  ['/auth/nothing', 'GET'],
]

describe.each(['cross-site', 'same-site'])('R314 from a %s page', (site) => {
  const world = faultWorld()

  describe.each(Object.entries(loads))('by %s', (_, headers) => {
    test.each(targets)('%s (%s) looks the same in and out of a session', async (path, method = 'GET') => {
      const options = { method, headers: { ...headers, 'sec-fetch-site': site } }
      const stranger = world.browser()
      const member = world.browser()
      await member.signIn()
      member.cookies.delete('coatcheck-login')
      const before = new Map(member.cookies)
      const [out, inside] = [await stranger.send(path, options), await member.send(path, options)]
      expect(look(inside)).toEqual(look(out))
      expect(member.cookies).toEqual(before)
    })
  })
})

// Leaks around the sign-in: codes and tokens in addresses, referrers, caches, frames, pages and error texts
// (R005, R028, R042, R043, R052; RFC 9700 4.2, 4.12 and 4.16, RFC 10017 6.1.3).
import { describe, expect, test } from 'vitest'
import type { BrowserResponse } from '../support/browser.ts'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { elements } from '../support/html.ts'
import { expectNoCanary } from '../support/oracles.ts'

/** What every answer under /auth must say, whatever it is. */
function expectKeptToItself(answer: BrowserResponse): void {
  const { headers } = answer
  expect(headers.get('cache-control')).toBe('no-store')
  expect(headers.get('referrer-policy')).toBe('no-referrer')
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
  const policy = headers.get('content-security-policy') ?? ''
  for (const directive of ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]) {
    expect(policy).toContain(directive)
  }
  expect(policy).not.toMatch(/unsafe|\*|https?:/)
  expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([])
}

describe('R042 the callback', () => {
  const world = faultWorld()

  test('leads on with 303, without the code in the next address, in a referrer or in a cache', async () => {
    const browser = world.browser()
    const callback = await browser.untilCallback('?returnTo=/orders')
    const answer = await browser.navigate(callback)
    expect([answer.status, answer.headers.get('location'), answer.text]).toEqual([303, '/orders', ''])
    expectKeptToItself(answer)
    expectNoCanary(world, browser)
  })

  test('that fails leads nowhere, loads nothing and names no code', async () => {
    const browser = world.browser()
    world.as.behaviour.faults['/token'] = ({ body }) => ({
      status: 400,
      body: { error: 'invalid_request', error_description: `bad code ${body.get('code')}` },
    })
    const callback = await browser.untilCallback()
    for (const answer of [await browser.navigate(callback), await browser.navigate(callback)]) {
      expect(answer.status).toBe(400)
      expectKeptToItself(answer)
      expect(answer.text).not.toMatch(/\s(?:src|srcset|action|data|poster|background|ping)=|url\(|@import|http-equiv/i)
      expect(elements(answer.text)).not.toContain('script')
      expect(answer.text).not.toMatch(/https?:\/\//)
    }
    expectNoCanary(world, browser)
  })
})

describe('R043 a redirect', () => {
  const world = faultWorld()

  test('is always 303: nothing that was sent is sent on', async () => {
    const browser = world.browser()
    const answers = [await browser.navigate('/auth/login')]
    const callback = await browser.untilCallback()
    answers.push(await browser.navigate(callback), await browser.navigate(callback))
    answers.push(await browser.fetch('/auth/logout', { method: 'POST', body: 'secret=1' }))
    answers.push(await browser.navigate('/auth/logout/callback'))
    expect(answers.map(({ status }) => status)).toEqual([303, 303, 303, 303, 303])
  })
})

describe('R052 R028 every answer under /auth', () => {
  const world = faultWorld()
  const asked: [string, string, string][] = [
    ['GET', '/auth/login', ''],
    ['GET', '/auth/login', 'cross-site'],
    ['GET', '/auth/login?max_age=x', ''],
    ['GET', '/auth/callback', ''],
    ['GET', '/auth/callback?state=x&state=y', ''],
    ['GET', '/auth/session', ''],
    ['GET', '/auth/session', 'cross-site'],
    ['POST', '/auth/session', ''],
    ['POST', '/auth/session', 'cross-site'],
    ['GET', '/auth/logout', ''],
    ['POST', '/auth/logout', 'cross-site'],
    ['POST', '/auth/logout', ''],
    ['GET', '/auth/logout/callback?state=x', ''],
    ['PUT', '/auth/callback', ''],
    ['GET', '/auth/nothing-here', ''],
    ['GET', '/auth/', ''],
    ['GET', '/auth/.git/config', ''],
    ['GET', '/auth/login/', ''],
    ['GET', '/auth/login.map', ''],
  ]

  describe.each(['signed out', 'signed in'])('%s', (who) => {
    test.each(asked)('can be framed, cached or embedded by nobody: %s %s %s', async (method, path, site) => {
      for (const accept of ['text/html', 'application/json']) {
        const browser = world.browser()
        if (who === 'signed in') await browser.signIn()
        const origin = method === 'POST' && site === '' ? { origin: world.publicUrl } : {}
        const answer = await browser.navigate(path, {
          method,
          headers: { accept, ...origin, ...(site ? { 'sec-fetch-site': site } : {}) },
        })
        expect(answer.status).toBeLessThan(500)
        expectKeptToItself(answer)
        expectNoCanary(world, browser)
      }
    })
  })

  test('does not sign in for HEAD', async () => {
    for (const path of ['/auth/login', '/auth/callback']) {
      const head = await world.browser().navigate(path, { method: 'HEAD' })
      expect([head.status, head.text, head.setCookie]).toEqual([405, '', []])
      expectKeptToItself(head)
    }
  })

  test('answers HEAD elsewhere as it answers GET, and without a body', async () => {
    for (const path of ['/auth/session', '/auth/logout', '/auth/logout/callback', '/auth/x']) {
      const get = await world.browser().navigate(path)
      const head = await world.browser().navigate(path, { method: 'HEAD' })
      expect([head.status, head.text]).toEqual([get.status, ''])
      expectKeptToItself(head)
    }
  })
})

describe('R005 the browser', () => {
  test('never sees a token, a code, a verifier or a secret: a whole life of a session, with opaque and with JWT tokens', async () => {
    for (const jwtAccessTokens of [true, false]) {
      const world = await startWorld(({ as }) => {
        as.behaviour.jwtAccessTokens = jwtAccessTokens
        as.behaviour.expiresIn = 0.2
        return {}
      })
      const browser = world.browser()
      await browser.signIn('?returnTo=/orders')
      await expect
        .poll(async () => {
          await browser.fetch('/api/orders')
          return world.as.to('/token').length
        })
        .toBeGreaterThan(2)
      for (const path of [
        '/auth/session',
        '/auth/nothing',
        '/api/orders',
        '/healthz',
        '/readyz',
        '/',
        '/index.html',
        '/package.json',
      ]) {
        await browser.fetch(path)
        await browser.navigate(path)
      }
      await browser.fetch('/auth/session', { method: 'POST' })
      await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
      expect(browser.seen.length).toBeGreaterThan(30)
      expectNoCanary(world, browser)
    }
  })
})

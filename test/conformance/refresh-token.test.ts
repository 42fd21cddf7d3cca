// The conformance suite's modules for refresh tokens: a refreshed ID token may not speak of anybody else.
import { describe, expect, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import type { Browser } from '../support/browser.ts'
import { faultWorld } from '../support/fault-world.ts'
import { expectNoCanary, expectRefusal, expectSignedOut, expectSilent } from '../support/oracles.ts'
import { passed } from '../support/time.ts'

describe('oidcc-client-refreshtoken-test-plan', () => {
  const world = faultWorld()

  /** Signed in, with an access token that is over. */
  async function withSpentToken(): Promise<Browser> {
    world.as.behaviour.expiresIn = 0.1
    const browser = world.browser()
    expect((await browser.signIn()).status).toBe(303)
    world.as.behaviour.expiresIn = 300
    await passed(120)
    world.as.requests.length = 0
    return browser
  }

  async function rejectsRefreshed(reason: Reason, change: (claims: Record<string, unknown>) => void): Promise<void> {
    const browser = await withSpentToken()
    world.as.behaviour.idToken = change
    const answer = await browser.fetch('/api/orders')
    expectRefusal(answer, 401, 'session_expired')
    expect(world.as.to('/token').map(({ body }) => body.get('grant_type'))).toEqual(['refresh_token'])
    expectSilent(world.as, '/userinfo')
    expect(world.api.requests).toEqual([])
    await expectSignedOut(browser, answer)
    await expect.poll(() => world.logged('refresh.failed')).toMatchObject([{ reason, sessionKept: false }])
    expect(world.logged('session.ended')).toMatchObject([{ reason }])
    expectNoCanary(world, browser)
  }

  test('oidcc-client-test-refresh-token: refreshes once, authenticated, and calls the API with the new token', async () => {
    const browser = await withSpentToken()
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect((await browser.fetch('/api/orders')).status).toBe(200)
    const [refresh, ...more] = world.as.to('/token')
    expect(more).toEqual([])
    expect(refresh?.headers.authorization).toMatch(/^Basic /)
    expect([...(refresh?.body.keys() ?? [])].sort()).toEqual(['grant_type', 'refresh_token'])
    expectNoCanary(world, browser)
  })

  test('oidcc-client-test-refresh-token-invalid-issuer: rejects, ends the session, and uses none of the new tokens', async () => {
    await rejectsRefreshed('identity_changed', (claims) => Object.assign(claims, { iss: `${claims.iss}1` }))
  })

  test('oidcc-client-test-refresh-token-invalid-sub: rejects, ends the session, and uses none of the new tokens', async () => {
    await rejectsRefreshed('identity_changed', (claims) => Object.assign(claims, { sub: `${claims.sub}1` }))
  })

  test('oidcc-client-test-refresh-token-invalid-aud: rejects, ends the session, and uses none of the new tokens', async () => {
    await rejectsRefreshed('id_token_claim', (claims) => Object.assign(claims, { aud: `${claims.aud}1` }))
  })

  test('oidcc-client-test-refresh-token-invalid-azp: rejects, ends the session, and uses none of the new tokens', async () => {
    await rejectsRefreshed('id_token_claim', (claims) => Object.assign(claims, { azp: `${claims.aud}1` }))
  })
})

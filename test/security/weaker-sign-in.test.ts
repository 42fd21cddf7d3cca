// Weaker sign-in: the operator asks for a fresh or strong authentication, and somebody gets in with less
// (R108; OpenID Connect Core 3.1.2.1 and 3.1.3.7, ASVS 6.8.4).
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { expectLoginRefused } from '../support/oracles.ts'

describe('what the operator asks of every sign-in', () => {
  test.each([
    ['max_age', { max_age: '60' }, { auth_time: 1_000_000_000 }],
    ['acr_values', { acr_values: 'gold' }, { acr: 'bronze' }],
  ])('R108 %s in authorizationParams is checked on the way back', async (_, authorizationParams, claims) => {
    const world = await startWorld(({ config }) => ({
      providers: config.providers.map((provider) => ({ ...provider, authorizationParams })),
    }))
    world.as.behaviour.idToken = (honest) => Object.assign(honest, claims)
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, ['id_token_time', 'acr_not_satisfied'])
  })

  test.each([
    ['max_age', { max_age: '60' }, '?max_age=999999'],
    ['acr_values', { acr_values: 'gold' }, '?acr_values=bronze'],
  ])(
    'R108 %s in authorizationParams cannot be lowered by whoever opens the login',
    async (name, authorizationParams, query) => {
      const world = await startWorld(({ config }) => ({
        providers: config.providers.map((provider) => ({ ...provider, authorizationParams })),
      }))
      const answer = await world.browser().navigate(`/auth/login${query}`)
      const asked = new URL(answer.headers.get('location') ?? world.url).searchParams.get(name)
      expect([authorizationParams[name as never], null]).toContain(asked)
    },
  )
})

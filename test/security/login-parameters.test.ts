// Parameters at the login endpoint that try to become something else: another provider, another request, more rights
// (R045, R057, R108, R612; RFC 9700 4.4).
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { expectRefusal, expectSilent } from '../support/oracles.ts'

describe('R612 a provider that is not configured', () => {
  const world = faultWorld()

  test.each([
    'nobody',
    '',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'MAIN',
    'main ',
    'main\0',
    '0',
    'x'.repeat(5_000),
  ])('%j is refused, and nothing is set', async (provider) => {
    const answer = await world.browser().navigate(`/auth/login?provider=${encodeURIComponent(provider)}`)
    expectRefusal(answer, 400, 'bad_request')
    expect(answer.setCookie).toEqual([])
    expectSilent(world.as, '/authorize', '/par')
    await expect.poll(() => world.logged('request.refused')).toMatchObject([{ reason: 'provider_unknown' }])
  })
})

describe('R108 a max_age that is no number of seconds', () => {
  const world = faultWorld()

  test.each([
    'abc',
    '',
    '-1',
    '1.5',
    '1e3',
    ' 60',
    '60 ',
    '0x10',
    '+60',
    '٣',
    '10000000000',
    'NaN',
    'Infinity',
    '60\n',
  ])('%j is refused, and nothing is set', async (maxAge) => {
    const answer = await world.browser().navigate(`/auth/login?max_age=${encodeURIComponent(maxAge)}`)
    expectRefusal(answer, 400, 'bad_request')
    expect(answer.setCookie).toEqual([])
    await expect.poll(() => world.logged('request.refused')).toMatchObject([{ reason: 'parameter_malformed' }])
  })
})

describe('R057 a parameter given twice', () => {
  const world = faultWorld()

  test.each(['returnTo', 'provider', 'prompt', 'max_age', 'acr_values', 'login_hint', 'ui_locales'])(
    '%s is refused, and nothing is set',
    async (name) => {
      const twice = [
        `?${name}=1&${name}=1`,
        `?${name}=1&${name}=2`,
        `?${name}=1&%${name.charCodeAt(0).toString(16)}${name.slice(1)}=2`,
      ]
      for (const query of twice) {
        const answer = await world.browser().navigate(`/auth/login${query}`)
        expectRefusal(answer, 400, 'bad_request')
        expect(answer.setCookie).toEqual([])
      }
    },
  )
})

describe('R045 a request that the browser tries to change', () => {
  const world = faultWorld()
  const own = 'client_id code_challenge code_challenge_method nonce redirect_uri response_type scope state'.split(' ')

  test('asks for exactly what is configured, whatever else the address says', async () => {
    const names =
      'scope client_id redirect_uri response_type response_mode state nonce code_challenge code_challenge_method request request_uri claims resource audience authorization_details dpop_jkt registration id_token_hint issuer __proto__ constructor'
    const query = names.split(' ').map((name) => `${name}=evil`)
    const answer = await world.browser().navigate(`/auth/login?${query.join('&')}`)
    const { searchParams } = new URL(answer.headers.get('location') ?? '')
    expect([...searchParams.keys()].sort()).toEqual(own)
    expect(searchParams.get('scope')).toBe('openid profile email offline_access')
    expect(searchParams.toString()).not.toContain('evil')
  })

  test.each(['login_hint', 'ui_locales', 'prompt', 'acr_values'])('%s cannot break out of its place', async (name) => {
    const value = 'a&redirect_uri=https://evil.test&scope=admin#x\r\nSet-Cookie: evil=1'
    const answer = await world.browser().navigate(`/auth/login?${name}=${encodeURIComponent(value)}`)
    if (answer.status !== 400) {
      const { searchParams, hash } = new URL(answer.headers.get('location') ?? '')
      expect([...searchParams.keys()].sort()).toEqual([...own, name].sort())
      expect(searchParams.get(name)).toBe(value)
      expect(searchParams.get('redirect_uri')).toBe(`${world.publicUrl}/auth/callback`)
      expect(hash).toBe('')
    }
    for (const cookie of answer.setCookie) expect(cookie).toMatch(/^coatcheck-login=/)
  })

  test.each(['%', '%E0%A4%A', '%zz', '%00', '%c0%af', '%ff'])(
    'bad encoding in the query is no error of ours: %s',
    async (text) => {
      for (const path of [
        `/auth/login?returnTo=/${text}`,
        `/auth/login?login_hint=${text}`,
        `/auth/callback?state=${text}`,
      ]) {
        const answer = await world.browser().navigate(path)
        expect([303, 400]).toContain(answer.status)
      }
    },
  )
})

describe('R045 the scope', () => {
  test.each(['openid', 'openid orders.read', 'profile openid'])('%j is asked for exactly', async (scope) => {
    const world = await startWorld(({ config }) => ({
      providers: config.providers.map((provider) => ({ ...provider, scope })),
    }))
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login?scope=admin')
    expect(new URL(answer.headers.get('location') ?? '').searchParams.get('scope')).toBe(scope)
    await browser.signIn()
    for (const { body } of world.as.to('/token')) expect(body.get('scope')).toBeNull()
  })

  test('R045 the API gets the access token and never the ID token', async () => {
    const world = await startWorld()
    let idToken = ''
    world.as.behaviour.signedIdToken = (jwt) => {
      idToken = jwt
      return jwt
    }
    const browser = world.browser()
    await browser.signIn()
    await browser.fetch('/api/orders')
    const { headers, target } = world.api.last()
    expect(headers.authorization).toMatch(/^Bearer ey/)
    expect(idToken).toMatch(/^ey/)
    expect(JSON.stringify(headers) + target).not.toContain(idToken)
  })
})

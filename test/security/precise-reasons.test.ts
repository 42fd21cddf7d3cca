// Bad input from an authorization server: the browser gets a generic error, the log the precise reason, in words of ours. And
// of tokens that came with it nothing is left that works.
import { describe, expect, test } from 'vitest'
import type { CheckedClaim, OAuthError, Reason } from '../../src/reasons.ts'
import type { Behaviour } from '../support/authorization-server.ts'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { hs256, jwt, readJwt, unsigned } from '../support/forge.ts'
import { expectLoginRefused, expectNoCanary, expectRefusal } from '../support/oracles.ts'

type Claims = Record<string, unknown>
type Told = { reason: Reason; claim?: CheckedClaim; oauthError?: OAuthError }
type Row = { title: string; told: Told; query?: string } & Partial<Behaviour>

const now = () => Math.floor(Date.now() / 1_000)

const without = (claim: CheckedClaim): Row => ({
  title: `an ID token without ${claim}`,
  idToken: (claims) => void delete claims[claim],
  told: { reason: 'id_token_malformed', claim },
})

const saying = (reason: Reason, claim: CheckedClaim, change: (claims: Claims) => Claims, query = ''): Row => ({
  title: `an ID token whose ${claim} is wrong (${reason}${query})`,
  idToken: (claims) => void Object.assign(claims, change(claims)),
  told: { reason, claim },
  query,
})

const answering = (title: string, members: Claims, reason: Reason): Row => ({
  title,
  tokenResponse: (response) => void Object.assign(response, members),
  told: { reason },
})

const rows: Row[] = [
  ...(['iss', 'sub', 'aud', 'exp', 'iat', 'nonce'] as const).map(without),
  { ...without('auth_time'), query: '?max_age=60' },
  saying('id_token_claim', 'iss', ({ iss }) => ({ iss: `${iss}/` })),
  saying('id_token_claim', 'aud', ({ aud }) => ({ aud: [aud, 'other'] })),
  saying('id_token_claim', 'azp', () => ({ azp: 'other' })),
  saying('id_token_claim', 'nonce', () => ({ nonce: 'other' })),
  saying('id_token_claim', 'at_hash', () => ({ at_hash: 'other' })),
  saying('id_token_time', 'exp', () => ({ exp: now() - 300 })),
  saying('id_token_time', 'nbf', () => ({ nbf: now() + 300 })),
  saying('id_token_time', 'iat', () => ({ iat: now() + 300 })),
  saying('id_token_time', 'iat', () => ({ iat: now() - 10 * 31_536_000 }), '?returnTo=/ten-years-ago'),
  saying('id_token_time', 'auth_time', () => ({ auth_time: now() + 100_000 }), '?max_age=60&returnTo=/tomorrow'),
  saying('id_token_time', 'auth_time', () => ({ auth_time: now() - 300 }), '?max_age=60'),
  {
    title: 'an ID token with alg none',
    signedIdToken: (honest) => jwt({ alg: 'none' }, readJwt(honest).claims, unsigned),
    told: { reason: 'id_token_algorithm_refused' },
  },
  {
    title: 'an ID token with HS256',
    signedIdToken: (honest) => jwt({ alg: 'HS256' }, readJwt(honest).claims, hs256('secret')),
    told: { reason: 'id_token_algorithm_refused' },
  },
  {
    title: 'an ID token with an algorithm that is not announced',
    signedIdToken: (honest) => jwt({ ...readJwt(honest).header, alg: 'PS256' }, readJwt(honest).claims, unsigned),
    told: { reason: 'id_token_algorithm' },
  },
  answering('no ID token', { id_token: undefined }, 'id_token_missing'),
  answering('another type of token', { token_type: 'mac' }, 'token_type_mismatch'),
  answering('a bound token that nobody asked for', { token_type: 'DPoP' }, 'token_type_mismatch'),
  answering('a scope that is a list', { scope: ['openid'] }, 'response_malformed'),
]

describe('after the code was redeemed', () => {
  const world = faultWorld()

  test.each(rows)('$title is told as what it is, and its tokens are revoked', async (row) => {
    const { title, told, query, ...behaviour } = row
    Object.assign(world.as.behaviour, behaviour)
    const browser = world.browser()
    await expectLoginRefused(world, browser, await browser.signIn(query), told.reason)
    const [{ claim } = {}] = world.logged('login.failed')
    expect(claim).toBe(told.claim)
    await expect.poll(() => world.as.to('/revoke')).toHaveLength(2)
  })

  test('a token of another type is told for a downgrade of DPoP too', async () => {
    const bound = await startWorld(({ config }) => ({
      providers: config.providers.map((provider) => ({ ...provider, dpop: true })),
    }))
    const browser = bound.browser()
    await expectLoginRefused(bound, browser, await browser.signIn(), 'token_type_mismatch')
    await expect.poll(() => bound.as.to('/revoke')).toHaveLength(2)
  })
})

describe('errors of the authorization server', () => {
  const world = faultWorld(({ as }) => {
    as.behaviour.metadata = (metadata) => {
      metadata.pushed_authorization_request_endpoint = `${as.issuer}/par`
    }
    return {}
  })

  test.each<[OAuthError, Reason]>([
    ['invalid_scope', 'authorization_refused'],
    ['unauthorized_client', 'authorization_refused'],
    ['access_denied', 'authorization_refused'],
    ['server_error', 'authorization_refused'],
  ])('%s in an authorization response stands in the log', async (error, reason) => {
    world.as.behaviour.callback = (answer) => {
      answer.delete('code')
      answer.set('error', error)
    }
    const browser = world.browser()
    await expectLoginRefused(world, browser, await browser.signIn(), reason)
    expect(world.logged('login.failed')).toMatchObject([{ oauthError: error }])
  })

  test.each<[OAuthError, Reason]>([
    ['invalid_scope', 'request_rejected'],
    ['invalid_redirect_uri', 'request_rejected'],
    ['unauthorized_client', 'client_rejected'],
    ['invalid_client', 'client_rejected'],
  ])('%s of a pushed request stands in the log', async (error, reason) => {
    world.as.behaviour.faults['/par'] = () => ({ status: 400, body: { error, error_description: 'CANARY' } })
    const browser = world.browser()
    expectRefusal(await browser.navigate('/auth/login'), 400, 'login_failed')
    await expect
      .poll(() => world.logged('request.refused'))
      .toMatchObject([{ code: 'login_failed', reason, oauthError: error }])
    expectNoCanary(world, browser)
  })

  test('a text that nobody registered does not', async () => {
    world.as.behaviour.faults['/token'] = () => ({ status: 400, body: { error: 'CANARY' } })
    const browser = world.browser()
    await expectLoginRefused(world, browser, await browser.signIn(), 'request_rejected')
    expect(world.logged('login.failed')[0]).not.toMatchObject({ oauthError: expect.anything() })
  })
})

describe('userinfo that is insisted on', () => {
  const world = faultWorld(({ config }) => ({
    providers: config.providers.map((provider) => ({ ...provider, userinfo: true as const })),
  }))
  const challenge = { 'www-authenticate': 'Bearer error="invalid_token"' }

  test.each<[string, number, Reason, Parameters<typeof fail>[0]]>([
    ['refused with a challenge', 400, 'userinfo_refused', { status: 401, headers: challenge, body: '' }],
    ['refused without one', 400, 'userinfo_refused', { status: 403, body: {} }],
    ['a page', 400, 'userinfo_malformed', { headers: { 'content-type': 'text/html' }, body: '<h1>' }],
    ['a server error', 503, 'userinfo_unavailable', { status: 500, body: '' }],
    ['about somebody else', 400, 'userinfo_mismatch', { body: { sub: 'mallory' } }],
  ])('and is %s ends the sign-in with %i and %s, and its tokens are revoked', async (_, status, reason, answer) => {
    fail(answer)
    expect((await world.browser().signIn()).status).toBe(status)
    await expect.poll(() => world.logged('login.failed')).toMatchObject([{ reason }])
    await expect.poll(() => world.as.to('/revoke')).toHaveLength(2)
  })

  function fail(answer: { status?: number; headers?: Record<string, string>; body: string | object }): void {
    world.as.behaviour.faults['/userinfo'] = () => answer
  }
})

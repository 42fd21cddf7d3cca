// Hostile userinfo: claims about somebody else, more claims than anybody asked for, or no claims at all
// (R021, R119, R120, R612; OpenID Connect Core 5.3.1 and 5.3.2).
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, rs256, unsigned } from '../support/forge.ts'
import { expectLoginFailed, expectNoCanary, expectRefusal, expectSignedOut } from '../support/oracles.ts'

const fromIdToken = { sub: 'alice', name: 'Alice', email: 'alice@example.com' }

describe('R119 userinfo about', () => {
  const world = faultWorld()

  test.each([
    ['somebody else (oidcc-client-test-userinfo-invalid-sub)', { sub: 'mallory', picture: 'evil.png' }],
    ['the same name in capitals', { sub: 'ALICE', picture: 'evil.png' }],
    ['the same name and a blank', { sub: 'alice ', picture: 'evil.png' }],
  ])('%s signs nobody in', async (_, claims) => {
    world.as.behaviour.userinfo = claims
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    await expectLoginFailed(world, 'userinfo_mismatch')
    expectNoCanary(world, browser)
  })

  test.each([
    ['nobody', { picture: 'evil.png' }],
    ['a number', { sub: 1, picture: 'evil.png' }],
    ['a list', { sub: ['alice'], picture: 'evil.png' }],
    ['null', { sub: null, picture: 'evil.png' }],
    ['nothing', { sub: '', picture: 'evil.png' }],
  ])('%s is not believed', async (_, claims) => {
    world.as.behaviour.userinfo = claims
    const browser = world.browser()
    await browser.signIn()
    const session = await browser.fetch('/auth/session')
    expect(session.text).not.toContain('evil.png')
    expect([undefined, 'alice']).toContain(session.json().user?.sub)
  })

  test.each([
    ['on the prototype', '{"__proto__":{"sub":"alice"},"picture":"evil.png"}'],
    ['twice', '{"sub":"alice","picture":"evil.png","sub":"mallory"}'],
  ])('R612 the right subject %s is not believed', async (_, body) => {
    world.as.behaviour.faults['/userinfo'] = () => ({ headers: { 'content-type': 'application/json' }, body })
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).text).not.toContain('evil.png')
  })
})

describe('R021 userinfo', () => {
  const world = faultWorld()

  test('changes nothing that the ID token says, and adds only what is asked for (-scope-userinfo-claims)', async () => {
    world.as.behaviour.userinfo = {
      sub: 'alice',
      iss: 'https://evil.test',
      email: 'mallory@evil.test',
      name: 'Mallory',
      picture: 'alice.png',
      admin: true,
      access_token: 'CANARY-access',
      sid: 'other',
      acr: 'gold',
      __proto__: { polluted: true },
    }
    const browser = world.browser()
    await browser.signIn()
    const session = await browser.fetch('/auth/session')
    expect(session.json().user).toEqual({ ...fromIdToken, picture: 'alice.png' })
    expectNoCanary(world, browser)
  })

  test('gives no acr that the ID token does not give', async () => {
    world.as.behaviour.userinfo = { sub: 'alice', acr: 'gold' }
    const browser = world.browser()
    expectRefusal(await browser.signIn('?acr_values=gold'), 400, 'login_failed')
    await expectLoginFailed(world, 'acr_not_satisfied')
  })

  test('R120 is asked with the token in the header, never in the address or a body', async () => {
    await world.browser().signIn()
    const [asked] = world.as.to('/userinfo')
    expect(asked?.headers.authorization).toMatch(/^Bearer ey[\w-]+\.[\w-]+\.[\w-]+$/)
    expect([[...(asked?.query ?? [])], [...(asked?.body ?? [])]]).toEqual([[], []])
  })

  test('R120 is not asked at all when configuration says so, or when the ID token says everything', async () => {
    const never = await startWorld(({ config }) => ({
      providers: config.providers.map((provider) => ({ ...provider, userinfo: false as const })),
    }))
    await never.browser().signIn()
    expect(never.as.to('/userinfo')).toEqual([])
  })
})

describe('R120 userinfo that fails', () => {
  const world = faultWorld()
  const json = { 'content-type': 'application/json' }
  const evil = '{"sub":"alice","picture":"evil.png","canary":"CANARY"}'

  test.each([
    ['401', { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' }, body: 'CANARY' }],
    ['401 with a Basic challenge', { status: 401, headers: { 'www-authenticate': 'Basic realm="CANARY"' }, body: '' }],
    ['403', { status: 403, headers: json, body: '{"error":"CANARY"}' }],
    ['500 with a stack', { status: 500, body: 'Error: CANARY\n    at Object.<anonymous> (/srv/as.js:1:1)' }],
    ['an HTML page', { headers: { 'content-type': 'text/html' }, body: '<script>CANARY</script>' }],
    ['JSON that calls itself HTML', { headers: { 'content-type': 'text/html' }, body: evil }],
    ['JSON that calls itself text', { headers: { 'content-type': 'text/plain' }, body: evil }],
    ['nothing', { headers: json, body: '' }],
    ['JSON that was cut', { headers: json, body: evil.slice(0, -4) }],
    ['null', { headers: json, body: 'null' }],
    ['a list', { headers: json, body: `[${evil}]` }],
    ['206', { status: 206, headers: json, body: evil }],
  ])('%s leaves the login with what the ID token says', async (_, answer) => {
    world.as.behaviour.faults['/userinfo'] = () => answer
    const browser = world.browser()
    const finished = await browser.signIn()
    expect(finished.status).toBe(303)
    expect(finished.headers.get('www-authenticate')).toBeNull()
    expect((await browser.fetch('/auth/session')).json().user).toEqual(fromIdToken)
    await expect.poll(() => world.logged('userinfo.failed')).toHaveLength(1)
    expectNoCanary(world, browser)
  })
})

describe.each([
  ['says nothing about signed userinfo', undefined],
  ['announces that it can sign userinfo', ['RS256', 'none']],
])('R120 a JWT as userinfo, where the authorization server %s,', (_, announced) => {
  const world = faultWorld(({ as }) => {
    as.behaviour.metadata = (metadata) => {
      metadata.userinfo_signing_alg_values_supported = announced
    }
    return {}
  })
  const attacker = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey

  test.each([
    ['with the signature of the attacker', 'RS256', () => rs256(attacker)],
    ['without a signature', 'RS256', () => unsigned],
    ['with alg none', 'none', () => unsigned],
  ])('%s is not believed', async (_, alg, signature) => {
    const { as } = world
    as.behaviour.faults['/userinfo'] = () => ({
      headers: { 'content-type': 'application/jwt' },
      body: jwt(
        { alg, kid: as.publicKeys[0]?.kid },
        { sub: 'alice', iss: as.issuer, aud: as.clientId, picture: 'evil.png' },
        signature(),
      ),
    })
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).text).not.toContain('evil.png')
  })
})

describe('R120 userinfo that the configuration insists on', () => {
  const world = faultWorld(() => ({}))

  test('and that fails makes the login fail', async () => {
    const strict = await startWorld(({ config }) => ({
      providers: config.providers.map((provider) => ({ ...provider, userinfo: true as const })),
    }))
    strict.as.behaviour.faults['/userinfo'] = () => ({ status: 401, body: 'CANARY' })
    const browser = strict.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    expectNoCanary(strict, browser)
  })

  test('and for which the server has no place is missing in the log, too', async () => {
    const strict = await startWorld(({ as, config }) => {
      as.behaviour.metadata = (metadata) => {
        delete metadata.userinfo_endpoint
      }
      return { providers: config.providers.map((provider) => ({ ...provider, userinfo: true as const })) }
    })
    expect((await strict.browser().signIn()).status).toBe(303)
    await expect
      .poll(() => strict.logged('userinfo.failed'))
      .toMatchObject([{ provider: 'main', reason: 'metadata_incomplete' }])
  })

  test('or not: the session keeps no userinfo beyond the sign-in', async () => {
    const browser = world.browser()
    await browser.signIn()
    world.as.requests.length = 0
    for (let time = 0; time < 3; time++) await browser.fetch('/auth/session')
    expect(world.as.requests).toEqual([])
  })
})

test('R120 a JWT as userinfo is checked however its address is written', async () => {
  const world = await startWorld(({ as }) => {
    as.behaviour.metadata = (metadata) => {
      metadata.userinfo_endpoint = `${as.issuer}/./userinfo`
    }
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    as.behaviour.faults['/userinfo'] = () => ({
      headers: { 'content-type': 'application/jwt' },
      body: jwt({ alg: 'RS256', kid: as.publicKeys[0]?.kid }, { sub: 'alice', picture: 'evil.png' }, rs256(privateKey)),
    })
    return {}
  })
  const browser = world.browser()
  await browser.signIn()
  expect((await browser.fetch('/auth/session')).text).not.toContain('evil.png')
})

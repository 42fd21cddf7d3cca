// Hostile data inside an ID token that is signed as it should be: prototype pollution, members twice, depth, size
// (R021, R107, R112, R612; RFC 8725 3.10, ASVS 15.3.6).
import { KeyObject } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { canary } from '../support/authorization-server.ts'
import { faultWorld } from '../support/fault-world.ts'
import { jwt, readJwt, rs256 } from '../support/forge.ts'
import {
  expectLoginFailed,
  expectLoginRefused,
  expectNoCanary,
  expectRefusal,
  expectSignedOut,
} from '../support/oracles.ts'

describe('claims that are hostile data', () => {
  const world = faultWorld()

  /** Signs with the honest key what no JSON library would write. */
  const written = (write: (claims: string) => string) => {
    world.as.behaviour.signedIdToken = (honest) => {
      const { header, claims } = readJwt(honest)
      return jwt(header, write(JSON.stringify(claims)), rs256(KeyObject.from(world.as.signingKey())))
    }
  }
  const pollution = '"__proto__":{"polluted":1,"email":"mallory@evil.test"},"constructor":{"prototype":{"polluted":1}},'

  test('R612 R112 with __proto__ and constructor in them change nobody and nothing', async () => {
    written((claims) => `{${pollution}${claims.slice(1)}`)
    const browser = world.browser()
    await browser.signIn()
    const session = await browser.fetch('/auth/session')
    expect(session.json().user).toEqual({
      sub: 'alice',
      name: 'Alice',
      email: 'alice@example.com',
      picture: 'https://example.com/a.png',
    })
    expect(session.text).not.toContain('mallory')
    expect({}).not.toHaveProperty('polluted')
  })

  test('R612 R107 with the subject only on the prototype sign nobody in', async () => {
    written((claims) => claims.replace('"sub":"alice"', '"__proto__":{"sub":"mallory"}'))
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, ['id_token_malformed', 'response_malformed'])
  })

  test('R112 with a member twice are read in one way only', async () => {
    world.as.behaviour.userinfo = { sub: 'alice', picture: 'alice.png' }
    written((claims) => `{"sub":"mallory",${claims.slice(1)}`)
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().user).toMatchObject({ sub: 'alice', picture: 'alice.png' })
  })

  test('R112 nested ten thousand levels deep sign nobody in and break nothing', async () => {
    written((claims) => claims.replace('"name":"Alice"', `"name":${'['.repeat(10_000)}${']'.repeat(10_000)}`))
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    Object.assign(world.as.behaviour, { signedIdToken: (honest: string) => honest })
    expect((await browser.signIn()).status).toBe(303)
  })

  test('R112 a megabyte long are not read to the end', async () => {
    world.as.behaviour.idToken = (claims) => {
      claims.padding = 'x'.repeat(1_048_576)
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, 'response_too_large')
  })

  test('R112 too large for cookies sign nobody in, and only the sizes are told', async () => {
    world.as.behaviour.user = { sub: 'alice', name: `${canary}${'x'.repeat(60_000)}` }
    const browser = world.browser()
    const answer = await browser.signIn()
    expectRefusal(answer, 400, 'login_failed')
    await expectSignedOut(browser, answer)
    await expectLoginFailed(world, 'tokens_too_large')
    expectNoCanary(world, browser)
    expect(answer.text).toMatch(/claims \d{5} bytes/)
  })

  test('R021 the ID token says who it is, whatever the token response and userinfo say', async () => {
    world.as.behaviour.userinfo = { sub: 'alice', email: 'mallory@evil.test', name: 'Mallory', picture: 'p.png' }
    world.as.behaviour.tokenResponse = (response) => {
      Object.assign(response, { sub: 'mallory', email: 'mallory@evil.test', userinfo: { sub: 'mallory' } })
    }
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().user).toEqual({
      sub: 'alice',
      name: 'Alice',
      email: 'alice@example.com',
      picture: 'p.png',
    })
  })
})

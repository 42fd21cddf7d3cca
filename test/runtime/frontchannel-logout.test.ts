import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import { providerFor, startWorld, type World } from '../support/coatcheck.ts'

const switchedOn = () => startWorld(({ as }) => ({ providers: [{ ...providerFor(as), frontchannelLogout: true }] }))

/** Signs in, and learns the name of the session at the authorization server. */
async function signedIn(world: World) {
  let sid = ''
  world.as.behaviour.signedIdToken = (jwt) => {
    sid = String(decodeJwt(jwt).sid)
    return jwt
  }
  const browser = world.browser()
  await browser.signIn()
  return { browser, sid }
}

/** What a frame of the authorization server's page asks for: without cookies of ours. */
const ask = (world: World, query: [string, string][]) =>
  world.browser().send(`/auth/frontchannel-logout?${new URLSearchParams(query)}`, {
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
  })

describe('GET /auth/frontchannel-logout', () => {
  test('is not there unless it is switched on', async () => {
    const world = await startWorld()
    const { browser, sid } = await signedIn(world)
    expect(
      (
        await ask(world, [
          ['iss', world.as.issuer],
          ['sid', sid],
        ])
      ).status,
    ).toBe(404)
    expect((await browser.fetch('/api/x')).status).toBe(200)
  })

  test('ends the session that is named, and no other, in a frame of that server alone', async () => {
    const world = await switchedOn()
    const [one, two] = [await signedIn(world), await signedIn(world)]
    const answer = await ask(world, [
      ['iss', world.as.issuer],
      ['sid', one.sid],
    ])
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('content-security-policy')).toContain(`frame-ancestors ${world.as.issuer}`)
    expect((await one.browser.fetch('/api/x')).status).toBe(401)
    expect((await two.browser.fetch('/api/x')).status).toBe(200)
  })

  test('ends nothing without issuer and sid, with a foreign issuer, or with either of them twice', async () => {
    const world = await switchedOn()
    const { browser, sid } = await signedIn(world)
    const { issuer } = world.as
    const refused: [string, string][][] = [
      [],
      [['iss', issuer]],
      [['sid', sid]],
      [
        ['iss', 'https://evil.test'],
        ['sid', sid],
      ],
      [
        ['iss', issuer],
        ['sid', ''],
      ],
      [
        ['iss', issuer],
        ['sid', sid],
        ['sid', sid],
      ],
      [
        ['iss', issuer],
        ['iss', issuer],
        ['sid', sid],
      ],
      [
        ['iss', issuer],
        ['sid', sid.padEnd(300, 'x')],
      ],
    ]
    for (const query of refused) expect((await ask(world, query)).status, JSON.stringify(query)).toBe(400)
    expect((await browser.fetch('/api/x')).status).toBe(200)
  })
})

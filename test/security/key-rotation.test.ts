// Attack: a session key that leaked and was replaced, or an initialisation vector that comes twice.
// R603
import { describe, expect, test } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { sessionKey, startCoatcheck, startWorld, type World } from '../support/coatcheck.ts'
import { expectSignedOut } from '../support/oracles.ts'

/** The same deployment started anew with other keys; the browser goes on with the cookies it has. */
async function restarted(world: World, keys: string[], user: Browser): Promise<Browser> {
  const session = { ...world.config.session, keys }
  const next = await startCoatcheck(world.as, world.api, { publicUrl: world.publicUrl, session })
  const browser = next.browser()
  for (const [name, value] of user.cookies) browser.cookies.set(name, value)
  return browser
}

const keyNumber = (user: Browser, name: string) => /Fe26\.2\*(\d+)\*/.exec(user.cookies.get(name) ?? '')?.[1]

describe('R603 Keys', () => {
  test('rotate without signing anybody out: the old key still opens, the new one seals', async () => {
    const [first, second] = [sessionKey(1), sessionKey(2)]
    const world = await startWorld({ session: { keys: [first] } })
    const user = world.browser()
    const callback = await user.untilCallback('?returnTo=/begun-before')
    await user.signIn()
    expect(keyNumber(user, 'coatcheck')).toBe('1')

    const later = await restarted(world, [second, first], user)
    expect((await later.fetch('/api/x')).status).toBe(200)
    expect((await later.fetch('/auth/session', { method: 'POST' })).json().authenticated).toBe(true)
    expect(keyNumber(later, 'coatcheck')).toBe('2')
    const other = await restarted(world, [second, first], user)
    other.cookies.delete('coatcheck')
    expect((await other.navigate(callback)).headers.get('location')).toBe('/begun-before')
    expect(keyNumber(other, 'coatcheck.1')).toBe('2')
  })

  test('that are not in the list any more open nothing: signed out, cookies deleted, upstream silent', async () => {
    const [first, second] = [sessionKey(1), sessionKey(2)]
    const world = await startWorld({ session: { keys: [first] } })
    const user = world.browser()
    await user.signIn()
    const later = await restarted(world, [second], user)
    const answer = await later.fetch('/api/x')
    expect([answer.status, answer.headers.get('coatcheck-error')]).toEqual([401, 'session_required'])
    expect([...later.cookies.keys()]).toEqual(['coatcheck-login'])
    expect(world.api.requests).toEqual([])
    await expectSignedOut(later)
  })

  test('with the number of an old key and other bytes open nothing', async () => {
    const world = await startWorld({ session: { keys: [sessionKey(1)] } })
    const user = world.browser()
    await user.signIn()
    const later = await restarted(world, [sessionKey(1)], user)
    expect((await later.fetch('/api/x')).status).toBe(401)
    expect(world.api.requests).toEqual([])
    await expectSignedOut(later)
  })

  test('with the bytes of a known key and another number open nothing', async () => {
    const key = sessionKey(1)
    const world = await startWorld({ session: { keys: [key] } })
    const user = world.browser()
    await user.signIn()
    const later = await restarted(world, [key.replace('1:', '3:')], user)
    expect((await later.fetch('/api/x')).status).toBe(401)
    await expectSignedOut(later)
  })

  test('never seal twice with one initialisation vector or one salt', async () => {
    const world = await startWorld()
    const user = world.browser()
    await user.signIn()
    const seen = { salt: new Set<string>(), vector: new Set<string>(), seal: new Set<string>() }
    const rounds = 1_000
    for (let round = 0; round < rounds; round += 20) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => user.fetch('/auth/session', { method: 'POST' })),
      )
      for (const { setCookie } of answers) {
        const [seal = ''] = setCookie.map((line) => line.slice('coatcheck='.length, line.indexOf(';')))
        const [, , salt = '', vector = ''] = seal.split('*')
        seen.salt.add(salt)
        seen.vector.add(vector)
        seen.seal.add(seal)
      }
    }
    expect([seen.salt.size, seen.vector.size, seen.seal.size]).toEqual([rounds, rounds, rounds])
    for (const vector of seen.vector) expect(vector).toMatch(/^[\w-]{22}$/)
  })
})

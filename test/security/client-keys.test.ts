// Attack: private keys of the client in what it publishes, and a roll-over that leaves a moment in which nobody believes it.
// R079
import { calculateJwkThumbprint, createRemoteJWKSet, decodeProtectedHeader } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import { type ClientKey, newClientKey } from '../support/client-key.ts'
import { startCoatcheck, startWorld } from '../support/coatcheck.ts'

const withKeys = (config: ConfigInput, keys: ClientKey[]) => ({
  providers: config.providers.map((one) => ({ ...one, clientAuth: { method: 'private_key_jwt' as const }, keys })),
})

/** Every name anywhere in it. */
function names(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) => [name, ...names(inner)])
}

describe('R079 the published keys', () => {
  test('are the public halves of all kinds of keys, without a single private member', async () => {
    const keys = await Promise.all(
      (['ES256', 'PS256', 'RS256', 'EdDSA', 'Ed25519'] as const).map((alg) => newClientKey(alg)),
    )
    const world = await startWorld(({ config }) => withKeys(config, keys))
    const answer = await world.browser().send('/auth/jwks.json')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/jwk-set+json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.setCookie).toEqual([])
    const { keys: published } = answer.json() as { keys: Record<string, string>[] }
    expect(published.map(({ alg }) => alg)).toEqual(keys.map(({ alg }) => alg))
    for (const name of names(published)) expect(name).not.toMatch(/^(d|p|q|dp|dq|qi|oth|k|priv)$/)
    for (const jwk of published) {
      expect(jwk.use).toBe('sig')
      expect(jwk.kid).toBe(await calculateJwkThumbprint(jwk))
    }
    for (const { key } of keys) expect(answer.text).not.toContain(key.split('\n')[1])
  })

  test('are an empty set where the client has none, whoever asks', async () => {
    const world = await startWorld()
    const answer = await world.browser().send('/auth/jwks.json', { headers: { origin: 'https://evil.test' } })
    expect([answer.status, answer.json()]).toEqual([200, { keys: [] }])
    expect(answer.headers.has('access-control-allow-origin')).toBe(false)
    expect((await world.browser().send('/auth/jwks.json', { method: 'POST' })).status).toBe(405)
  })

  test('are those of all providers, each once', async () => {
    const [shared, other] = [await newClientKey('ES256', 'shared'), await newClientKey('ES256', 'other')]
    const world = await startWorld(({ config }) => {
      const [first] = withKeys(config, [shared]).providers
      if (!first) throw new Error('no provider')
      return { providers: [first, { ...first, id: 'second', issuer: 'https://as2.example', keys: [shared, other] }] }
    })
    const { keys } = (await world.browser().send('/auth/jwks.json')).json() as { keys: { kid: string }[] }
    expect(keys.map(({ kid }) => kid)).toEqual(['shared', 'other'])
  })
})

describe('R079 a server that fetches the keys of its client', () => {
  test('believes it before, while and after they are exchanged', async () => {
    const [old, young] = [await newClientKey('ES256'), await newClientKey('EdDSA')]
    const before = await startWorld(({ config }) => withKeys(config, [old]))
    const { as, api } = before
    const signed: unknown[] = []
    const signsIn = async (world: typeof before) => {
      expect((await world.browser().signIn()).status).toBe(303)
      const { kid } = decodeProtectedHeader(as.to('/token').at(-1)?.body.get('client_assertion') ?? '')
      if (!signed.includes(kid)) signed.push(kid)
    }
    let published = before.url
    for (const keys of [[old], [old, young], [young, old], [young]]) {
      const next = await startCoatcheck(as, api, ({ config }) => withKeys(config, keys))
      // All it knows is what was published one step before.
      as.behaviour.clientKey = createRemoteJWKSet(new URL('/auth/jwks.json', published))
      await signsIn(next)
      published = next.url
    }
    expect(signed).toHaveLength(2)
  })
})

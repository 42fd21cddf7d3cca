// The conformance suite's modules for discovery and for keys that change.
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { expectNoCanary, expectRefusal, expectSilent } from '../support/oracles.ts'

describe('oidcc-client-config-certification-test-plan', () => {
  test('oidcc-client-test-discovery-openid-config: goes to the endpoints that the metadata names, and to no other', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.token_endpoint = `${as.issuer}/a/token`
        metadata.userinfo_endpoint = `${as.issuer}/b/userinfo`
      }
      for (const [path, endpoint] of [
        ['/a/token', '/token'],
        ['/b/userinfo', '/userinfo'],
      ] as const) {
        as.behaviour.faults[path] = async ({ method, headers, body }) => {
          const answer = await fetch(`${as.issuer}${endpoint}`, {
            method,
            headers: { authorization: headers.authorization ?? '' },
            ...(method === 'POST' && { body }),
          })
          return { status: answer.status, body: (await answer.json()) as object }
        }
      }
      return {}
    })
    expect((await world.browser().signIn()).status).toBe(303)
    const asked = world.as.requests
      .map(({ path }) => path)
      .filter((path) => path.startsWith('/a') || path.startsWith('/b'))
    expect(asked).toEqual(['/authorize', '/a/token', '/b/userinfo'])
    const [discovery] = world.as.to('/.well-known/openid-configuration')
    expect(discovery?.method).toBe('GET')
  })

  test('oidcc-client-test-discovery-jwks-uri-keys: finds the keys where the metadata says', async () => {
    const path = `/jwks/${crypto.randomUUID()}`
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.jwks_uri = as.issuer + path
      }
      as.behaviour.faults[path] = () => ({ body: { keys: as.publicKeys } })
      return {}
    })
    expect((await world.browser().signIn()).status).toBe(303)
    expect(world.as.to(path)).toHaveLength(1)
    expect(world.as.to('/jwks')).toEqual([])
  })

  test('oidcc-client-test-discovery-issuer-mismatch: starts no sign-in', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.metadata = (metadata) => {
        metadata.issuer = `${as.issuer}/other`
      }
      return {}
    })
    const browser = world.browser()
    const answer = await browser.navigate('/auth/login')
    expectRefusal(answer, 503, 'authorization_server_unavailable')
    expect(answer.setCookie).toEqual([])
    expectSilent(world.as, '/authorize', '/token', '/jwks')
    await expect.poll(() => world.logged('provider.unavailable')[0]?.reason).toBe('metadata_mismatch')
    expectNoCanary(world, browser)
  })

  test('oidcc-client-test-signing-key-rotation-just-before-signing: fetches the keys again and accepts', async () => {
    const world = await startWorld()
    expect((await world.browser().signIn()).status).toBe(303)
    expect(world.as.to('/jwks')).toHaveLength(1)
    world.as.behaviour.faults['/token'] = async () => {
      await world.as.rotateKeys()
      return undefined
    }
    expect((await world.browser().signIn()).status).toBe(303)
    expect(world.as.to('/jwks')).toHaveLength(2)
  })

  test('oidcc-client-test-signing-key-rotation: accepts before and after, and keeps the sessions from before', async () => {
    const world = await startWorld()
    const [before, after] = [world.browser(), world.browser()]
    expect((await before.signIn()).status).toBe(303)
    await world.as.rotateKeys()
    expect((await after.signIn()).status).toBe(303)
    for (const browser of [before, after]) expect((await browser.fetch('/api/orders')).status).toBe(200)
    expect(world.as.to('/jwks')).toHaveLength(2)
  })
})

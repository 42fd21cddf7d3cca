// Defects that the simulation found, each with the shortest schedule that shows it.
import './smaller-caches.ts'
import { describe, expect, test } from 'vitest'
import type { Action, Setting } from './plan.ts'
import { type Seams, withStore } from './seams.ts'
import { simulate } from './simulate.ts'

const soon = { delay: 1, isLost: false }
const lost = { delay: 1, isLost: true }

const call = (at: number, place = 0): Action => ({ at, do: 'call', browser: 0, place, fate: soon, isPost: false })

/** A world where nothing is wrong. */
const calm: Setting = {
  ...{ instances: 2, browsers: 1, storage: 'cookie', rotate: true, idTokenOnRefresh: false, expiresIn: 300 },
  ...{ replayWindow: '120s', timeout: '10s', skews: [0, 0], storeLatency: 0, upstreamLatency: 5, distance: 0 },
}

async function violations(setting: Partial<Setting>, actions: readonly Action[], seams?: Seams) {
  const told = await simulate({ seed: 1, setting: { ...calm, ...setting }, actions }, seams)
  return told.violations.map(({ message }) => message)
}

/** A store whose method fails the first time it is asked for a key. */
function failsOnce(method: 'add' | 'set', ofKey: RegExp): Seams {
  let failures = 0
  return withStore((inner) => ({
    async [method](key: string, value: string, ttl: number) {
      if (ofKey.test(key) && failures++ === 0) throw new Error('The store is away')
      return inner[method](key, value, ttl)
    },
  }))
}

describe('a session', () => {
  test('is over everywhere after a sign-out, however much the clocks of the instances differ', async () => {
    const signOut: Action = { at: 100, do: 'logout', browser: 0, place: 1, fate: lost }
    expect(await violations({ skews: [15_000, 0] }, [signOut, call(1_500), call(1_600, 1)])).toEqual([])
  })

  test('outlives a refresh behind a request, although the browser comes back long after the replay window', async () => {
    expect(await violations({}, [call(290_000), call(700_000, 1)])).toEqual([])
  })

  test('outlives a refresh after an upstream refused a token with which a body was sent', async () => {
    const refused: Action = { at: 1_000, do: 'refuse tokens', milliseconds: 500 }
    const post: Action = { at: 1_100, do: 'call', browser: 0, place: 0, fate: soon, isPost: true }
    expect(await violations({}, [refused, post, call(400_000, 1)])).toEqual([])
  })

  test('outlives a store that fails at the one moment when the new tokens are written down', async () => {
    const seams = failsOnce('add', /\/next-/)
    expect(await violations({ distance: 2 }, [call(301_000), call(301_002, 1)], seams)).toEqual([])
  })

  test('leaves no tokens behind that were written down only after it was signed out elsewhere', async () => {
    const seams = failsOnce('add', /\/next-/)
    const refresh: Action = { ...call(301_000), fate: lost } as Action
    const signOut: Action = { at: 301_100, do: 'logout', browser: 0, place: 1, fate: soon }
    for (const storage of ['cookie', 'store'] as const) {
      expect(await violations({ distance: 2, storage }, [refresh, signOut, call(310_000)], seams)).toEqual([])
    }
  })

  test('keeps its newest generation in the store, although an instance is late to write an older one', async () => {
    let failures = 0
    const seams = withStore((inner) => ({
      async add(key, value, ttl) {
        if (/\/next-/.test(key) && failures++ < 4) throw new Error('The store is away')
        return inner.add(key, value, ttl)
      },
    }))
    const refused: Action = { at: 302_000, do: 'refuse tokens', milliseconds: 50 }
    const actions = [call(301_000), refused, call(302_010, 1)]
    expect(await violations({ storage: 'store' }, actions, seams)).toEqual([])
  })
})

test('who waits for the refresh of another is not kept waiting by a change that came before it listened', async () => {
  const seams = withStore(() => ({
    changed: (_, timeout) => new Promise((resolve) => void setTimeout(resolve, timeout)),
  }))
  expect(await violations({ distance: 20 }, [call(301_000), call(301_001, 1), call(301_002, 1)], seams)).toEqual([])
})

test('a refusal of the authorization server is told, also when it cannot be written down for others', async () => {
  const seams = withStore((inner) => ({
    async set(key, value, ttl) {
      if (/\/next-/.test(key)) throw new Error('The store is away')
      return inner.set(key, value, ttl)
    },
  }))
  expect(await violations({}, [{ at: 1_000, do: 'withdraw grant', browser: 0 }, call(301_000)], seams)).toEqual([])
})

// Each way in which the code could be wrong is noticed, and soon. Nothing of this is in src: the variants are put in its
// place here, around the store or in the place of a module.
import './smaller-caches.ts'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { invariants } from './invariants.ts'
import { firstViolation } from './report.ts'
import { asItIs } from './seams.ts'
import { type Variant, variants } from './variants.ts'

const current = vi.hoisted((): { variant: Partial<Variant> } => ({ variant: {} }))

vi.mock('../../src/session/endings.ts', async (original) => {
  const real = await original<typeof import('../../src/session/endings.ts')>()
  const createEndings: typeof real.createEndings = (platform) => {
    const endings = real.createEndings(platform)
    return { ...endings, ...current.variant.endings?.(endings) }
  }
  return { ...real, createEndings }
})

vi.mock('../../src/session/sessions.ts', async (original) => {
  const real = await original<typeof import('../../src/session/sessions.ts')>()
  const createSessions: typeof real.createSessions = (config, parts) => {
    const sessions = real.createSessions(config, parts)
    return { ...sessions, ...current.variant.sessions?.(sessions) }
  }
  return { ...real, createSessions }
})

vi.mock('../../src/oauth/successors.ts', async (original) => {
  const real = await original<typeof import('../../src/oauth/successors.ts')>()
  const createSuccessors: typeof real.createSuccessors = (window, parts) => {
    const successors = real.createSuccessors(window, parts)
    return { ...successors, ...current.variant.successors?.(successors, parts.sessions) }
  }
  return { ...real, createSuccessors }
})

vi.mock('../../src/oauth/relying-party.ts', async (original) => {
  const real = await original<typeof import('../../src/oauth/relying-party.ts')>()
  const createRelyingParty: typeof real.createRelyingParty = (...given) => {
    const relyingParty = real.createRelyingParty(...given)
    return { ...relyingParty, ...current.variant.relyingParty?.(relyingParty) }
  }
  return { ...real, createRelyingParty }
})

vi.mock('../../src/oauth/refresh.ts', async (original) => {
  const real = await original<typeof import('../../src/oauth/refresh.ts')>()
  const createRefresher: typeof real.createRefresher = (...given) => {
    const refresher = real.createRefresher(...given)
    return { ...refresher, ...current.variant.refresher?.(refresher) }
  }
  return { ...real, createRefresher }
})

vi.mock('../../src/oauth/id-token.ts', async (original) => {
  const real = await original<typeof import('../../src/oauth/id-token.ts')>()
  const idTokenVerifier: typeof real.idTokenVerifier = (...given) => {
    const verifier = real.idTokenVerifier(...given)
    const verify: typeof verifier.verify = (token, { original: signIn, ...expected }) =>
      verifier.verify(token, { ...expected, ...(signIn && !current.variant.believesAnybody && { original: signIn }) })
    return { ...verifier, verify }
  }
  return { ...real, idTokenVerifier }
})

/** A variant that is not noticed in so many schedules would not be noticed early enough to be worth the name. */
const longestSearch = 2_500

afterEach(() => {
  current.variant = {}
})

describe('the simulation notices', () => {
  test.each(Object.entries(variants))('%s', { timeout: 300_000 }, async (name, variant) => {
    current.variant = variant
    const found = await firstViolation(1, longestSearch, variant.seams ?? asItIs)
    const { invariant, message } = found?.told.violations[0] ?? {}
    if (process.env.SIMULATION_VARIANTS) console.log(`${name}: schedule ${found?.plan.seed}: ${message}`)
    const broken = [variant.breaks].flat().map((one) => invariants[one])
    expect(broken, message ?? `not noticed in ${longestSearch} schedules`).toContain(invariant)
  })

  test('nothing in the code as it is, put together as the variants are', async () => {
    expect(await firstViolation(1, 100)).toBeUndefined()
  })
})

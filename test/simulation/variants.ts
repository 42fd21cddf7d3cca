// Variants of the code that are broken on purpose, each in one place. A simulation that lets one of them pass is blind there.

import { CoatcheckError } from '../../src/errors.ts'
import type { Refresher } from '../../src/oauth/refresh.ts'
import type { RelyingParty } from '../../src/oauth/relying-party.ts'
import type { Successors } from '../../src/oauth/successors.ts'
import type { Endings } from '../../src/session/endings.ts'
import type { Sessions } from '../../src/session/sessions.ts'
import type { Invariant } from './invariants.ts'
import { type Seams, withStore } from './seams.ts'

/** What is put in the place of the real thing, which it may use. */
export interface Variant {
  /** The invariant that does not hold any more; or several, of which a schedule may break any first. */
  readonly breaks: Invariant | readonly Invariant[]
  readonly seams?: Seams
  readonly endings?: (real: Endings) => Partial<Endings>
  readonly sessions?: (real: Sessions) => Partial<Sessions>
  readonly successors?: (real: Successors, sessions: Sessions) => Partial<Successors>
  readonly relyingParty?: (real: RelyingParty) => Partial<RelyingParty>
  readonly refresher?: (real: Refresher) => Partial<Refresher>
  /** Believes refreshed ID tokens of anybody. */
  readonly believesAnybody?: boolean
}

const isSuccessor = (key: string) => key.includes('/next-')

export const variants: Record<string, Variant> = {
  'a lease that everybody gets': {
    breaks: 'oneRedemption',
    seams: withStore((inner) => ({
      lease: async (key, ttl) =>
        (await inner.lease(key, ttl)) ?? { fence: 0, renew: async () => true, release: async () => {} },
    })),
  },
  'a lease that ends while the server is slow': {
    breaks: 'oneRedemption',
    seams: withStore((inner) => ({
      async lease(key, ttl) {
        const lease = await inner.lease(key, ttl / 20)
        return lease && { ...lease, renew: async () => true }
      },
    })),
  },
  'a lease given back before the successor can be seen': {
    breaks: 'oneRedemption',
    successors: () => ({ enterLater: async () => false }),
    // The moment is rare: this store fails in it more often.
    seams: withStore((inner) => {
      let written = 0
      return {
        async add(key, value, ttl) {
          if (isSuccessor(key) && written++ % 3 === 0) throw new Error('The store is away')
          return inner.add(key, value, ttl)
        },
      }
    }),
  },
  'no second look after the lease': {
    breaks: 'oneRedemption',
    seams: withStore((inner) => {
      const justLeased = new Set<string>()
      return {
        async lease(key, ttl) {
          const lease = await inner.lease(key, ttl)
          if (lease) justLeased.add(key)
          return lease
        },
        get: async (key) => (justLeased.delete(key) ? undefined : inner.get(key)),
      }
    }),
  },
  'a replay window of nothing': {
    breaks: 'oneRedemption',
    seams: withStore((inner) => ({
      get: async (key) => (isSuccessor(key) ? undefined : inner.get(key)),
    })),
  },
  'tokens that nobody asked for are not kept': {
    breaks: 'oneRedemption',
    sessions: (real) => ({ save: (session, renewed) => real.save(session, renewed, false) }),
  },
  'a store that takes everything for new': {
    breaks: 'noLostSession',
    seams: withStore((inner) => ({
      async add(key, value, ttl) {
        await inner.set(key, value, ttl)
        return true
      },
    })),
  },
  'endings that nobody else hears of': {
    breaks: 'noResurrection',
    seams: withStore(() => ({ since: async (_, cursor) => ({ entries: [], cursor }) })),
  },
  'endings that are not told': {
    breaks: ['noResurrection', 'revoked'],
    seams: withStore(() => ({ append: async () => {} })),
  },
  'no look at tombstones': {
    breaks: 'noResurrection',
    endings: () => ({ isOver: () => false }),
  },
  'endings by the clock of whoever ends': {
    breaks: 'noResurrection',
    endings: (real) => ({ end: (ending) => real.end({ ...ending, before: ending.until - 43_200_000 }) }),
  },
  'no look at tombstones after a successor was written down': {
    breaks: 'revoked',
    sessions: () => ({ isOverAnywhere: async () => false }),
  },
  'no look at tombstones before a cookie is set': {
    breaks: 'noResurrection',
    sessions: () => ({
      cookiesFor: ({ newTicket, newHolding = [] }) => [...(newTicket ? [newTicket] : []), ...newHolding],
    }),
  },
  'a sign-out that does not look for newer tokens': {
    breaks: 'revoked',
    refresher: () => ({ bringUpToDate: async () => {} }),
  },
  'a sign-out that revokes nothing': {
    breaks: 'revoked',
    relyingParty: () => ({ revoke: async () => {} }),
  },
  'back-channel logout that ends nothing': {
    breaks: 'noResurrection',
    sessions: () => ({ endByName: async () => {} }),
  },
  'a passing fault that ends the session': {
    breaks: 'noLostSession',
    relyingParty: (real) => ({
      refresh: (holding) =>
        real.refresh(holding).catch((error) => {
          throw new CoatcheckError('session_expired', 'invalid_grant', {}, error)
        }),
    }),
  },
  'refreshed ID tokens of anybody are believed': {
    breaks: 'noWrongUser',
    believesAnybody: true,
  },
  // Goes back and forth between generations until it gives up.
  'older generations are adopted': {
    breaks: 'noDefect',
    sessions: (real) => ({
      adopt(session, { holding, seal }) {
        session.holding = { ...session.holding, generation: 0 }
        real.adopt(session, { holding, seal })
      },
    }),
    successors: (real, sessions) => ({
      async recall(session, key) {
        const latest = await sessions.latest(session)
        const isOther = latest?.holding.generation !== session.holding.generation
        return (await real.recall(session, key)) ?? (isOther ? latest : undefined)
      },
    }),
  },
  'an older generation is written over a newer one': {
    breaks: 'noRegression',
    sessions: (real) => ({
      async save(session, renewed, unasked) {
        await real.save(session, renewed, unasked)
        setTimeout(() => void real.save(session, renewed, unasked).catch(() => {}), 10_000)
      },
    }),
  },
  'tokens are rewritten with every answer': {
    breaks: 'noRegression',
    sessions: (real) => ({
      async open(header, unsure) {
        const opened = await real.open(header, unsure)
        const { session } = opened
        // As it came, once more: what is in the first cookie after the ticket.
        const seal = /coatcheck\.1=([^;]+)/.exec(header ?? '')?.[1]
        if (session && seal)
          session.newHolding = [`__Host-Http-coatcheck.1=${seal}; Max-Age=1000; Path=/; HttpOnly; Secure`]
        return opened
      },
    }),
  },
  'a stale token waits for the authorization server': {
    breaks: 'nobodyWaits',
    refresher: (real) => ({
      ensureFresh(session) {
        const { accessToken, refreshAt, expiresAt } = session.holding.tokens
        const isStale = Date.now() >= refreshAt && Date.now() < expiresAt
        return isStale ? real.renewRefused(session, accessToken).catch(() => {}) : real.ensureFresh(session)
      },
    }),
  },
  'who waits hears of no change': {
    breaks: 'noDefect',
    seams: withStore((inner) => ({ changed: (key) => inner.changed(`${key} of somebody else`, 59_000) })),
  },
}

// What the simulation knows and the code under test does not: who signed in, what ended when, who brought what.
import type { Config } from '../../src/config.ts'
import type { SimulatedServer } from './authorization-server.ts'
import type { Clock } from './clock.ts'
import type { AccessToken, Grant, Presentation } from './grants.ts'
import type { Brought, Oracle } from './oracle.ts'
import type { LeaseRecord, SimulatedStore } from './store.ts'

/** A session of coatcheck, from the answer that began it on. */
export interface KnownSession {
  readonly name: string
  readonly id: string
  readonly half: string
  readonly family: string
  readonly marks: readonly string[]
  readonly browser: number
  readonly grant: Grant
  readonly startedAt: number
  /** The same by the clock of the instance that began it. */
  readonly createdAt: number
  /** Since when somebody asked for its end, and how. */
  ending?: { why: 'logout' | 'back-channel' | 'ended everywhere' | 'replaced'; at: number }
  /** When its user signed out of it, and an instance noticed that it did. */
  signedOutAt?: number
  /** Instances that answered that it is over, since when. */
  readonly knownBy: Map<number, number>
  /** When its end was in the log that all instances read. */
  toldAt?: number
  /** Access tokens of which the browser was sent the cookie, whether it arrived or not. */
  readonly offered: Set<string>
  /** The largest generation that the store had of it. */
  storedGeneration: number
  /** Logouts that could not know the newest tokens: they brought a cookie whose successor was forgotten. */
  blindLogout?: boolean
}

export interface RequestRecord {
  readonly number: number
  readonly browser: number
  readonly instance: number
  readonly method: string
  readonly path: string
  /** When it reached the instance. */
  readonly startedAt: number
  readonly brought: Brought
  readonly session: KnownSession | undefined
  /** What reached the upstream because of it. */
  readonly calls: { at: number; token: AccessToken | undefined }[]
}

/** What came of a request, as it left the instance. */
export interface Outcome {
  readonly at: number
  readonly status: number
  /** `Coatcheck-Error`. */
  readonly code: string | undefined
  /** What the cookies say that it sets. */
  readonly sets: Brought
  readonly setsTicket: boolean
  readonly setsHolding: boolean
  readonly clears: boolean
  readonly body: unknown
}

export interface Violation {
  readonly invariant: string
  readonly message: string
  readonly at: number
}

export interface Model {
  readonly config: Config
  readonly rotate: boolean
  readonly clocksDisagree: boolean
  readonly clock: Clock
  readonly oracle: Oracle
  readonly server: SimulatedServer
  readonly store: SimulatedStore
  readonly sessions: KnownSession[]
  /** When instances died. */
  readonly diedAt: Map<number, number>
  /** How far the clock of an instance is ahead, in milliseconds. */
  skewOf(instance: number): number
  /** Under which lease a token was presented. */
  readonly leaseOf: Map<Presentation, LeaseRecord | undefined>
  /** When the outcome of a redemption was written where all instances find it, by key. */
  readonly successorAt: Map<string, number>
  /** Browsers in whose jar a late answer took the place of a later session, as no server can prevent. */
  readonly overtaken: Set<number>
  /** What was entered in the log of endings, and when. */
  readonly endings: { at: number; before: number; marks: readonly string[]; instance: number }[]
  /** Until when the upstream refused good tokens. */
  refusingUntil: number
}

// What sessions, users and addresses are called in the store: keyed hashes, from which nobody learns who they are.
import { LRUCache } from 'lru-cache'
import { keyedHash, type Sealer } from './seal.ts'
import type { Holding } from './session.ts'

/** The names of one session. */
export interface SessionNames {
  /** All that belongs to the session is kept under this. */
  readonly family: string
  /** Names under which its end may be announced: its own, its session's at the provider, its user's. */
  readonly marks: readonly string[]
  /** What its user is called by the newest session key. */
  readonly user: string
}

export interface Names {
  /** The family of a session. The id is random, and so the only key that is needed. */
  family(sessionId: string): string | Promise<string>
  /** The names of a session, at once if they were asked for before. */
  of(holding: Holding): SessionNames | Promise<SessionNames>
  /** Names of a user, one for each session key, newest first (OpenID Connect Core, section 5.7: issuer and subject). */
  user(issuer: string, subject: string): Promise<readonly string[]>
  /** Names of a session at an authorization server: its issuer and `sid`. */
  providerSession(issuer: string, sid: string): Promise<readonly string[]>
  /** What is known of a caller by the address alone, by the newest session key. */
  address(address: string): Promise<string>
  /** A limit that calls are counted against, by the newest session key. */
  limit(description: string): Promise<string>
  /** Names of those sessions of a user for which the authorization server gave no `sid`. */
  nameless(issuer: string, subject: string): Promise<readonly string[]>
  /** Names everything anew, because the session keys are others. */
  reload(): void
}

/** Names are for telling apart, not for secrecy of their own: half a hash will do. Characters, 6 bits each. */
const nameLength = 22

export function createNames(sealer: Sealer): Names {
  const families = new LRUCache<string, string>({ max: 20_000 })
  // By the object, which is remembered as long as the seal it came from.
  let known = new WeakMap<Holding, SessionNames>()

  async function makeFamily(sessionId: string): Promise<string> {
    const family = `s-${(await keyedHash(sessionId, 'session')).slice(0, nameLength)}`
    families.set(sessionId, family)
    return family
  }

  const hashed = async (kind: string, text: string) =>
    (await sealer.hashes(kind, text)).map((hash) => `${kind}-${hash.slice(0, nameLength)}`)

  const newest = async (kind: string, text: string) => `${(await hashed(kind, text))[0]}`

  const names: Names = {
    family: (sessionId) => families.get(sessionId) ?? makeFamily(sessionId),
    of: (holding) => known.get(holding) ?? name(holding),
    user: (issuer, subject) => hashed('u', JSON.stringify([issuer, subject])),
    providerSession: (issuer, sid) => hashed('p', JSON.stringify([issuer, sid])),
    address: (address) => newest('a', address),
    limit: (description) => newest('l', description),
    nameless: (issuer, subject) => hashed('n', JSON.stringify([issuer, subject])),
    reload() {
      known = new WeakMap()
    },
  }

  async function name(holding: Holding): Promise<SessionNames> {
    const into = known
    const { id, issuer, subject, providerSession } = holding
    const family = await names.family(id)
    const atProvider =
      providerSession === undefined
        ? await names.nameless(issuer, subject)
        : await names.providerSession(issuer, providerSession)
    const user = await names.user(issuer, subject)
    const made = { family, marks: [family, ...atProvider, ...user], user: `${user[0]}` }
    into.set(holding, made)
    return made
  }

  return names
}

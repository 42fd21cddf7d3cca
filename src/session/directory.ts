// The sessions of a user, for the user to see and to end. Sealed like everything else in the store.
import type { Platform } from '../platform.ts'
import type { SessionEntry } from '../wire.ts'
import type { Names } from './names.ts'
import type { Sealer } from './seal.ts'
import type { Session } from './session.ts'

export interface Directory {
  /** Enters a new session. `browser`: the `User-Agent` it began with. */
  enter(session: Session, browser: string | undefined): Promise<void>
  /** Notes that a session was used. */
  seen(session: Session): Promise<void>
  /** The sessions of the user that this session belongs to, newest first. */
  list(session: Session): Promise<SessionEntry[]>
  /** A session of the same user, if it is listed. */
  find(session: Session, id: string): Promise<Entry | undefined>
}

/** Of a user's living sessions the newest so many are listed. Older ones can still be ended together. */
const mostListed = 50
/** Longest name of a browser that is kept. Characters. */
const longestBrowser = 200
/** How long entering a session may wait for another of the same user. Milliseconds. */
const leaseTime = 5_000
/** What changed just before one listened was not heard: then one looks again. Milliseconds. */
const lookAgain = 500

/** A session as it is listed. */
export interface Entry {
  readonly id: string
  readonly createdAt: number
  readonly endsAt: number
  readonly browser?: string | undefined
  /** Names under which its end may have been announced. */
  readonly marks: readonly string[]
}

export function createDirectory({
  platform: { now, store },
  sealer,
  names,
  isOver,
}: {
  platform: Pick<Platform, 'now' | 'store'>
  sealer: Sealer
  names: Names
  isOver: (marks: readonly string[], createdAt: number) => boolean
}): Directory {
  /** Under the name by each key: in the middle of a rotation instances write under different ones. */
  async function read(user: readonly string[]): Promise<Entry[]> {
    const entries = new Map<string, Entry>()
    const seals = await Promise.all(user.map((name) => store.get(`${name}/sessions`)))
    for (const seal of seals) {
      const opened = seal === undefined ? undefined : await sealer.unseal('directory', seal)
      if (opened === undefined || opened.failure !== undefined) continue
      for (const entry of opened.data as Entry[]) entries.set(entry.id, entry)
    }
    const alive = [...entries.values()].filter(
      ({ endsAt, marks, createdAt }) => endsAt > now() && !isOver(marks, createdAt),
    )
    return alive.sort((one, other) => other.createdAt - one.createdAt)
  }

  const userOf = ({ holding: { issuer, subject } }: Session) => names.user(issuer, subject)

  return {
    async enter(session, browser) {
      const { id, createdAt, endsAt, marks } = session
      const user = await userOf(session)
      const key = `${user[0]}/sessions`
      const entry: Entry = { id, createdAt, endsAt, browser: browser?.slice(0, longestBrowser), marks }
      const deadline = now() + leaseTime
      do {
        const lease = await store.lease(key, leaseTime)
        if (lease) {
          try {
            const all = [entry, ...(await read(user))].slice(0, mostListed)
            const until = Math.max(...all.map((one) => one.endsAt))
            const seal = await sealer.seal('directory', all, until)
            // Who was too slow must not write over what another entered meanwhile.
            if (await lease.renew(leaseTime)) return await store.set(key, seal, until - now())
          } finally {
            await lease.release()
          }
        } else await store.changed(key, Math.min(deadline - now(), lookAgain))
      } while (now() < deadline)
    },

    async seen({ family, seenAt, endsAt }) {
      await store.set(`${family}/seen`, String(seenAt), Math.max(1, endsAt - now()))
    },

    async list(session) {
      const iso = (time: number) => new Date(time).toISOString()
      const lastSeen = async ({ id, createdAt }: Entry) =>
        id === session.id ? session.seenAt : Number(await store.get(`${await names.family(id)}/seen`)) || createdAt
      const listed = await read(await userOf(session))
      return Promise.all(
        listed.map(async (entry) => ({
          id: entry.id,
          createdAt: iso(entry.createdAt),
          lastSeenAt: iso(await lastSeen(entry)),
          browser: entry.browser,
          current: entry.id === session.id,
        })),
      )
    },

    find: async (session, id) => (await read(await userOf(session))).find((entry) => entry.id === id),
  }
}

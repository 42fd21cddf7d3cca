// A store for all processes of one machine, in a file that survives restarts. Node's own SQLite, nothing to install.
import { setImmediate, setTimeout } from 'node:timers/promises'
import { answerTime, lifetime, pageSize } from './patience.ts'
import { isLocked, openDatabase, waitForDisk } from './sqlite-file.ts'
import type { Lease, OpenStore } from './store.ts'
import { createWaiting } from './waiting.ts'

/** Pause before a locked database is tried again; a random part keeps processes out of step. Milliseconds. */
const retryPause = () => 5 + Math.random() * 10
/** Calls that share a transaction at most: together they wait for the disk once. */
const batchSize = 100
/** How often somebody who waits has a look at what other processes wrote. Milliseconds. */
const pollInterval = 20
/** After this somebody who waits looks again in any case: a holder that died tells nobody. Milliseconds. */
const longestWait = 250

/** A call that waits for its transaction. */
interface Job {
  run(): unknown
  /** Whether what it writes must outlast a loss of power. */
  readonly mustLast: boolean
  resolve(value: unknown): void
  reject(error: unknown): void
  /** By `performance.now()`. */
  readonly deadline: number
}

/**
 * Opens a store in the file `path`, which is made, readable for its owner only, if it is not there. `now` is in
 * milliseconds.
 *
 * @throws Error saying what is wrong with the file
 */
export function sqliteStore(path: string, now: () => number = Date.now): OpenStore {
  const db = openDatabase(path, now)
  const begin = db.prepare('BEGIN IMMEDIATE')
  const commit = db.prepare('COMMIT')
  const rollback = db.prepare('ROLLBACK')
  const nextNumber = db.prepare('UPDATE counter SET number = number + 1 RETURNING number')
  const select = db.prepare('SELECT value FROM entries WHERE key = ? AND until > ?')
  const put = db.prepare('INSERT OR REPLACE INTO entries (key, value, number, until) VALUES (?, ?, ?, ?)')
  const remove = db.prepare('DELETE FROM entries WHERE key = ?')
  const holder = db.prepare('SELECT fence FROM leases WHERE key = ? AND until > ?')
  const take = db.prepare('INSERT OR REPLACE INTO leases (key, fence, until) VALUES (?, ?, ?)')
  const release = db.prepare('DELETE FROM leases WHERE key = ? AND fence = ?')
  const add = db.prepare('INSERT INTO logs (name, number, entry, until) VALUES (?, ?, ?, ?)')
  const count = db.prepare(
    `INSERT INTO counts (key, total, until) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET
      total = CASE WHEN until > ?4 THEN total + ?2 ELSE ?2 END, until = CASE WHEN until > ?4 THEN until ELSE ?3 END
      RETURNING total, until`,
  )
  const page = db.prepare(
    `SELECT number, entry FROM logs WHERE name = ? AND number > ? AND until > ? ORDER BY number LIMIT ${pageSize}`,
  )
  const forget = ['entries', 'leases', 'logs', 'counts'].map((table) => {
    const key = table === 'logs' ? 'name, number' : 'key'
    return db.prepare(
      `DELETE FROM ${table} WHERE (${key}) IN (SELECT ${key} FROM ${table} WHERE until <= ? ORDER BY until LIMIT ?)`,
    )
  })
  const dataVersion = db.prepare('PRAGMA data_version')
  const stamp = db.prepare(`SELECT (SELECT number FROM entries WHERE key = ?1) AS entry,
    (SELECT fence FROM leases WHERE key = ?1) AS lease`)

  const jobs: Job[] = []
  const waiting = createWaiting()
  /** What stood under a key when the first of those who wait for it began to. */
  const stamps = new Map<string, string>()
  let seen: unknown
  let poll: ReturnType<typeof setInterval> | undefined
  let working: Promise<void> | undefined
  let isClosed = false
  let isPatient = true

  const next = () => Number(nextNumber.get()?.number)

  /** Runs `run` in a transaction, soon, together with others. */
  function write<T>(run: () => T, mustLast = true): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (isClosed) return reject(new Error('The store is closed'))
      const settle = resolve as (value: unknown) => void
      jobs.push({ run, mustLast, resolve: settle, reject, deadline: performance.now() + answerTime })
      working ??= work()
      return undefined
    })
  }

  async function work(): Promise<void> {
    // Calls that are made together go together.
    await setImmediate()
    while (jobs.length > 0) {
      const batch = jobs.slice(0, batchSize)
      try {
        const results = transact(batch)
        jobs.splice(0, batch.length)
        for (const [at, { resolve }] of batch.entries()) resolve(results[at])
        await setImmediate()
      } catch (error) {
        // One look at the clock for all: a job is either kept or told, never neither.
        const time = performance.now()
        const isKept = ({ deadline }: Job) => isLocked(error) && deadline > time
        jobs.splice(0, batch.length, ...batch.filter(isKept))
        for (const job of batch) if (!isKept(job)) job.reject(error)
        await setTimeout(retryPause())
      }
    }
    working = undefined
  }

  function transact(batch: readonly Job[]): unknown[] {
    const mustLast = batch.some((job) => job.mustLast)
    if (mustLast !== isPatient) waitForDisk(db, mustLast)
    isPatient = mustLast
    begin.run()
    try {
      const results = batch.map(({ run }) => run())
      // Each call clears away more than it can leave behind. No timer is needed.
      for (const statement of forget) statement.run(now(), 2 * batch.length)
      commit.run()
      return results
    } catch (error) {
      if (db.isTransaction) rollback.run()
      throw error
    }
  }

  /** Runs a query at once; only a database that is being recovered or switched makes readers wait. */
  async function read<T>(query: () => T): Promise<T> {
    const deadline = performance.now() + answerTime
    for (;;) {
      if (isClosed) throw new Error('The store is closed')
      try {
        return query()
      } catch (error) {
        if (!isLocked(error) || performance.now() >= deadline) throw error
      }
      await setTimeout(retryPause())
    }
  }

  /** Writes, and wakes who waits, but not before callers of the same transaction can have begun to wait. */
  async function change<T>(key: string, run: () => T): Promise<T> {
    const result = await write(run)
    void setImmediate().then(() => waiting.wake(key))
    return result
  }

  const stampOf = (key: string) => {
    const { entry, lease } = stamp.get(key) ?? {}
    return `${entry} ${lease}`
  }

  /** Looks for changes that other processes made of what somebody here waits for. */
  function look(): void {
    const keys = waiting.keys()
    for (const key of stamps.keys()) if (!waiting.has(key)) stamps.delete(key)
    if (keys.length === 0) {
      clearInterval(poll)
      poll = undefined
      return
    }
    try {
      const current = dataVersion.get()?.data_version
      if (current === seen) return
      seen = current
      for (const key of keys) if (stampOf(key) !== stamps.get(key)) waiting.wake(key)
    } catch {
      // Whoever waits looks again soon in any case, and is told then.
    }
  }

  return {
    get: (key) => read(() => textOf(select.get(key, now())?.value)),

    set: (key, value, ttl) => change(key, () => void put.run(key, value, next(), now() + lifetime(ttl))),

    add: (key, value, ttl) =>
      change(key, () => {
        if (select.get(key, now())) return false
        put.run(key, value, next(), now() + lifetime(ttl))
        return true
      }),

    delete: (key) => change(key, () => void remove.run(key)),

    async lease(key, ttl): Promise<Lease | undefined> {
      const fence = await write(() => {
        if (holder.get(key, now())) return undefined
        const number = next()
        take.run(key, number, now() + lifetime(ttl))
        return number
      })
      if (fence === undefined) return undefined
      return {
        fence,
        renew: (more) =>
          write(() => {
            if (holder.get(key, now())?.fence !== fence) return false
            take.run(key, fence, now() + lifetime(more))
            return true
          }),
        release: () => change(key, () => void release.run(key, fence)),
      }
    },

    changed(key, timeout) {
      if (isClosed) return Promise.resolve()
      if (!waiting.has(key)) {
        try {
          stamps.set(key, stampOf(key))
        } catch {
          stamps.delete(key)
        }
      }
      poll ??= setInterval(look, pollInterval)
      return waiting.wait(key, Math.min(timeout, longestWait))
    },

    append: (log, entry, ttl) => write(() => void add.run(log, next(), entry, now() + lifetime(ttl))),

    async since(log, cursor) {
      // Who reads until there is no more must not keep writers of this process from their turn.
      await setImmediate()
      const rows = await read(() => page.all(log, Number(cursor), now()))
      return { entries: rows.map(({ entry }) => String(entry)), cursor: String(rows.at(-1)?.number ?? cursor) }
    },

    count: (key, points, ttl) =>
      write(() => {
        const time = now()
        const { total, until } = count.get(key, points, time + lifetime(ttl), time) ?? {}
        return { total: Number(total), milliseconds: Number(until) - time }
      }, false),

    // A disk that is full still answers reads: only a write proves anything.
    healthy: () =>
      write(next).then(
        () => true,
        () => false,
      ),

    async close() {
      if (isClosed) return
      isClosed = true
      await working
      clearInterval(poll)
      waiting.wakeAll()
      db.close()
    },
  }
}

function textOf(value: unknown): string | undefined {
  return value === undefined ? undefined : String(value)
}

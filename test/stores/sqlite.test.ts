import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { describeStore } from '../contract/store.ts'
import { closeAfterTest } from '../support/http-server.ts'
import { startStoreProcess } from '../support/store-process.ts'
import { passed } from '../support/time.ts'

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'coatcheck-sqlite-'))
  onTestFinished(() => rm(path, { recursive: true }))
  return path
}

const newFile = async () => join(await folder(), 'store.db')
const open = (path: string, now?: () => number) => closeAfterTest(sqliteStore(path, now))

describeStore('sqliteStore()', async () => open(await newFile()))

describe('two processes with one SQLite store', () => {
  test('see what the other wrote, at once', async () => {
    const path = await newFile()
    const [here, there] = [open(path), await startStoreProcess(path)]
    await here.set('a', '1', 60_000)
    expect(await there.call('get', 'a')).toBe('1')
    await there.call('append', 'log', 'entry', 60_000)
    expect((await here.since('log', '')).entries).toEqual(['entry'])
  })

  test('hold a lease one at a time, and add a value once', async () => {
    const path = await newFile()
    const [here, one, two] = [open(path), await startStoreProcess(path), await startStoreProcess(path)]
    for (let round = 0; round < 20; round++) {
      const all = [
        here.lease(`l${round}`, 60_000),
        one.call('lease', `l${round}`, 60_000),
        two.call('lease', `l${round}`, 60_000),
      ]
      expect((await Promise.all(all)).filter(Boolean)).toHaveLength(1)
      const added = [here.add(`a${round}`, 'x', 60_000), one.call('add', `a${round}`, 'y', 60_000)]
      expect((await Promise.all(added)).filter(Boolean)).toHaveLength(1)
    }
  })

  test('count together, and lose nothing', async () => {
    const path = await newFile()
    const [here, one, two] = [open(path), await startStoreProcess(path), await startStoreProcess(path)]
    const counts = await Promise.all(
      Array.from({ length: 50 }, () => [
        here.count('a', 1, 60_000),
        one.call('count', 'a', 1, 60_000),
        two.call('count', 'a', 1, 60_000),
      ]).flat(),
    )
    expect(new Set(counts.map(({ total }) => total))).toEqual(new Set(Array.from({ length: 150 }, (_, at) => at + 1)))
  })

  test('lose no entry of a log that both write', async () => {
    const path = await newFile()
    const [here, there] = [open(path), await startStoreProcess(path)]
    const names = Array.from({ length: 200 }, (_, at) => String(at))
    const writing = Promise.all(
      names.flatMap((at) => [
        here.append('log', `here ${at}`, 60_000),
        there.call('append', 'log', `there ${at}`, 60_000),
      ]),
    )
    const seen: string[] = []
    let cursor = ''
    await expect
      .poll(
        async () => {
          const page = await here.since('log', cursor)
          cursor = page.cursor
          seen.push(...page.entries)
          return seen.length
        },
        { interval: 1 },
      )
      .toBe(400)
    await writing
    expect(new Set(seen).size).toBe(400)
  })

  test('wake who waits in the other, soon', async () => {
    const path = await newFile()
    const [here, there] = [open(path), await startStoreProcess(path)]
    const fence = await there.call('lease', 'a', 60_000)
    expect(fence).toBeGreaterThan(0)
    const times: number[] = []
    for (let round = 0; round < 5; round++) {
      const woken = here.changed('a', 10_000).then(() => Date.now())
      await passed(30)
      await there.call('set', 'a', String(round), 60_000)
      times.push((await woken) - Date.now())
    }
    expect(Math.min(...times)).toBeLessThan(60)
  })

  test('free the lease of one that was killed, once its time is over', async () => {
    const path = await newFile()
    const [here, there] = [open(path), await startStoreProcess(path)]
    const fence = await there.call('lease', 'a', 1_000)
    const start = Date.now()
    await there.kill()
    expect(await here.lease('a', 60_000)).toBeUndefined()
    for (;;) {
      const lease = await here.lease('a', 60_000)
      if (lease) {
        expect(lease.fence).toBeGreaterThan(fence)
        break
      }
      await here.changed('a', 10_000)
    }
    expect(Date.now() - start).toBeGreaterThan(800)
    expect(Date.now() - start).toBeLessThan(2_500)
  })

  test('can be started at the same moment on a file that is not there yet', async () => {
    const path = await newFile()
    const all = await Promise.all(Array.from({ length: 4 }, () => startStoreProcess(path)))
    for (const one of all) expect(await one.call('healthy')).toBe(true)
  })

  test('are started while another is about to make the file, for which SQLite itself would not wait', async () => {
    const path = await newFile()
    writeFileSync(path, '', { mode: 0o600 })
    const other = new DatabaseSync(path)
    onTestFinished(() => other.close())
    other.exec('BEGIN IMMEDIATE')
    const starting = startStoreProcess(path)
    setTimeout(() => other.exec('COMMIT'), 1_500)
    expect(await (await starting).call('healthy')).toBe(true)
  })

  test('lose nothing that was written when one is killed in the middle of its work', async () => {
    const path = await newFile()
    const there = await startStoreProcess(path)
    let written = 0
    const writing = (async () => {
      for (;;) {
        await there.call('append', 'log', String(written), 60_000)
        written++
      }
    })()
    await expect.poll(() => written, { interval: 1 }).toBeGreaterThan(20)
    const promised = written
    await there.kill()
    void writing
    const { entries } = await open(path).since('log', '')
    expect(entries.slice(0, promised)).toEqual(Array.from({ length: promised }, (_, at) => String(at)))
  })
})

describe('the file of an SQLite store', () => {
  test('keeps values, leases, counters, logs and fences over a restart', async () => {
    const path = await newFile()
    const before = sqliteStore(path)
    await before.set('a', '1', 60_000)
    await before.append('log', 'one', 60_000)
    await before.count('a', 2, 60_000)
    const { cursor } = await before.since('log', '')
    const held = await before.lease('held', 60_000)
    const free = await before.lease('free', 60_000)
    await free?.release()
    await before.close()

    const after = open(path)
    expect(await after.get('a')).toBe('1')
    expect((await after.count('a', 1, 60_000)).total).toBe(3)
    expect(await after.lease('held', 60_000)).toBeUndefined()
    expect((await after.lease('free', 60_000))?.fence).toBeGreaterThan(Math.max(free?.fence ?? 0, held?.fence ?? 0))
    await after.append('log', 'two', 60_000)
    expect((await after.since('log', cursor)).entries).toEqual(['two'])
  })

  test('can be read and written by its owner only', async () => {
    const path = await newFile()
    await open(path).set('a', '1', 60_000)
    for (const file of [path, `${path}-wal`, `${path}-shm`]) expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  test('is refused when others may read it, although nobody meant to let them', async () => {
    const path = await newFile()
    writeFileSync(path, '', { mode: 0o644 })
    chmodSync(path, 0o644)
    expect(() => sqliteStore(path)).toThrow(/: others may read it: chmod 600$/)
    chmodSync(path, 0o600)
    expect(await open(path).healthy()).toBe(true)
  })

  test('does not grow with what is over', async () => {
    const path = await newFile()
    let time = Date.now()
    const store = open(path, () => time)
    for (let round = 0; round < 10; round++) {
      time += 2_000
      await Promise.all(
        Array.from({ length: 200 }, async (_, at) => {
          await store.set(`${round} ${at}`, 'x'.repeat(100), 1_000)
          await store.lease(`${round} ${at}`, 1_000)
          await store.append('log', 'x'.repeat(100), 1_000)
          await store.count(`${round} ${at}`, 1, 1_000)
        }),
      )
    }
    const db = closeAfterTest(Object.assign(new DatabaseSync(path), { close: async () => {} }))
    for (const table of ['entries', 'leases', 'logs', 'counts']) {
      expect(db.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.rows).toBeLessThanOrEqual(400)
    }
  })

  test('that was made before there were counters gets room for them', async () => {
    const path = await newFile()
    const before = sqliteStore(path)
    await before.set('a', '1', 60_000)
    await before.close()
    const db = new DatabaseSync(path)
    db.exec('DROP TABLE counts')
    db.close()
    const after = open(path)
    expect((await after.count('a', 1, 60_000)).total).toBe(1)
    expect(await after.get('a')).toBe('1')
  })

  test.each<[string, (path: string) => void, RegExp]>([
    ['garbage', (path) => writeFileSync(path, 'garbage '.repeat(2_000)), /: it is not a database$/],
    ['a folder', (path) => mkdirSync(path), /: it is a folder$/],
    ['in a folder that is not there', (path) => void path, /missing\/store\.db: its folder does not exist$/],
    [
      'the database of something else',
      (path) => {
        const db = new DatabaseSync(path)
        db.exec('CREATE TABLE customers (name TEXT)')
        db.close()
      },
      /: it is the database of something else$/,
    ],
    [
      'made by a later version',
      (path) => {
        const store = sqliteStore(path)
        void store.close()
        const db = new DatabaseSync(path)
        db.exec('PRAGMA user_version = 99')
        db.close()
      },
      /: it was made by another version of coatcheck; remove it$/,
    ],
  ])('is refused at the start when it is %s', async (what, prepare, message) => {
    const path = what.startsWith('in a folder') ? join(await folder(), 'missing/store.db') : await newFile()
    prepare(path)
    expect(() => sqliteStore(path)).toThrow(message)
    expect(() => sqliteStore(path)).toThrow(`Cannot open the store ${path}`)
  })

  test('is refused at the start when pages of it are damaged', async () => {
    const path = await newFile()
    const store = sqliteStore(path)
    for (let at = 0; at < 200; at++) void store.set(`key ${at}`, 'x'.repeat(500), 60_000)
    await store.set('last', 'x', 60_000)
    await store.close()
    const bytes = readFileSync(path)
    bytes.fill(0xa5, 4_096 * 3, 4_096 * 6)
    writeFileSync(path, bytes)
    expect(() => sqliteStore(path)).toThrow(/damaged|malformed/)
  })

  test('that is damaged while it is used makes calls reject, and crashes nothing', async () => {
    const path = await newFile()
    const store = open(path)
    for (let at = 0; at < 200; at++) void store.set(`key ${at}`, 'x'.repeat(500), 60_000)
    await store.set('last', 'x', 60_000)
    // What another connection writes is read from the file again.
    await open(path).set('other', 'x', 60_000)
    for (const file of [path, `${path}-wal`]) {
      const descriptor = openSync(file, 'r+')
      writeSync(descriptor, Buffer.alloc(statSync(file).size, 0xa5))
      closeSync(descriptor)
    }
    await expect(store.get('key 1')).rejects.toThrow()
    await expect(store.set('key 1', '1', 60_000)).rejects.toThrow()
    expect(await store.healthy()).toBe(false)
  })

  test('on a disk that is full makes writes reject while reads go on', async () => {
    const path = await newFile()
    const there = await startStoreProcess(path, 256)
    await there.call('set', 'small', '1', 60_000)
    await expect(there.call('set', 'large', 'x'.repeat(500_000), 60_000)).rejects.toThrow()
    expect(await there.call('get', 'small')).toBe('1')
    expect(await there.call('get', 'large')).toBeUndefined()
    await there.call('set', 'small', '2', 60_000)
    expect(await there.call('get', 'small')).toBe('2')
  })
})

describe('an SQLite store that another process keeps locked', () => {
  async function locked() {
    const path = await newFile()
    const store = open(path)
    await store.set('a', '1', 60_000)
    const other = new DatabaseSync(path)
    onTestFinished(() => other.close())
    other.exec('BEGIN IMMEDIATE')
    return { store, other }
  }

  test('still reads', async () => {
    const { store } = await locked()
    expect(await store.get('a')).toBe('1')
  })

  test('rejects writes within about two seconds and lets everything else go on meanwhile', async () => {
    const { store } = await locked()
    const start = performance.now()
    let longest = 0
    let last = start
    const ticking = setInterval(() => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }, 1)
    const writes = await Promise.allSettled([
      store.set('b', '2', 60_000),
      store.lease('c', 60_000),
      store.append('log', 'x', 60_000),
      store.count('d', 1, 60_000),
    ])
    clearInterval(ticking)
    expect(writes.map(({ status }) => status)).toEqual(Array(4).fill('rejected'))
    expect(await store.healthy()).toBe(false)
    expect(performance.now() - start).toBeLessThan(5_500)
    expect(longest).toBeLessThan(1_500)
  })

  test('rejects counting within about two seconds when nothing else is asked, and counts again without the lock', async () => {
    const { store, other } = await locked()
    const start = performance.now()
    await expect(store.count('a', 1, 60_000)).rejects.toThrow()
    expect(performance.now() - start).toBeLessThan(3_500)
    other.exec('ROLLBACK')
    expect((await store.count('a', 1, 60_000)).total).toBe(1)
  })

  test('works again as soon as the lock is gone, also for calls that already wait', async () => {
    const { store, other } = await locked()
    const writing = store.set('b', '2', 60_000)
    await passed(100)
    other.exec('ROLLBACK')
    await writing
    expect(await store.get('b')).toBe('2')
    expect(await store.healthy()).toBe(true)
  })
})

test('sqliteStore() rejects once it is closed, and wakes who waits', async () => {
  const path = await newFile()
  const store = sqliteStore(path)
  const waiting = store.changed('a', 10_000)
  const writing = store.set('a', '1', 60_000)
  await store.close()
  await Promise.all([waiting, writing])
  await expect(store.get('a')).rejects.toThrow('The store is closed')
  await expect(store.set('a', '2', 60_000)).rejects.toThrow('The store is closed')
  await expect(store.count('a', 1, 60_000)).rejects.toThrow('The store is closed')
  expect(await store.healthy()).toBe(false)
  await store.close()
})

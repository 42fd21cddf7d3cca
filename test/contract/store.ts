// What every store must do. Called by the test of each store, against the real thing.
import { describe, expect, test } from 'vitest'
import type { Store } from '../../src/stores/store.ts'
import { passed } from '../support/time.ts'

/** @param open gives an empty store; it is called once a test. */
export function describeStore(name: string, open: () => Promise<Store>): void {
  describe(`${name}: values`, () => {
    test('get() returns what set() put, until it is over', async () => {
      const store = await open()
      await store.set('a', '1', 60_000)
      await store.set('b', '2', 30)
      expect(await store.get('a')).toBe('1')
      await passed(40)
      expect(await store.get('b')).toBeUndefined()
      expect(await store.get('a')).toBe('1')
    })

    test('what is put for no time is not there', async () => {
      const store = await open()
      await store.set('a', '1', 60_000)
      await store.set('a', '2', 0)
      await passed(10)
      expect(await store.get('a')).toBeUndefined()
    })

    test('get() of what was never set is undefined', async () => {
      expect(await (await open()).get('nothing')).toBeUndefined()
    })

    test('set() replaces value and time limit', async () => {
      const store = await open()
      await store.set('a', '1', 30)
      await store.set('a', '2', 60_000)
      await passed(40)
      expect(await store.get('a')).toBe('2')
    })

    test('add() succeeds for one of many callers', async () => {
      const store = await open()
      const told = await Promise.all(Array.from({ length: 20 }, (_, index) => store.add('once', String(index), 60_000)))
      expect(told.filter(Boolean)).toHaveLength(1)
      expect(await store.get('once')).toBe(String(told.indexOf(true)))
    })

    test('add() succeeds again once the value is over or deleted', async () => {
      const store = await open()
      await store.add('a', '1', 20)
      await passed(30)
      expect(await store.add('a', '2', 60_000)).toBe(true)
      await store.delete('a')
      expect(await store.add('a', '3', 60_000)).toBe(true)
    })

    test('delete() of what is not there is no error', async () => {
      await (await open()).delete('nothing')
    })

    test('keys and values are opaque: any text comes back as it was', async () => {
      const store = await open()
      const odd = 'a b\n\0"\'%;\u{1f9e5}{tag}:*'
      await store.set(odd, odd.repeat(500), 60_000)
      expect(await store.get(odd)).toBe(odd.repeat(500))
      expect(await store.get('__proto__')).toBeUndefined()
    })
  })

  describe(`${name}: keys and values`, () => {
    test('that look alike are different', async () => {
      const store = await open()
      const keys = ['a', 'a/', 'a/b', 'a:b', 'a/b/c', 'a:b/c', '/a', '{a}', '{a}/b', '%', '', '/', ' a', 'A']
      await Promise.all(keys.map((key) => store.set(key, `value of ${key}`, 60_000)))
      expect(await Promise.all(keys.map((key) => store.get(key)))).toEqual(keys.map((key) => `value of ${key}`))
    })

    test('may be empty: an empty value is one', async () => {
      const store = await open()
      await store.set('a', '', 60_000)
      expect(await store.get('a')).toBe('')
      expect(await store.add('a', '1', 60_000)).toBe(false)
    })

    test('may be a megabyte long', async () => {
      const store = await open()
      const value = 'x'.repeat(1_048_576)
      await store.set('a', value, 60_000)
      expect(await store.get('a')).toBe(value)
    })

    test('live for any length of time: a fraction of a millisecond, a year', async () => {
      const store = await open()
      await store.set('a', '1', 0.5)
      await store.set('b', '1', 365 * 86_400_000 + 0.5)
      await store.lease('c', 0.5)
      await store.append('log', '1', 0.5)
      await passed(20)
      expect(await store.get('a')).toBeUndefined()
      expect(await store.get('b')).toBe('1')
      expect(await store.lease('c', 60_000)).toBeDefined()
    })
  })

  describe(`${name}: leases`, () => {
    test('lease() is held by one at a time', async () => {
      const store = await open()
      const leases = await Promise.all(Array.from({ length: 20 }, () => store.lease('a', 60_000)))
      expect(leases.filter(Boolean)).toHaveLength(1)
      expect(await store.lease('b', 60_000)).toBeDefined()
    })

    test('a released lease can be had again, with a larger fence', async () => {
      const store = await open()
      const first = await store.lease('a', 60_000)
      await first?.release()
      const second = await store.lease('a', 60_000)
      expect(second?.fence).toBeGreaterThan(first?.fence ?? Number.POSITIVE_INFINITY)
    })

    test('a lease whose holder is gone can be had when its time is over; the old holder can then do nothing', async () => {
      const store = await open()
      const lost = await store.lease('a', 30)
      await passed(40)
      const held = await store.lease('a', 60_000)
      expect(held).toBeDefined()
      expect(await lost?.renew(60_000)).toBe(false)
      await lost?.release()
      expect(await store.lease('a', 60_000)).toBeUndefined()
    })

    test('renew() holds on', async () => {
      const store = await open()
      const lease = await store.lease('a', 500)
      expect(await lease?.renew(60_000)).toBe(true)
      await passed(520)
      expect(await store.lease('a', 60_000)).toBeUndefined()
    })

    test('leases and values of one name are two things', async () => {
      const store = await open()
      await store.set('a', '1', 60_000)
      expect(await store.lease('a', 60_000)).toBeDefined()
      expect(await store.get('a')).toBe('1')
    })
  })

  describe(`${name}: changed()`, () => {
    test.each<[string, (store: Store) => Promise<unknown>]>([
      ['a value is set', (store) => store.set('a', '1', 60_000)],
      ['the lease is released', async (store) => (await store.lease('a', 60_000))?.release()],
    ])('wakes everybody who waits when %s', async (_, change) => {
      const store = await open()
      const start = Date.now()
      const waiting = Promise.all(Array.from({ length: 5 }, () => store.changed('a', 10_000)))
      await change(store)
      await waiting
      expect(Date.now() - start).toBeLessThan(2_000)
    })

    test('gives up after its time', async () => {
      await (await open()).changed('a', 30)
    })
  })

  describe(`${name}: logs`, () => {
    /** Reads a log to its end. */
    async function read(store: Store, cursor = '') {
      const entries: string[] = []
      for (let at = cursor; ; ) {
        const page = await store.since('log', at)
        at = page.cursor
        if (page.entries.length === 0) return { entries, cursor: at }
        entries.push(...page.entries)
      }
    }

    test('since() gives what was appended, in order, and later only what is new', async () => {
      const store = await open()
      await store.append('log', 'a', 60_000)
      await store.append('log', 'b', 60_000)
      const first = await read(store)
      expect(first.entries).toEqual(['a', 'b'])
      expect((await read(store, first.cursor)).entries).toEqual([])
      await store.append('log', 'c', 60_000)
      expect((await read(store, first.cursor)).entries).toEqual(['c'])
      expect((await read(store)).entries).toEqual(['a', 'b', 'c'])
    })

    test('since() of a log without entries is empty, and finds the first one later', async () => {
      const store = await open()
      const { entries, cursor } = await read(store)
      expect(entries).toEqual([])
      await store.append('other', 'x', 60_000)
      await store.append('log', 'a', 60_000)
      expect((await read(store, cursor)).entries).toEqual(['a'])
    })

    test('no entry is lost among many writers, and long logs come in pages', async () => {
      const store = await open()
      const expected = Array.from({ length: 1_200 }, (_, index) => `entry ${index}`)
      const seen: string[] = []
      let cursor = ''
      const writing = Promise.all(expected.map((entry) => store.append('log', entry, 60_000)))
      let isWriting = true
      void writing.finally(() => {
        isWriting = false
      })
      for (;;) {
        const last = !isWriting
        const page = await store.since('log', cursor)
        expect(page.entries.length).toBeLessThanOrEqual(1_000)
        seen.push(...page.entries)
        cursor = page.cursor
        if (last && page.entries.length === 0) break
      }
      await writing
      expect(seen.sort()).toEqual(expected.sort())
    })

    test('entries are forgotten when their time is over', async () => {
      const store = await open()
      await store.append('log', 'short', 30)
      await passed(60)
      await store.append('log', 'long', 60_000)
      expect((await read(store)).entries).not.toContain('short')
      expect((await read(store)).entries).toContain('long')
    })
  })

  describe(`${name}: count()`, () => {
    test('adds up, and tells how long that counts', async () => {
      const store = await open()
      expect((await store.count('a', 1, 60_000)).total).toBe(1)
      const { total, milliseconds } = await store.count('a', 5, 60_000)
      expect(total).toBe(6)
      expect(milliseconds).toBeGreaterThan(50_000)
      expect(milliseconds).toBeLessThanOrEqual(60_000)
      expect((await store.count('b', 1, 60_000)).total).toBe(1)
    })

    test('tells each of many callers another total', async () => {
      const store = await open()
      const counts = await Promise.all(Array.from({ length: 50 }, () => store.count('a', 1, 60_000)))
      const totals = counts.map(({ total }) => total).sort((one, other) => one - other)
      expect(totals).toEqual(Array.from({ length: 50 }, (_, at) => at + 1))
    })

    test('begins anew when the time since the first count is over, however often was counted since', async () => {
      const store = await open()
      const start = performance.now()
      const first = await store.count('a', 1, 1_000)
      let last = await store.count('a', 1, 1_000)
      expect(last.total).toBe(2)
      expect(last.milliseconds).toBeLessThanOrEqual(first.milliseconds)
      while (last.total !== 1) {
        await passed(10)
        last = await store.count('a', 1, 1_000)
      }
      expect(performance.now() - start).toBeGreaterThan(990)
      expect(last.milliseconds).toBeGreaterThan(900)
    })

    test('counts for any length of time: a fraction of a millisecond, a year', async () => {
      const store = await open()
      await store.count('a', 1, 0.5)
      await passed(20)
      expect((await store.count('a', 1, 0.5)).total).toBe(1)
      const year = 365 * 86_400_000
      expect((await store.count('b', 1, year + 0.5)).milliseconds).toBeGreaterThan(year - 60_000)
    })

    test('is one thing, a value and a lease of the same name are others', async () => {
      const store = await open()
      await store.set('a', '7', 60_000)
      await store.lease('a', 60_000)
      expect((await store.count('a', 1, 60_000)).total).toBe(1)
      await store.delete('a')
      expect((await store.count('a', 1, 60_000)).total).toBe(2)
      expect(await store.get('a')).toBeUndefined()
    })

    test('takes any key', async () => {
      const store = await open()
      const keys = ['', '/', 'a', 'a/', 'a/b', '{a}/b', 'a:b', 'a b\n"\'%;\u{1f9e5}', '__proto__']
      const counts = await Promise.all(keys.map((key, at) => store.count(key, at + 1, 60_000)))
      expect(counts.map(({ total }) => total)).toEqual(keys.map((_, at) => at + 1))
    })
  })

  test(`${name}: healthy() while it can answer`, async () => {
    expect(await (await open()).healthy()).toBe(true)
  })
}

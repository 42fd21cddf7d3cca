import { expect, test } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { describeStore } from '../contract/store.ts'

describeStore('memoryStore()', async () => memoryStore())

test('memoryStore() forgets the oldest counters before they fill the memory, and nothing else for them', async () => {
  const store = memoryStore()
  await store.set('login', 'used', 60_000)
  await store.count('key 0', 1, 60_000)
  const long = 'x'.repeat(10_000)
  for (let at = 0; at < 20_000; at++) await store.count(`${at} ${long}`, 1, 60_000)
  expect((await store.count('key 0', 1, 60_000)).total).toBe(1)
  expect((await store.count(`19999 ${long}`, 1, 60_000)).total).toBe(2)
  expect(await store.get('login')).toBe('used')
})

test('memoryStore() forgets the oldest before it fills the memory', async () => {
  const store = memoryStore()
  const value = 'x'.repeat(1_048_576)
  for (let at = 0; at < 150; at++) await store.set(`key ${at}`, value, 60_000)
  expect(await store.get('key 0')).toBeUndefined()
  expect(await store.get('key 149')).toBe(value)
})

import { expect, test } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { describeStore } from '../contract/store.ts'

describeStore('memoryStore()', async () => memoryStore())

test('memoryStore() forgets the oldest before it fills the memory', async () => {
  const store = memoryStore()
  const value = 'x'.repeat(1_048_576)
  for (let at = 0; at < 150; at++) await store.set(`key ${at}`, value, 60_000)
  expect(await store.get('key 0')).toBeUndefined()
  expect(await store.get('key 149')).toBe(value)
})

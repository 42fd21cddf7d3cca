import { expect, test } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { describeStore } from '../contract/store.ts'

describeStore('memoryStore()', async () => memoryStore())

test('memoryStore() forgets the oldest before it fills the memory', async () => {
  const store = memoryStore()
  for (let at = 0; at < 100_500; at++) await store.set(`key ${at}`, 'x', 60_000)
  expect(await store.get('key 0')).toBeUndefined()
  expect(await store.get('key 100499')).toBe('x')
})

// A store that instances share, of the kind that the runtime of this test run has without anything else.
import { dirname, join } from 'node:path'
import type { ConfigInput } from '../../src/config.ts'
import { runtime } from './coatcheck.ts'
import { fileWith } from './command.ts'

/** An empty folder that ends with the test. */
export const newFolder = async () => dirname(await fileWith('', 'empty'))

/** Settings of an empty store that ends with the test. */
export async function sharedStore(): Promise<NonNullable<ConfigInput['store']>> {
  if (runtime === 'workerd') return { type: 'durable-object', binding: 'SESSIONS' }
  return { type: 'sqlite', path: join(await newFolder(), 'store.db') }
}

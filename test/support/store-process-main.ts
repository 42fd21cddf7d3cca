// The program that store-process.ts runs: opens an SQLite store and does what it is told.

import { sqliteStore } from '../../src/stores/sqlite.ts'
import type { Lease, Store } from '../../src/stores/store.ts'
import type { Answer } from './store-process.ts'

const send = (answer: Answer) => void process.send?.(answer)

function obey(store: Store): void {
  process.on('message', async ({ id, method, args }: { id: number; method: keyof Store; args: never[] }) => {
    try {
      const value = await (store[method] as (...args: never[]) => Promise<unknown>)(...args)
      send({ id, value: method === 'lease' ? (value as Lease | undefined)?.fence : value })
    } catch (error) {
      send({ id, error: String(error) })
    }
  })
}

try {
  obey(sqliteStore(process.argv[2] ?? ''))
  send({ id: 0 })
} catch (error) {
  send({ id: 0, error: String(error) })
}

// One coatcheck process that can be asked for its memory. Its log goes nowhere.
import { createServer } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { serve } from '../../../src/node.ts'
import { settings } from '../../support/node-server.ts'

/** What the process has, in bytes. */
export interface Memory {
  readonly rss: number
  readonly heap: number
  /** Buffers and whatever else is not on the heap. */
  readonly external: number
}

const { config, controlPort } = settings<'config' | 'controlPort'>()
const collect = globalThis.gc
if (!collect) throw new Error('Start this with --expose-gc')
await serve(JSON.parse(config), { env: {}, log: () => {} })

/** What one collection sets free the next one may collect. */
async function collected(): Promise<void> {
  for (let times = 0; times < 3; times++) {
    collect?.()
    await setTimeout(100)
  }
}

createServer(async (request, response) => {
  if (request.url === '/collected') await collected()
  const { rss, heapUsed: heap, external } = process.memoryUsage()
  response.end(JSON.stringify({ rss, heap, external } satisfies Memory))
}).listen(Number(controlPort), '127.0.0.1')

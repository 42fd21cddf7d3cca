// `npm run bench:websockets`: what thousands of idle WebSockets and event streams cost one process, and how fast messages
// pass. RESULTS-websockets.md explains.
import { parseArgs } from 'node:util'
import { replaceResult } from '../support/markdown.ts'
import { stopServers } from '../support/processes.ts'
import { type Held, hold, type Kind } from './held.ts'
import { type Passed, pass } from './passed.ts'
import { heldTable, markdownFile, notes, passedTable } from './report.ts'
import { requireFiles, startWorld, type World } from './world.ts'

const usage = `npm run bench:websockets -- [options]
  --connections N  idle ones of each kind (default 2000)
  --write          put the tables into bench/RESULTS-websockets.md
  --help
`

const kinds: Kind[] = ['WebSockets', 'event streams']
/** Bytes of a message. */
const sizes = [100, 16_384]

let world: World | undefined

/** Each in a world of its own: what one leaves behind is not counted for the next. */
async function inWorld<T>(measure: (world: World) => Promise<T>): Promise<T> {
  world = await startWorld()
  try {
    return await measure(world)
  } finally {
    await world.close()
    world = undefined
  }
}

async function main(connections: number, write: boolean): Promise<void> {
  requireFiles(connections)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void Promise.all([world?.close(), stopServers()]).then(() => process.exit(1)))
  }
  const held: Held[] = []
  for (const kind of kinds) {
    held.push(await inWorld((one) => hold(one, kind, connections)))
    say(heldTable(held.slice(-1)))
  }
  const passed: Passed[] = []
  for (const size of sizes) {
    passed.push(await inWorld((one) => pass(one, size)))
    say(passedTable(passed.slice(-1)))
  }
  const text = await notes(held, passed)
  say(`\n${text}`)
  if (write) await replaceResult(markdownFile, text)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

try {
  const { values } = parseArgs({
    options: {
      connections: { type: 'string', default: '2000' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const connections = Number(values.connections)
  if (!Number.isInteger(connections) || connections < 1) throw new RangeError('--connections takes a whole number')
  if (values.help) say(usage)
  else await main(connections, values.write)
} catch (error) {
  const { message } = error as Error
  const isUsage = error instanceof RangeError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  process.stderr.write(`\n${isUsage ? `${message}\n\n${usage}` : message}\n`)
  process.exitCode = 1
}

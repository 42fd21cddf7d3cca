// `npm run bench:refresh`: storms of requests that all find their access token expired, over real processes, with and
// without somebody dying in the middle. RESULTS-refresh.md explains.
import { install, missing } from '../support/packages.ts'
import { stopServers } from '../support/processes.ts'
import { type Options, type Run, readOptions, usage } from './options.ts'
import { mistakes, notes, type Result, writeMarkdown } from './report.ts'
import { broken, count, graceIn, middleOf } from './scenarios.ts'
import { runStorm } from './storm.ts'
import { startWorld, type World } from './world.ts'

/** One session at a time takes its time: as many as say something about latency. */
const mostAlone = 200

let world: World | undefined

async function main(options: Options): Promise<void> {
  if (options.runs.some(({ store }) => store === 'redis')) install(missing({ 'redis-server': '/usr/bin/redis-server' }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void Promise.all([world?.close(), stopServers()]).then(() => process.exit(1)))
  }
  const results: Result[] = []
  for (const run of options.runs) results.push(await runOnce(run, options))
  const text = await notes(options, results)
  say(`\n${text}`)
  if (options.write) await writeMarkdown(text)
  if (mistakes(results).length > 0) process.exitCode = 1
}

async function runOnce(run: Run, { sessions, parallel, away, latency }: Options): Promise<Result> {
  const { scenario, store, storage, overlap } = run
  const inTheMiddle = middleOf(scenario, away)
  world = await startWorld({ store, storage })
  try {
    await world.authorizationServer.behave({ latency, jitter: latency / 2, grace: graceIn(scenario) })
    const found = await runStorm(world, {
      sessions: scenario === 'alone' ? Math.min(sessions, mostAlone) : sessions,
      parallel,
      overlap,
      ...(inTheMiddle && { inTheMiddle }),
    })
    const wrong = broken(scenario, found)
    const { refreshRequests, reuse, failed, lost } = count(found)
    const counted = `${refreshRequests} refresh requests, ${reuse} reused, ${failed} failed, ${lost} lost`
    say(`${scenario}, ${store}, ${storage}: ${counted}${wrong.length > 0 ? ` BROKEN: ${wrong.join('; ')}` : ''}`)
    return { run, found }
  } finally {
    await world.close()
    world = undefined
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === undefined) say(usage)
  else await main(options)
} catch (error) {
  const { message } = error as Error
  const isUsage = error instanceof RangeError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  process.stderr.write(`\n${isUsage ? `${message}\n\n${usage}` : message}\n`)
  process.exitCode = 1
}

// What `npm run bench:refresh` may be told, and which runs come of it.
import { parseArgs } from 'node:util'
import type { Scenario } from './scenarios.ts'
import { type Storage, type StoreType, storeTypes } from './world.ts'

export const usage = `npm run bench:refresh -- [options]
  --sessions N     sessions (default 1000)
  --parallel N     requests of each session, sent at once (default 50)
  --overlap N      sessions at a time (default 20; 5 for durable-object, which is one thread)
  --store A,B      of redis, sqlite, durable-object (default all)
  --storage A,B    of cookie, store (default cookie, and both for redis and sqlite in storm)
  --scenario A,B   of alone, storm, crash, crash-grace, restart (default all that the store has)
  --away SECONDS   how long redis is gone in restart (default 3)
  --latency MS     of the authorization server, and up to half of it more by chance (default 50)
  --write          put the tables into bench/RESULTS-refresh.md
  --help
`

/** One scenario over one store. */
export interface Run {
  readonly scenario: Scenario
  readonly store: StoreType
  readonly storage: Storage
  /** Sessions at a time. */
  readonly overlap: number
}

export interface Options {
  readonly sessions: number
  readonly parallel: number
  /** Seconds. */
  readonly away: number
  /** Milliseconds. */
  readonly latency: number
  readonly runs: readonly Run[]
  readonly write: boolean
}

/** What can happen to which store: there is one workerd, so killing it leaves nobody; only redis is a process of its own. */
const possible: Record<Scenario, readonly StoreType[]> = {
  alone: storeTypes,
  storm: storeTypes,
  crash: ['redis', 'sqlite'],
  'crash-grace': ['redis', 'sqlite'],
  restart: ['redis'],
}
const scenarios = Object.keys(possible) as Scenario[]

/** Reads the command line; `undefined` when help was asked for. @throws RangeError for what makes no sense */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      sessions: { type: 'string', default: '1000' },
      parallel: { type: 'string', default: '50' },
      overlap: { type: 'string' },
      store: { type: 'string', default: storeTypes.join() },
      storage: { type: 'string' },
      scenario: { type: 'string', default: scenarios.join() },
      away: { type: 'string', default: '3' },
      latency: { type: 'string', default: '50' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const stores = chosen('store', values.store, storeTypes)
  const storagesIn = (scenario: Scenario, store: StoreType) => {
    const both = scenario === 'storm' && store !== 'durable-object'
    return chosen('storage', values.storage ?? (both ? 'cookie,store' : 'cookie'), ['cookie', 'store'])
  }
  const overlapOf = (scenario: Scenario, store: StoreType) =>
    scenario === 'alone' ? 1 : whole('overlap', values.overlap ?? (store === 'durable-object' ? '5' : '20'), 1)
  const runs = chosen('scenario', values.scenario, scenarios).flatMap((scenario) =>
    stores
      .filter((store) => possible[scenario].includes(store))
      .flatMap((store) =>
        storagesIn(scenario, store).map((storage) => {
          return { scenario, store, storage, overlap: overlapOf(scenario, store) }
        }),
      ),
  )
  if (runs.length === 0) throw new RangeError('That scenario cannot happen with that store')
  return {
    sessions: whole('sessions', values.sessions, 2),
    parallel: whole('parallel', values.parallel, 1),
    away: whole('away', values.away, 1),
    latency: whole('latency', values.latency, 0),
    runs,
    write: values.write,
  }
}

function chosen<T extends string>(option: string, text: string, all: readonly T[]): T[] {
  const names = text.split(',').map((name) => name.trim())
  const unknown = names.filter((name) => !all.some((one) => one === name))
  if (unknown.length > 0) throw new RangeError(`--${option} takes ${all.join(', ')}, and not ${unknown.join(', ')}`)
  return all.filter((one) => names.includes(one))
}

function whole(option: string, text: string, least: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value <= 100_000) return value
  throw new RangeError(`--${option} must be a whole number from ${least} on`)
}

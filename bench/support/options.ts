// What a run may be told on the command line, and what it means.
import { parseArgs } from 'node:util'

export const usage = `npm run bench -- [options]
  --rounds N      rounds, each with every contestant in it (default 5)
  --seconds N     seconds of load for each contestant in a round, at most 15 (default 4)
  --only A,B      only these contestants
  --features      coatcheck alone, with each feature of the hot path switched on in turn
  --beside DIR    another coatcheck working tree, measured beside this one (any number of times)
  --write         put the table into bench/RESULTS.md (with --features: bench/RESULTS-features.md)
  --help
`

export interface Options {
  readonly rounds: number
  /** Seconds of measured load in each round. */
  readonly seconds: number
  /** Names of contestants; all of them when absent. */
  readonly only: readonly string[] | undefined
  /** Folders of other coatchecks to compare with. */
  readonly beside: readonly string[]
  readonly features: boolean
  readonly write: boolean
}

/** Sessions slide after 30 seconds at the earliest, and must not do so under load (see RESULTS.md). */
const mostSeconds = 15

/** Reads the command line; `undefined` when help was asked for. @throws RangeError when a number makes no sense. */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '4' },
      only: { type: 'string' },
      beside: { type: 'string', multiple: true, default: [] },
      features: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  return {
    rounds: whole('rounds', values.rounds, 1, 1_000),
    seconds: whole('seconds', values.seconds, 1, mostSeconds),
    only: values.only?.split(',').map((name) => name.trim()),
    beside: values.beside,
    features: values.features,
    write: values.write,
  }
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new RangeError(`--${name} must be a whole number from ${least} to ${most}`)
}

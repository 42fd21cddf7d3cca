// A run written down: as JSON for machines, and as notes with a table for RESULTS.md.
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { connections } from './load.ts'
import type { Machine } from './machine.ts'
import { replaceResult } from './markdown.ts'
import { isDisturbed } from './measurement.ts'
import type { Options } from './options.ts'
import { type Measured, type Row, table } from './report.ts'

export interface Results {
  /** ISO 8601. */
  readonly at: string
  readonly options: Options
  readonly machine: Machine
  readonly pinned: boolean
  /** Contestants that could not take part, and why. */
  readonly leftOut: Readonly<Record<string, string>>
  readonly contestants: readonly Measured[]
  readonly rows: readonly Row[]
}

/** Where neither git nor the linter looks. */
const jsonFile = new URL('../../node_modules/.cache/coatcheck-bench/latest.json', import.meta.url)
const markdownFile = ({ features }: Options) =>
  new URL(features ? '../RESULTS-features.md' : '../RESULTS.md', import.meta.url)

/** Writes everything that was measured; returns where. */
export async function writeJson(results: Results): Promise<string> {
  await mkdir(new URL('.', jsonFile), { recursive: true })
  await writeFile(jsonFile, `${JSON.stringify(results, null, 2)}\n`)
  return fileURLToPath(jsonFile)
}

/** Replaces the result that RESULTS.md shows. */
export const writeMarkdown = (results: Results) => replaceResult(markdownFile(results.options), notes(results))

/** What a reader needs with the table: where, how often, and what was going on besides. */
export function notes({ at, options, machine, pinned, leftOut, contestants, rows }: Results): string {
  const foreign = contestants.flatMap(({ samples }) => samples.map((sample) => sample.foreign))
  const disturbed = contestants.flatMap(({ samples }) => samples.filter(isDisturbed))
  const tokens = contestants.map(({ tokenBytes }) => tokenBytes)
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`)
  const broken = contestants.flatMap(({ name, samples }) => {
    const count = samples.reduce((sum, sample) => sum + sample.broken, 0)
    return count === 0 ? [] : `- ${name} left ${count} requests without an answer.`
  })
  const absent = Object.entries(leftOut).map(([name, why]) => `- **Left out:** ${name}, because ${why}.`)
  return `
${table(rows)}

- ${at.slice(0, 10)}; ${options.rounds} rounds of ${options.seconds} s for each contestant, ${connections} connections.
- ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGigabytes} GB, Linux ${machine.kernel}; ${pinned ? 'the contestant on one core, load and upstream on the others' : 'nothing pinned to cores'}.
- Foreign load: at most ${Math.max(...foreign).toFixed(2)} cores; ${disturbed.length} of ${foreign.length} measurements disturbed.
- Access tokens: ${Math.min(...tokens)} to ${Math.max(...tokens)} bytes.
- ${versions.join(', ')}.
${[...broken, ...absent].join('\n')}`.trimEnd()
}

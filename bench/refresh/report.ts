// What the storms came to, as tables: for the terminal and for RESULTS-refresh.md.
import { describeMachine } from '../support/machine.ts'
import { replaceResult } from '../support/markdown.ts'
import { drawn } from '../support/report.ts'
import { quantile } from '../support/statistics.ts'
import type { Options, Run } from './options.ts'
import { broken, count } from './scenarios.ts'
import type { Found, Stormed } from './storm.ts'

/** One run and what came of it. */
export interface Result {
  readonly run: Run
  readonly found: Found
}

const markdownFile = new URL('../RESULTS-refresh.md', import.meta.url)

const nameOf = ({ scenario, store, storage }: Run) => `${scenario}, ${store}, ${storage}`

/** What the rules of the scenarios say: one line for each that is broken. */
export function mistakes(results: readonly Result[]): string[] {
  return results.flatMap(({ run, found }) => broken(run.scenario, found).map((text) => `${nameOf(run)}: ${text}`))
}

/** Redemptions, and what became of the calls. */
export function countsTable(results: readonly Result[]): string {
  const head = [
    'run',
    'sessions',
    'at a time',
    'refresh requests',
    'reuse',
    'failed',
    'lost',
    'moved',
    'postponed',
    's',
  ]
  const lines = results.map(({ run, found }) => {
    const counts = count(found)
    const { refreshRequests, reuse, failed, lost, moved, postponed } = counts
    const numbers = [found.sessions, run.overlap, refreshRequests, reuse, failed, lost, moved, postponed]
    return [nameOf(run), ...numbers.map(String), (found.duration / 1_000).toFixed(0)]
  })
  return drawn([head, ...lines])
}

/** Latencies. */
export function latencyTable(results: readonly Result[]): string {
  const kinds = ['server', 'storm', 'added', 'calm', 'late']
  const head = ['run, ms', ...kinds.flatMap((kind) => [`${kind} p50`, 'p99'])]
  const lines = results.map(({ run, found }) => {
    const columns = [
      found.redemptions.map(({ milliseconds }) => milliseconds),
      latencies(found.storm),
      added(found),
      latencies(found.calm),
      latencies(found.late),
    ]
    const numbers = columns.flatMap((all) => [quantile(all, 0.5), quantile(all, 0.99)])
    return [nameOf(run), ...numbers.map((number) => number.toFixed(0))]
  })
  return drawn([head, ...lines])
}

function latencies(all: readonly Stormed[]): number[] {
  return all.flatMap(({ calls }) => calls.map(({ milliseconds }) => milliseconds))
}

/** What each call took longer than the authorization server did for its session. */
function added({ storm, redemptions }: Found): number[] {
  const byUser = new Map<string, number>()
  for (const { user, milliseconds } of redemptions) byUser.set(user, milliseconds)
  return storm.flatMap(({ user, calls }) => calls.map(({ milliseconds }) => milliseconds - (byUser.get(user) ?? 0)))
}

/** Everything there is to say of some runs. */
export async function notes(options: Options, results: readonly Result[]): Promise<string> {
  const { cpu, cores, memoryGigabytes, kernel, versions } = await describeMachine({
    npm: ['undici', 'redis', 'workerd'],
    debian: ['redis-server'],
  })
  const { parallel, latency, away } = options
  const at = new Date().toISOString().slice(0, 10)
  const wrong = mistakes(results)
  return `
${countsTable(results)}

${latencyTable(results)}

- ${at}; ${parallel} requests of each session at once, so with 20 sessions at a time ${20 * parallel} requests under way.
- The authorization server takes ${latency} ms and up to ${latency / 2} ms more by chance; redis was away for ${away} s.
- ${cpu}, ${cores} cores for everything together, ${memoryGigabytes} GB, Linux ${kernel}.
- ${Object.entries({ ...versions, sqlite: process.versions.sqlite })
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}.
${wrong.length === 0 ? '- Every rule below holds.' : wrong.map((text) => `- **Broken:** ${text}.`).join('\n')}`.trim()
}

/** Replaces the result that RESULTS-refresh.md shows. */
export const writeMarkdown = (text: string) => replaceResult(markdownFile, text)

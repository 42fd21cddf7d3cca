// What was measured, as tables: for the terminal and for RESULTS-websockets.md.
import { describeMachine } from '../support/machine.ts'
import { drawn } from '../support/report.ts'
import type { Held } from './held.ts'
import { connections, duration, type Passed, rounds, window } from './passed.ts'

export const markdownFile = new URL('../RESULTS-websockets.md', import.meta.url)

export function heldTable(results: readonly Held[]): string {
  const head = ['KB for each', 'RSS', 'RSS, collected', 'heap', 'heap, collected', 'external', 'left on the heap']
  return drawn([
    head,
    ...results.map(({ kind, connections, before, held, heldCollected, after }) => {
      const each = (now: number, then: number) => ((now - then) / connections / 1_024).toFixed(1)
      return [
        `${connections.toLocaleString('en')} ${kind}`,
        each(held.rss, before.rss),
        each(heldCollected.rss, before.rss),
        each(held.heap, before.heap),
        each(heldCollected.heap, before.heap),
        each(heldCollected.external, before.external),
        each(after.heap, before.heap),
      ]
    }),
  ])
}

export function passedTable(results: readonly Passed[]): string {
  const head = ['echo of', 'straight, round trips/s', 'through coatcheck', 'of that', 'CPU of coatcheck, µs each']
  return drawn([
    head,
    ...results.map(({ size, direct, through, cpu }) => [
      `${size.toLocaleString('en')} bytes`,
      direct.toFixed(0),
      through.toFixed(0),
      `${((through / direct) * 100).toFixed(0)} %`,
      cpu.toFixed(0),
    ]),
  ])
}

export async function notes(held: readonly Held[], passed: readonly Passed[]): Promise<string> {
  const { cpu, cores, memoryGigabytes, kernel, versions } = await describeMachine({ npm: ['ws', 'undici'], debian: [] })
  const totals = held.map(
    ({ kind, before, heldCollected }) =>
      `${kind}: ${megabytes(before.rss)} MB before, ${megabytes(heldCollected.rss)} MB with all of them open`,
  )
  return `
${held.length > 0 ? heldTable(held) : ''}

${passed.length > 0 ? passedTable(passed) : ''}

- ${new Date().toISOString().slice(0, 10)}; RSS of the whole process: ${totals.join('; ') || 'not measured'}.
- Echo: ${connections} connections, ${window} messages of each under way; the median of ${rounds} times ${duration} s.
- ${cpu}, ${cores} cores for browsers, coatcheck, API and authorization server together, ${memoryGigabytes} GB, Linux ${kernel}.
- ${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}.`.trim()
}

const megabytes = (bytes: number) => (bytes / 1_048_576).toFixed(0)

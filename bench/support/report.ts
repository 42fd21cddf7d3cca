// From samples to what is read: medians, ratios to the floor, one table. Pure.
import { isDisturbed, type Sample } from './measurement.ts'
import { median } from './statistics.ts'

/** Everything measured of one contestant. */
export interface Measured {
  readonly name: string
  readonly what: string
  readonly cookieBytes: number
  readonly tokenBytes: number
  readonly samples: readonly Sample[]
}

export interface Row {
  readonly name: string
  readonly cpu: number
  readonly bestCpu: number
  /** CPU in proportion to the floor's of the same round; `undefined` without a floor. */
  readonly ratio: number | undefined
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly rss: number
  readonly pss: number
  readonly cores: number
  readonly cookieBytes: number
  /** Measurements that the figures are medians of, and those of them beside foreign load. */
  readonly counted: number
  readonly disturbed: number
}

/** With fewer undisturbed measurements than this the disturbed ones count too. */
const fewest = 3

/** What counts of some measurements: those without foreign load, or all when too few are. */
function counted<T>(all: readonly T[], isQuiet: (one: T) => boolean): readonly T[] {
  const quiet = all.filter(isQuiet)
  return quiet.length >= fewest ? quiet : all
}

/** One row for each contestant, cheapest first. Every figure but the best is a median over the measurements that count. */
export function rowsOf(all: readonly Measured[], floorName: string): Row[] {
  const floor = all.find(({ name }) => name === floorName)?.samples ?? []
  const rows = all.map(({ name, cookieBytes, samples }) => {
    const good = counted(samples, (sample) => !isDisturbed(sample))
    const pairs = samples.flatMap((own) => {
      const other = floor.find(({ round }) => round === own.round)
      return other ? { ratio: own.cpu / other.cpu, isQuiet: !isDisturbed(own) && !isDisturbed(other) } : []
    })
    const middle = (figure: (sample: Sample) => number) => median(good.map(figure))
    return {
      name,
      cpu: middle(({ cpu }) => cpu),
      bestCpu: Math.min(...good.map(({ cpu }) => cpu)),
      ratio:
        pairs.length === 0 ? undefined : median(counted(pairs, ({ isQuiet }) => isQuiet).map(({ ratio }) => ratio)),
      perSecond: middle(({ perSecond }) => perSecond),
      p50: middle(({ p50 }) => p50),
      p99: middle(({ p99 }) => p99),
      rss: middle(({ rss }) => rss),
      pss: middle(({ pss }) => pss),
      cores: middle(({ cores }) => cores),
      cookieBytes,
      counted: good.length,
      disturbed: good.filter(isDisturbed).length,
    }
  })
  return rows.sort((a, b) => a.cpu - b.cpu)
}

const columns: readonly [title: string, value: (row: Row) => string][] = [
  ['contestant', ({ name }) => name],
  ['CPU µs/request', ({ cpu }) => cpu.toFixed(0)],
  ['best', ({ bestCpu }) => bestCpu.toFixed(0)],
  ['× floor', ({ ratio }) => ratio?.toFixed(2) ?? '–'],
  ['requests/s', ({ perSecond }) => perSecond.toFixed(0)],
  ['p50 ms', ({ p50 }) => p50.toFixed(1)],
  ['p99 ms', ({ p99 }) => p99.toFixed(1)],
  ['RSS MB', ({ rss }) => rss.toFixed(0)],
  ['PSS MB', ({ pss }) => pss.toFixed(0)],
  ['cores', ({ cores }) => cores.toFixed(2)],
  ['n', ({ counted, disturbed }) => `${counted}${disturbed > 0 ? '*' : ''}`],
  ['cookie B', ({ cookieBytes }) => cookieBytes.toFixed(0)],
]

/** The table, as Markdown that also reads well in a terminal. */
export function table(rows: readonly Row[]): string {
  return drawn([columns.map(([title]) => title), ...rows.map((row) => columns.map(([, value]) => value(row)))])
}

/** A table of some lines of cells, the first of them the head; all columns but the first are flush right. */
export function drawn(cells: readonly (readonly string[])[]): string {
  const widths = (cells[0] ?? []).map((_, at) => Math.max(...cells.map((line) => line[at]?.length ?? 0)))
  const line = (texts: readonly string[]) =>
    `| ${texts.map((text, at) => (at === 0 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((width, at) => (at === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  const [head = [], ...body] = cells
  return [line(head), rule, ...body.map(line)].join('\n')
}

// What a process tree has cost so far, as the kernel counts it: CPU time and memory.
import { readdirSync, readFileSync } from 'node:fs'

/** The kernel reports times in hundredths of a second, whatever it counts in (`USER_HZ`, proc(5)). */
const tickMicroseconds = 10_000

interface ProcessStat {
  readonly pid: number
  readonly parent: number
  /** User and system time of all threads, and of ended children that were waited for. Microseconds. */
  readonly cpu: number
}

/** One process from `/proc/PID/stat`; `undefined` when it is gone. */
function statOf(pid: number): ProcessStat | undefined {
  const text = read(`/proc/${pid}/stat`)
  if (text === undefined) return undefined
  // The name stands in parentheses and may hold anything; the fields that count begin behind it, with number 3.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number) => Number(fields[number - 3])
  const ticks = field(14) + field(15) + field(16) + field(17)
  return { pid, parent: field(4), cpu: ticks * tickMicroseconds }
}

/** A process and everything below it. */
function treeOf(root: number): ProcessStat[] {
  const all = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (statOf(Number(name)) ?? []) : []))
  const tree = all.filter(({ pid }) => pid === root)
  for (const { pid } of tree) tree.push(...all.filter(({ parent }) => parent === pid))
  return tree
}

/** CPU time that a process tree has used since it began, user and system. Microseconds. */
export function cpuTime(root: number): number {
  return treeOf(root).reduce((sum, { cpu }) => sum + cpu, 0)
}

export interface Memory {
  /** Resident set, megabytes: counts pages that several processes share once for each. */
  readonly rss: number
  /** Proportional set, megabytes: shares such pages out. */
  readonly pss: number
}

/** Memory that a process tree has now. */
export function memory(root: number): Memory {
  const rollups = treeOf(root).map(({ pid }) => read(`/proc/${pid}/smaps_rollup`) ?? '')
  const megabytes = (name: string) =>
    rollups.reduce((sum, text) => sum + Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0), 0) /
    1_024
  return { rss: megabytes('Rss'), pss: megabytes('Pss') }
}

/** CPU time that the whole machine has spent on anything, and that other guests took from it. Microseconds. */
export function machineCpuTime(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] =
    (read('/proc/stat') ?? '').slice(0, 200).split('\n')[0]?.split(/\s+/).slice(1).map(Number) ?? []
  return (user + nice + system + irq + softirq + steal) * tickMicroseconds
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

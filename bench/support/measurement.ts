// One measurement: a few seconds of load on one contestant, and what they cost.
import { connections, load } from './load.ts'
import type { Upstream } from './upstream.ts'
import { cpuTime, machineCpuTime, memory } from './usage.ts'

export interface Sample {
  /** From 1 on. */
  readonly round: number
  readonly requests: number
  /** User and system time of the contestant's process tree for each request. Microseconds. */
  readonly cpu: number
  readonly perSecond: number
  /** Latency with all connections busy. Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Requests that got no answer, besides `requests`. */
  readonly broken: number
  /** Of the process tree, at the end. Megabytes. */
  readonly rss: number
  readonly pss: number
  /** Cores that the contestant kept busy. */
  readonly cores: number
  /** Cores that were kept busy by what does not belong to the run. */
  readonly foreign: number
}

/** A sample taken beside more foreign load than this is marked as disturbed. Cores. */
const tolerated = 0.15

export function isDisturbed({ foreign }: Sample): boolean {
  return foreign > tolerated
}

/**
 * Loads a contestant and takes stock before and after.
 * @param pid root of the contestant's process tree
 * @throws Error when any answer was not the upstream's 200
 */
export async function measure(
  round: number,
  pid: number,
  url: string,
  cookie: string,
  seconds: number,
  upstream: Upstream,
): Promise<Sample> {
  const before = { answered: await upstream.answered(), ...stock(pid) }
  const { requests, perSecond, p50, p99, refused, broken } = await load(`${url}/api/data`, cookie, seconds)
  const after = { ...stock(pid), answered: await upstream.answered() }
  if (refused > 0) throw new Error(`${refused} of ${requests} requests were refused`)
  // wrk takes a redirect to a sign-in page for a success; the upstream, which answers 200 only, knows better.
  const forwarded = after.answered - before.answered
  if (forwarded < requests || forwarded > requests + 2 * connections) {
    throw new Error(`${requests} requests were answered, but the upstream saw ${forwarded}`)
  }
  const elapsed = after.clock - before.clock
  const cpu = after.contestant - before.contestant
  const foreign = after.machine - before.machine - (after.run - before.run)
  return {
    round,
    requests,
    cpu: cpu / requests,
    perSecond,
    p50,
    p99,
    broken,
    ...memory(pid),
    cores: cpu / elapsed,
    foreign: Math.max(0, foreign / elapsed),
  }
}

/** Clocks of everybody, in microseconds. The whole run, load and upstream with it, is the tree of this process. */
function stock(pid: number): { clock: number; contestant: number; run: number; machine: number } {
  return {
    clock: performance.now() * 1_000,
    contestant: cpuTime(pid),
    run: cpuTime(process.pid),
    machine: machineCpuTime(),
  }
}

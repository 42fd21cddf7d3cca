// The rounds: everybody once in each, as a new process with a new session, proven to work before it is measured.
import type { Contestant, RunningContestant, Setting } from '../contestants/contestant.ts'
import { signIn } from './browser.ts'
import { load } from './load.ts'
import { isDisturbed, measure, type Sample } from './measurement.ts'
import type { Measured } from './report.ts'
import { rotated } from './statistics.ts'
import { type Verified, verify } from './verification.ts'

/** A contestant and what it is started with. */
export interface Entrant {
  readonly contestant: Contestant
  readonly setting: Setting
}

/** Seconds of load before each measurement, for connections to open and compilers to settle. */
const warmUp = 4
/** What contestants without sessions are sent and throw away: as long as the cookie of coatcheck's session. */
const idleCookie = `session=${'0123456789abcdef'.repeat(165)}`

/**
 * Measures everybody in every round, each round begun by somebody else, so that whatever drifts drifts for all.
 *
 * @param seconds of measured load
 * @param say told how it goes, a line at a time
 * @throws Error that names the contestant, when it does not do what it is measured for
 */
export async function runRounds(
  entrants: readonly Entrant[],
  rounds: number,
  seconds: number,
  say: (line: string) => void,
): Promise<Measured[]> {
  const found = new Map(entrants.map((entrant) => [entrant, [] as (Verified & { sample: Sample })[]]))
  for (let round = 1; round <= rounds; round++) {
    const line: string[] = []
    for (const entrant of rotated(entrants, round - 1)) {
      const result = await runOnce(entrant, round, seconds)
      found.get(entrant)?.push(result)
      line.push(`${entrant.contestant.name} ${result.sample.cpu.toFixed(0)}${isDisturbed(result.sample) ? '*' : ''}`)
    }
    say(`Round ${round}, CPU µs/request (* disturbed): ${line.join(', ')}`)
  }
  return [...found].map(
    ([
      {
        contestant: { name, what },
      },
      results,
    ]) => ({
      name,
      what,
      cookieBytes: results[0]?.cookieBytes ?? 0,
      tokenBytes: results[0]?.tokenBytes ?? 0,
      samples: results.map(({ sample }) => sample),
    }),
  )
}

/** One life of a contestant. Node compiles the same program differently each time, so one process is not a sample. */
async function runOnce(
  { contestant, setting }: Entrant,
  round: number,
  seconds: number,
): Promise<Verified & { sample: Sample }> {
  let running: RunningContestant | undefined
  try {
    running = await contestant.start(setting)
    const { signInUrl, pid } = running
    // Begun just now, so that nobody has reason to renew the session while it is measured.
    const cookie = signInUrl === undefined ? idleCookie : await signIn(signInUrl)
    const verified = await verify(setting, cookie, signInUrl !== undefined, contestant.scheme)
    await load(`${setting.url}/api/data`, cookie, warmUp)
    return { ...verified, sample: await measure(round, pid, setting.url, cookie, seconds, setting.upstream) }
  } catch (error) {
    throw new Error(`${contestant.name}, round ${round}: ${(error as Error).message}`, { cause: error })
  } finally {
    await running?.stop()
  }
}

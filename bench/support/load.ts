// The load generator: wrk, and what it says.
import { pageHeaders } from './browser.ts'
import { runProgram } from './processes.ts'

/** Connections that wrk keeps busy; each sends its next request when the answer to the last is there. */
export const connections = 32

export interface Load {
  readonly requests: number
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Answers with a status of 400 or more. */
  readonly refused: number
  /** Requests without an answer: connections that were not had, broke off, or stayed silent for ten seconds. */
  readonly broken: number
}

/** Loads one address for some seconds, as a page of the application would call it. */
export async function load(url: string, cookie: string, seconds: number): Promise<Load> {
  const headers = { ...pageHeaders, Referer: new URL('/', url).href, Cookie: cookie }
  const lines = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const options = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '--latency']
  return readReport(await runProgram('wrk', [...options, ...lines, url]))
}

/** Reads what wrk prints. @throws Error when that is not what wrk prints. */
export function readReport(text: string): Load {
  const find = (pattern: RegExp) => {
    const found = pattern.exec(text)?.[1]
    if (found === undefined) throw new Error(`wrk printed something else:\n${text}`)
    return found
  }
  return {
    requests: Number(find(/(\d+) requests in /)),
    perSecond: Number(find(/Requests\/sec:\s+([\d.]+)/)),
    p50: milliseconds(find(/^\s+50%\s+(\S+)/m)),
    p99: milliseconds(find(/^\s+99%\s+(\S+)/m)),
    refused: Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0),
    broken: (/Socket errors: (.*)/.exec(text)?.[1] ?? '')
      .split(', ')
      .reduce((sum, count) => sum + Number(/\d+/.exec(count)?.[0] ?? 0), 0),
  }
}

const unit: Record<string, number> = { us: 0.001, ms: 1, s: 1_000, m: 60_000 }

function milliseconds(text: string): number {
  const [, number, name = ''] = /^([\d.]+)([a-z]+)$/.exec(text) ?? []
  return Number(number) * (unit[name] ?? Number.NaN)
}

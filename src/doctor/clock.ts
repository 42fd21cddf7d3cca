// What time it is at an authorization server, by the `Date` of its answers.
import type { FetchInit, Platform } from '../platform.ts'
import { type Finding, finding } from './findings.ts'

/** How far this machine's clock is ahead of that of a server. Milliseconds. */
export type ClockDifference = number

/** Clocks that differ more cost sign-ins (30 s is what ID tokens are allowed); half of the lesser is HTTP's resolution. */
const [skew, drift] = [30_000, 5_000]

/**
 * By the `Date` of an answer (RFC 9110, section 6.6.1), which is cut to the second. Of an answer that was stored on its way it
 * is that of the server long ago, or that of the cache: nothing is said then.
 */
export function differenceIn({ headers }: Response, sentAt: number, receivedAt: number): ClockDifference | undefined {
  const theirs = Date.parse(headers.get('date') ?? '')
  if (Number.isNaN(theirs) || headers.has('age')) return undefined
  return (sentAt + receivedAt) / 2 - (theirs + 500)
}

export interface ClockWatch {
  readonly fetch: Platform['fetch']
  /** What the last answer told that no cache can have stored. */
  difference(): ClockDifference | undefined
}

/** A network that looks at the clock of whoever answers a POST: no cache answers that from its store (RFC 9110, section 9.3.3). */
export function watchClock({ fetch, now }: Pick<Platform, 'fetch' | 'now'>): ClockWatch {
  let seen: ClockDifference | undefined
  return {
    async fetch(url: string, init: FetchInit) {
      const sentAt = now()
      const answer = await fetch(url, init)
      if (init.method === 'POST') seen = differenceIn(answer, sentAt, now()) ?? seen
      return answer
    },
    difference: () => seen,
  }
}

/** @param difference `undefined` where nobody told: then there is nothing to say */
export function checkClock(difference: ClockDifference | undefined, about: string): Finding[] {
  if (difference === undefined) return []
  const seconds = Math.round(Math.abs(difference) / 1_000)
  const what = `This machine's clock is ${seconds} seconds ${difference > 0 ? 'ahead of' : 'behind'} that of the authorization server.`
  if (Math.abs(difference) > skew) return [finding('clock_skew', about, what)]
  if (Math.abs(difference) > drift) return [finding('clock_drift', about, what)]
  return [finding('clock_ok', about, 'The clocks agree within a few seconds.')]
}

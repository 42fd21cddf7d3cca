// Calls of a route, one after another or at once, and what came of them.
import type { Browser, RequestOptions } from './browser.ts'

/** Statuses of `count` calls, one after another. */
export async function statusesOf(
  count: number,
  call: (at: number) => Promise<{ readonly status: number }>,
): Promise<number[]> {
  const statuses: number[] = []
  for (let at = 0; at < count; at++) statuses.push((await call(at)).status)
  return statuses
}

/** Statuses of calls, in order: `{ 200: 3, 429: 2 }`. */
export function tally(statuses: readonly number[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** A page that comes from `address`, as the edge in front of a Worker, or a proxy in front of Node, says. */
export function from(browser: Browser, address: string): Browser['fetch'] {
  return (path, { headers, ...rest }: RequestOptions = {}) =>
    browser.fetch(path, { ...rest, headers: { ...headers, 'cf-connecting-ip': address, 'x-forwarded-for': address } })
}

// Starts one of the programs in bench/servers with its settings, as a process of its own.
import { fileURLToPath } from 'node:url'
import type { Setting } from '../contestants/contestant.ts'
import { type StartedProcess, startServer } from './processes.ts'

/** @param settings handed over in the environment, where no other process sees secrets. */
export async function nodeServer(
  name: string,
  { port, core }: Pick<Setting, 'port' | 'core'>,
  settings: Readonly<Record<string, string>>,
): Promise<StartedProcess> {
  const file = fileURLToPath(new URL(`../servers/${name}.ts`, import.meta.url))
  return startServer([process.execPath, file], {
    port,
    core,
    env: { BENCH_SETTINGS: JSON.stringify({ ...settings, port }) },
  })
}

/** The settings inside such a program. */
export function settings<Names extends string>(): Record<Names, string> & { port: number } {
  // Written by nodeServer just above, and by nobody else.
  return JSON.parse(process.env.BENCH_SETTINGS ?? '{}') as Record<Names, string> & { port: number }
}

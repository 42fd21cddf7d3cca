// coatcheck on real workerd, through wrangler's test harness. One workerd serves all tests of a file, one after another.
import { afterAll } from 'vitest'
import { createTestHarness } from 'wrangler'
import type { ConfigInput } from '../../src/config.ts'
import type { LogEvent } from '../../src/observability.ts'

type Harness = ReturnType<typeof createTestHarness>

let harness: Harness | undefined

/** Starts (or starts anew, with empty memory) the Worker with this configuration. */
export async function serveOnWorkerd(config: ConfigInput): Promise<{ url: string; events: () => LogEvent[] }> {
  const worker = {
    config: {
      name: 'coatcheck',
      main: 'src/worker.ts',
      compatibility_date: '2026-10-20',
      vars: { COATCHECK_CONFIG: JSON.stringify(config) },
    },
  }
  const options = { workers: [worker] } as unknown as Parameters<Harness['update']>[0]
  harness ??= createTestHarness()
  await harness.update(options)
  const { url } = await harness.listen()
  harness.clearLogs()
  return { url: url.origin, events: () => events(harness) }
}

function events(running: Harness | undefined): LogEvent[] {
  const lines = running?.getLogs().map(({ message }) => message) ?? []
  return lines.filter((line) => line.startsWith('{"level"')).map((line) => JSON.parse(line) as LogEvent)
}

afterAll(async () => {
  await harness?.close()
  harness = undefined
})

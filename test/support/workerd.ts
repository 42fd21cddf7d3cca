// coatcheck on real workerd: the bundle that wrangler would deploy, in a workerd process of its own.
import { inject } from 'vitest'
import type { ConfigInput } from '../../src/config.ts'
import type { LogEvent } from '../../src/observability.ts'
import { startWorkerd, type WorkerdExtras } from './workerd-process.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Folder with `worker.js`; see worker-bundle.ts. */
    workerBundle: string
  }
}

/** coatcheck as a test sees it, on either runtime. */
export interface Served {
  readonly url: string
  /** What it logged so far. */
  events(): LogEvent[]
  close(): Promise<void>
}

/** Starts the Worker with this configuration on its configured port. */
export async function serveOnWorkerd(config: ConfigInput, extras: WorkerdExtras = {}): Promise<Served> {
  const { url, output, close } = await startWorkerd({
    bundle: inject('workerBundle'),
    module: 'worker.js',
    port: Number(config.listen?.port ?? 0),
    ...extras,
    bindings: [
      ...(extras.bindings ?? []),
      `(name = "COATCHECK_CONFIG", json = ${JSON.stringify(JSON.stringify(config))})`,
    ],
  })
  return { url, events: () => eventsIn(output()), close }
}

function eventsIn(output: string): LogEvent[] {
  const lines = output.match(/\{"level":"[^\n]*\}/g) ?? []
  return lines.map((line) => JSON.parse(line) as LogEvent)
}

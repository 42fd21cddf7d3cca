// Workers as wrangler would deploy them. Before the workerd project runs: coatcheck's own.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, parse, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { TestProject } from 'vitest/node'

export interface WorkerBundle {
  /** Has the Worker in it, under the name of its source: `worker.js`. */
  readonly folder: string
  remove(): Promise<void>
}

export async function bundleWorker(main: string): Promise<WorkerBundle> {
  const root = await mkdtemp(join(tmpdir(), 'coatcheck-bundle-'))
  const config = join(root, 'wrangler.json')
  const name = parse(main).name
  await writeFile(config, JSON.stringify({ name, main: resolve(main), compatibility_date: '2026-10-20' }))
  const folder = join(root, 'out')
  await promisify(execFile)(
    process.execPath,
    [resolve('node_modules/wrangler/bin/wrangler.js'), 'deploy', '--dry-run', '--config', config, '--outdir', folder],
    { env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' } },
  )
  return { folder, remove: () => rm(root, { recursive: true }) }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { folder, remove } = await bundleWorker('src/worker.ts')
  project.provide('workerBundle', folder)
  return remove
}

// Before the workerd project runs: bundles the Worker as wrangler would deploy it.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { TestProject } from 'vitest/node'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-bundle-'))
  const config = join(folder, 'wrangler.json')
  const main = resolve('src/worker.ts')
  await writeFile(config, JSON.stringify({ name: 'coatcheck', main, compatibility_date: '2026-10-20' }))
  const outdir = join(folder, 'out')
  await promisify(execFile)(
    process.execPath,
    [resolve('node_modules/wrangler/bin/wrangler.js'), 'deploy', '--dry-run', '--config', config, '--outdir', outdir],
    { env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' } },
  )
  project.provide('workerBundle', outdir)
  return () => rm(folder, { recursive: true })
}

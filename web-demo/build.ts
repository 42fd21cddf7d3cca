// Builds the single-page application of the demo, if anything in it changed: `node web-demo/build.ts`.
import { glob, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const here = fileURLToPath(new URL('.', import.meta.url))

/** Where the built application is. */
export const appDir = join(here, 'dist')

/** Brings the built application up to date. Returns whether there was anything to do. */
export async function buildApp(): Promise<boolean> {
  return buildPages(join(here, 'app'), appDir)
}

/** Builds the pages in `root` into `outDir`, if any of their sources changed. Returns whether there was anything to do. */
export async function buildPages(root: string, outDir: string): Promise<boolean> {
  const built = await changedAt(join(outDir, 'index.html'))
  const sources = [`${root}/**`, `${here}build.ts`, `${here}../src/{client,wire}.ts`]
  const changes: number[] = []
  for await (const file of glob(sources)) changes.push(await changedAt(file))
  if (built > Math.max(...changes)) return false
  await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: {
      outDir,
      emptyOutDir: true,
      // The Content-Security-Policy is default-src 'self': nothing inline, no data: URLs.
      assetsInlineLimit: 0,
      modulePreload: false,
      chunkSizeWarningLimit: 1_000,
    },
  })
  return true
}

/** Milliseconds since 1970; 0 for a file that is not there. */
async function changedAt(file: string): Promise<number> {
  return stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildApp()

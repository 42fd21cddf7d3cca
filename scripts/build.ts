// Builds what is published: JavaScript and types in dist/, the schema beside it.
import { spawnSync } from 'node:child_process'
import { chmod, rm } from 'node:fs/promises'

await rm('dist', { recursive: true, force: true })
const { status } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' })
if (status === 0) await chmod('dist/cli.js', 0o755)
process.exitCode = status ?? 1

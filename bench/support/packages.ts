// Whether the Debian packages that a run needs are there, and getting them where that is allowed.

import { spawnSync } from 'node:child_process'
import { accessSync } from 'node:fs'

/** By package, a file that shows that it is installed. */
export type Packages = Readonly<Record<string, string>>

/** Those of some packages that are not installed. */
export function missing(packages: Packages): string[] {
  return Object.keys(packages).filter((name) => !exists(packages[name] ?? ''))
}

/** Says loudly what is missing; as root on a Debian system also installs it. Whoever needs it looks again afterwards. */
export function install(names: readonly string[]): void {
  if (names.length === 0) return
  const command = ['apt-get', 'install', '-y', '--no-install-recommends', ...names]
  process.stderr.write(`\n!!! Debian packages are missing: ${names.join(' ')}\n`)
  if (process.getuid?.() !== 0 || !exists('/usr/bin/apt-get')) {
    process.stderr.write(`!!! Install them to have everything measured:\n!!!   sudo ${command.join(' ')}\n\n`)
    return
  }
  process.stderr.write(`!!! Installing them: ${command.join(' ')}\n`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const [program = '', ...args] of [['apt-get', 'update'], command]) {
    const { status, stderr } = spawnSync(program, args, { env, encoding: 'utf8' })
    if (status !== 0) process.stderr.write(`!!! ${program} ${args[0]} failed:\n${stderr}\n`)
  }
}

function exists(path: string): boolean {
  try {
    accessSync(path)
    return true
  } catch {
    return false
  }
}

// Where a run took place: the machine, and the versions of everything in it.
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { runProgram } from './processes.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGigabytes: number
  readonly kernel: string
  readonly versions: Readonly<Record<string, string>>
}

const npmPackages = [
  'undici',
  'hono',
  '@hono/node-server',
  'express',
  'express-openid-connect',
  'http-proxy-middleware',
]
const debianPackages = ['nginx', 'apache2-bin', 'libapache2-mod-auth-openidc', 'wrk']

/** @param packages whose versions count, from npm and from Debian. Default: those of `npm run bench`. */
export async function describeMachine(packages = { npm: npmPackages, debian: debianPackages }): Promise<Machine> {
  const versions: Record<string, string> = { coatcheck: await commit(), node: process.version.slice(1) }
  for (const name of packages.npm) versions[name] = npmVersion(name)
  for (const name of packages.debian) versions[name] = await debianVersion(name)
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    versions,
  }
}

/** The commit of this tree, with `-dirty` when files were changed since. */
async function commit(): Promise<string> {
  const tree = fileURLToPath(new URL('../..', import.meta.url))
  return runProgram('git', ['-C', tree, 'describe', '--always', '--dirty', '--exclude=*']).then(
    (text) => text.trim(),
    () => 'unknown',
  )
}

function npmVersion(name: string): string {
  const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  return version
}

function debianVersion(name: string): Promise<string> {
  return runProgram('dpkg-query', ['-W', '-f', '${Version}', name]).catch(() => 'unknown')
}

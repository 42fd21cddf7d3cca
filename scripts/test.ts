// `npm test`: gets what the suites need, runs every one of them, and says how many tests passed and failed.
// A suite that cannot run has failed; nothing is skipped.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright'

interface Outcome {
  suite: string
  passed: number
  failed: number
}

const reports = mkdtempSync(join(tmpdir(), 'coatcheck-test-'))

/** A command that passes or fails as a whole. */
function check(suite: string, command: string, args: string[]): Outcome {
  const ok = run(suite, command, args)
  return { suite, passed: ok ? 1 : 0, failed: ok ? 0 : 1 }
}

function run(suite: string, command: string, args: string[], env: Record<string, string> = {}): boolean {
  console.log(`\n== ${suite}: ${[command, ...args].join(' ')}`)
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } })
  if (error) console.error(`${suite} cannot run: ${error.message}`)
  return status === 0
}

/** Vitest counts for itself; a report that is not there, or is empty, is a failure. */
function vitest(): Outcome {
  const suite = 'unit, Node and workerd'
  installRedis()
  const file = join(reports, 'vitest.json')
  const reporters = ['dot', 'json', './scripts/conformance-run.ts'].map((name) => `--reporter=${name}`)
  const ok = run(suite, 'vitest', ['run', ...reporters, `--outputFile.json=${file}`])
  const { numPassedTests: passed = 0, numTotalTests: total = 0 } = report(file)
  return counted(suite, ok, passed, total - passed)
}

function playwright(): Outcome {
  const suite = 'browser'
  if (!installBrowser()) return { suite, passed: 0, failed: 1 }
  const file = join(reports, 'playwright.json')
  const ok = run(suite, 'playwright', ['test', '--reporter=list,json'], { PLAYWRIGHT_JSON_OUTPUT_NAME: file })
  const { stats = {} } = report(file)
  const { expected = 0, unexpected = 0, flaky = 0, skipped = 0 } = stats
  return counted(suite, ok, expected, unexpected + flaky + skipped)
}

function report(file: string) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
}

function counted(suite: string, ok: boolean, passed: number, failed: number): Outcome {
  const isHonest = passed > 0 && ok === (failed === 0)
  return { suite, passed, failed: isHonest ? failed : Math.max(1, failed) }
}

/** The tests of the Redis store need the real one; without it they fail and say so. */
function installRedis(): void {
  const isThere = () => spawnSync('redis-server', ['--version']).status === 0
  if (isThere() || process.env.REDIS_URL) return
  console.log('\nThere is no Redis yet. Installing one ...')
  installPackage('stores', 'redis-server')
  if (!isThere()) console.error('No Redis could be installed, so its suite fails. Install the package redis-server.')
}

/** Installs a Debian package where that can be done. */
function installPackage(suite: string, name: string): void {
  const asRoot = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')
  if (!asRoot) return
  run(suite, 'apt-get', ['update', '-qq'])
  run(suite, 'apt-get', ['install', '-y', '-qq', name])
}

/** Debian's Chromium where it is, else Playwright's own; installed now if there is neither. */
function installBrowser(): boolean {
  const isThere = () => existsSync('/usr/bin/chromium') || existsSync(chromium.executablePath())
  if (isThere()) return true
  console.log('\nThere is no Chromium yet. Installing one ...')
  installPackage('browser', 'chromium')
  if (!isThere()) run('browser', 'playwright', ['install', 'chromium'])
  if (!isThere())
    console.error('No Chromium could be installed, so the browser suite fails. Install the package chromium.')
  return isThere()
}

const outcomes = [check('types', 'tsc', ['-p', '.']), check('lint', 'biome', ['ci', '.']), vitest(), playwright()]
rmSync(reports, { recursive: true })

console.log()
for (const { suite, passed, failed } of outcomes) console.log(`${suite}: ${passed} passed, ${failed} failed`)
const sum = (key: 'passed' | 'failed') => outcomes.reduce((total, outcome) => total + outcome[key], 0)
console.log(`${sum('passed')} passed, ${sum('failed')} failed`)
process.exitCode = sum('failed') === 0 ? 0 : 1

// A reporter for vitest: what came of the modules of the conformance suite, on which runtime. A run of all of them must agree with
// test/conformance/outcomes.json, of which docs/conformance.md is made; `npm run conformance` writes both.
import { readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'
import { differences, moduleIn, outcomesFile, type Recorded, recordText, runtimes } from './conformance.ts'

export default class ConformanceRun implements Reporter {
  onTestRunEnd(testModules: readonly TestModule[]): void {
    const seen = outcomesOf(testModules)
    const runs = Object.values(seen)
    // Of a part of them nothing can be said; what fails in it fails by itself.
    const known: Recorded = JSON.parse(readFileSync(outcomesFile, 'utf8'))
    const isWhole = runs.length > 0 && runtimes.every((runtime) => runs.some((one) => one[runtime] !== undefined))
    const isAsked = process.env.CONFORMANCE === 'record'
    if (isAsked) {
      writeFileSync(outcomesFile, recordText(seen))
      return
    }
    if (!isWhole || Object.keys(known).some((name) => seen[name] === undefined)) return
    const found = differences(known, seen)
    for (const line of found) console.error(`${outcomesFile}: ${line}`)
    if (found.length > 0) process.exitCode = 1
  }
}

function outcomesOf(testModules: readonly TestModule[]): Recorded {
  const seen: Recorded = {}
  for (const testModule of testModules) {
    const file = relative(process.cwd(), testModule.moduleId)
    const runtime = runtimes.find((name) => name === testModule.project.name)
    if (!file.startsWith('test/conformance/') || runtime === undefined) continue
    for (const test of testModule.children.allTests()) {
      const found = moduleIn(test.name)
      if (found === undefined) continue
      seen[found.name] = { ...seen[found.name], file, outcome: found.outcome, [runtime]: test.result().state }
    }
  }
  return seen
}

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { conformanceTables, differences, type Recorded, recordText, titlesIn } from '../scripts/conformance.ts'
import { generated, requirementTables } from '../scripts/generate.ts'

test.each(Object.entries(generated))('%s is what `npm run generate` makes of the source', (file, content) => {
  expect(readFileSync(file, 'utf8')).toBe(content)
})

// Four digits: these ids are not those of requirements that this file would test.
describe('the table of requirements', () => {
  const stated = {
    R0500: { requirement: 'Forwards a | b', source: 'RFC 1, section 2' },
    R0002: { requirement: 'Does one thing', source: 'own policy' },
  }

  test('leads from each to its tests, by number, under the heading of its area', () => {
    const tests = new Map([
      ['R0500', ['test/security/one.node.test.ts', 'e2e/two.spec.ts']],
      ['R0002', ['test/security/one.node.test.ts']],
    ])
    const lines = requirementTables(stated, tests).split('\n')
    expect(lines.filter((line) => /^\| R/.test(line))).toEqual([
      '| R0002 | Does one thing | own policy | [one.node](test/security/one.node.test.ts) |',
      '| R0500 | Forwards a \\| b | RFC 1, section 2 | [one.node](test/security/one.node.test.ts), [two](e2e/two.spec.ts) |',
    ])
    expect(lines.filter((line) => line.startsWith('### '))).toHaveLength(2)
  })

  test('is not made while one of them has no test', () => {
    expect(() => requirementTables(stated, new Map([['R0002', ['test/one.test.ts']]]))).toThrow(
      /no test mentions R0500/,
    )
  })

  test('is not made while a test mentions one that is not stated', () => {
    const tests = new Map(['R0002', 'R0500', 'R0501'].map((id) => [id, ['test/one.test.ts']]))
    expect(() => requirementTables(stated, tests)).toThrow('test/one.test.ts: R0501 is not in scripts/requirements.ts')
  })
})

describe('the table of conformance modules', () => {
  const module = { server: 'Lies', expected: 'Rejects it' }
  const plan = (modules: Record<string, object>) => [
    {
      title: 'plan',
      modules: Object.fromEntries(Object.entries(modules).map(([name, more]) => [name, { ...module, ...more }])),
    },
  ]
  const titles = titlesIn({ 'test/conformance/one.test.ts': "test('oidcc-lie: rejects', async () => {})" })
  const [lie] = Object.values(titles)
  if (!lie) throw new Error('no title')
  const outcomes: Recorded = { 'oidcc-lie': { ...lie, node: 'passed', workerd: 'passed' } }
  const none: Recorded = {}

  test('leads from each to what its test says', () => {
    expect(conformanceTables(plan({ 'oidcc-lie': {} }), outcomes)).toContain(
      '| `oidcc-lie` | Lies | Rejects it | [rejects](../test/conformance/one.test.ts) | Node.js, Workers |',
    )
  })

  test('says on which runtime a test did not pass', () => {
    const failed: Recorded = { 'oidcc-lie': { ...lie, node: 'failed' } }
    expect(conformanceTables(plan({ 'oidcc-lie': {} }), failed)).toContain(
      '| **not on Node.js** (failed), **not on Workers** (not run) |',
    )
  })

  test('is of the run on record: any other is told apart', () => {
    expect(differences(JSON.parse(recordText(outcomes)), outcomes)).toEqual([])
    const failed: Recorded = { 'oidcc-lie': { ...lie, node: 'failed', workerd: 'passed' } }
    expect(differences(outcomes, failed)).toEqual([expect.stringMatching(/node passed.*now.*node failed/)])
    expect(differences(outcomes, none)).toHaveLength(1)
    expect(differences(outcomes, { ...outcomes, 'oidcc-new': lie })).toHaveLength(1)
  })

  test('gives the reason where there is no test', () => {
    expect(conformanceTables(plan({ 'oidcc-old': { leftOut: 'Gone' } }), none)).toContain('| – Gone | – |')
    expect(conformanceTables(plan({ 'oidcc-new': { waitsFor: 'front-channel logout' } }), none, () => false)).toContain(
      'waits for front-channel logout',
    )
  })

  test.each<[string, Record<string, object>, typeof outcomes, RegExp]>([
    ['has neither a test nor a reason', { 'oidcc-lie': {} }, none, /oidcc-lie has no test$/],
    [
      'waits for what has come',
      { 'oidcc-new': { waitsFor: 'front-channel logout' } },
      none,
      /oidcc-new has no test, although/,
    ],
    ['has a test and an excuse', { 'oidcc-lie': { leftOut: 'Gone' } }, outcomes, /oidcc-lie has a test/],
    ['is only known to a test', {}, outcomes, /oidcc-lie is not in/],
  ])('is not made while a module %s', (_, modules, tests, mistake) => {
    expect(() => conformanceTables(plan(modules), tests, () => true)).toThrow(mistake)
  })

  test('is not made of two tests of one module', () => {
    const text = "test('oidcc-lie: rejects', async () => {})"
    expect(() => titlesIn({ a: text, b: text })).toThrow('b: there is another test of oidcc-lie')
  })
})

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { generated } from '../scripts/generate.ts'

test.each(Object.entries(generated))('%s is what `npm run generate` makes of the source', (file, content) => {
  expect(readFileSync(file, 'utf8')).toBe(content)
})

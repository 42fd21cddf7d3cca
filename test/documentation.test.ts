import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { findingKinds } from '../src/doctor/kinds.ts'
import { createCoatcheck } from '../src/index.ts'
import { sessionKey } from './support/coatcheck.ts'

test('the routes of docs/ai-and-mcp.md can be copied', () => {
  const text = readFileSync('docs/ai-and-mcp.md', 'utf8')
  const routes = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = '']) => JSON.parse(json))
  expect(routes.map(({ path }) => path)).toEqual(['/api/llm/chat', '/api/mcp'])
  const { config } = createCoatcheck(
    {
      publicUrl: 'https://app.example.com',
      session: { keys: [sessionKey()] },
      providers: [
        {
          id: 'main',
          issuer: 'https://login.example.com',
          clientId: 'app',
          clientAuth: { method: 'client_secret_basic', secret: 'secret' },
        },
      ],
      routes,
    },
    { env: { OPENAI_API_KEY: 'sk-1' } },
  )
  expect(config.routes[0]?.token).toMatchObject({ kind: 'static', value: 'sk-1', header: 'authorization' })
})

describe('docs/providers', () => {
  const pages = readdirSync('docs/providers').filter((file) => file !== 'README.md')
  const textOf = (page: string) => readFileSync(`docs/providers/${page}`, 'utf8')

  test.each(pages)('every configuration of %s can be copied', (page) => {
    const documents = [...textOf(page).matchAll(/```json\n(.*?)```/gs)].map(([, json = '']) => JSON.parse(json))
    expect(documents.length).toBeGreaterThan(0)
    for (const document of documents) {
      const { config } = createCoatcheck(document, { env: { COATCHECK_KEY: sessionKey(), CLIENT_SECRET: 'secret' } })
      expect(config.providers[0]?.clientAuth).toMatchObject({ secret: 'secret' })
    }
  })

  test.each(pages)('%s speaks of findings that there are', (page) => {
    const [, table = ''] = textOf(page).split('## What `coatcheck doctor` says')
    const named = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, code = '']) => code)
    expect(named.length).toBeGreaterThan(2)
    expect(named.filter((code) => !Object.hasOwn(findingKinds, code))).toEqual([])
  })

  test('the list has every page', () => {
    const list = readFileSync('docs/providers/README.md', 'utf8')
    expect(pages.filter((page) => !list.includes(`](${page})`))).toEqual([])
  })
})

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
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

import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { readConfig } from '../src/config-reader.ts'
import { createCoatcheck } from '../src/index.ts'
import { selfSigned } from './support/certificate.ts'
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

test('the providers of docs/providers.md can be copied', () => {
  const text = readFileSync('docs/providers.md', 'utf8')
  const providers = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = '']) => JSON.parse(json))
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const env = {
    CLIENT_SECRET: 'secret',
    CLIENT_KEY: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    CLIENT_CERTIFICATE: selfSigned('client').cert,
  }
  expect(providers).toHaveLength(7)
  for (const provider of providers) {
    const config = { publicUrl: 'https://app.example.com', session: { keys: [sessionKey()] }, providers: [provider] }
    expect(readConfig(config, env).providers[0]?.id).toBe(provider.id)
  }
})

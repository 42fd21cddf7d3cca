import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { ConfigInput } from '../src/config.ts'
import { readConfig } from '../src/config-reader.ts'
import { createCoatcheck } from '../src/index.ts'
import { selfSigned } from './support/certificate.ts'
import { sessionKey } from './support/coatcheck.ts'

const routesIn = (file: string) =>
  [...readFileSync(file, 'utf8').matchAll(/```json\n(.*?)```/gs)].map(([, json = '']) => JSON.parse(json))

const configWith = (routes: ConfigInput['routes']): ConfigInput => ({
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
})

test('the routes of docs/ai-and-mcp.md can be copied', () => {
  const routes = routesIn('docs/ai-and-mcp.md')
  expect(routes.map(({ path }) => path)).toEqual(['/api/llm/chat', '/api/mcp'])
  const { config } = createCoatcheck(configWith(routes), { env: { OPENAI_API_KEY: 'sk-1' } })
  expect(config.routes[0]?.token).toMatchObject({ kind: 'static', value: 'sk-1', header: 'authorization' })
})

test('the route of docs/upstreams.md can be copied', () => {
  const { cert, key } = selfSigned('localhost')
  const env = { ORDERS_CA: cert, ORDERS_CLIENT_CERT: cert, ORDERS_CLIENT_KEY: key }
  const { routes } = readConfig(configWith(routesIn('docs/upstreams.md')), env)
  expect(routes[0]?.tls).toEqual({ ca: cert, cert, key, serverName: 'orders.internal' })
})

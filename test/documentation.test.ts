import { generateKeyPairSync } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../src/config.ts'
import { readConfig } from '../src/config-reader.ts'
import { findingKinds } from '../src/doctor/kinds.ts'
import { createCoatcheck } from '../src/index.ts'
import { withheldFromPages } from '../src/upstream/headers.ts'
import { selfSigned } from './support/certificate.ts'
import { sessionKey } from './support/coatcheck.ts'

const jsonIn = (file: string) =>
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
  const routes = jsonIn('docs/ai-and-mcp.md')
  expect(routes.map(({ path }) => path)).toEqual(['/api/llm/chat', '/api/mcp'])
  const { config } = createCoatcheck(configWith(routes), { env: { OPENAI_API_KEY: 'sk-1' } })
  expect(config.routes[0]?.token).toMatchObject({ kind: 'static', value: 'sk-1', header: 'authorization' })
})

test('the route of docs/upstreams.md can be copied', () => {
  const { cert, key } = selfSigned('localhost')
  const env = { ORDERS_CA: cert, ORDERS_CLIENT_CERT: cert, ORDERS_CLIENT_KEY: key }
  const { routes } = readConfig(configWith(jsonIn('docs/upstreams.md')), env)
  expect(routes[0]?.tls).toEqual({ ca: cert, cert, key, serverName: 'orders.internal' })
})

test('docs/upstreams.md has all headers that no page can send to an upstream', () => {
  const [, list = ''] = readFileSync('docs/upstreams.md', 'utf8').split('## Headers that no page can send')
  const [section = ''] = list.split('\n## ')
  const rows = [...section.matchAll(/^\| (.+) \| (`.+`) \|$/gm)]
  const documented = rows.map(([, what, names = '']) => [what, names.match(/[^`, ]+/g)])
  expect(documented).toEqual(Object.entries(withheldFromPages).map(([what, names]) => [what, names.split(/\s+/)]))
})

describe('docs/providers', () => {
  const pages = readdirSync('docs/providers').filter((file) => file !== 'README.md')
  const textOf = (page: string) => readFileSync(`docs/providers/${page}`, 'utf8')

  test.each(pages)('every configuration of %s can be copied', (page) => {
    const documents = jsonIn(`docs/providers/${page}`)
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

test('the providers of docs/providers.md can be copied', () => {
  const text = readFileSync('docs/providers.md', 'utf8')
  const blocks = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = '']) => JSON.parse(json))
  const [providers, documents] = [blocks.filter(({ id }) => id), blocks.filter(({ id }) => !id)]
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
  const [several] = documents.map((document) => readConfig(document, { ...env, COATCHECK_KEY: sessionKey() }))
  expect(several?.providers.map(({ publicUrls = [] }) => publicUrls.length)).toEqual([0, 1, 2])
})

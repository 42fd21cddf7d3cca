// From a document to a configuration: environment references, every mistake with its path, nothing half-read.
import type { core } from 'zod'
import { type Config, configSchema } from './config.ts'
import { addressContradictions } from './config-address.ts'
import { bearerContradictions } from './config-bearer.ts'
import { providerContradictions } from './config-profile.ts'

/** Every mistake of a configuration at once; `mistakes` are lines such as `routes[2].upstream: must be ...`. */
export class ConfigError extends Error {
  readonly mistakes: readonly string[]

  constructor(mistakes: readonly string[]) {
    super(
      `The configuration has ${mistakes.length} mistake${mistakes.length === 1 ? '' : 's'}:\n${mistakes.map((line) => `  ${line}`).join('\n')}`,
    )
    this.name = 'ConfigError'
    this.mistakes = mistakes
  }
}

/**
 * Reads a configuration document. `${NAME}` inside any string is replaced from `env`.
 *
 * @throws ConfigError naming every mistake, without any value: values may be secrets.
 */
export function readConfig(document: unknown, env: Record<string, unknown> = {}): Config {
  const mistakes = new Map<string, string>()
  const expanded = expand(document, '', env, mistakes)
  if (!isPlainObject(expanded)) throw new ConfigError(['must be one JSON object'])
  const parsed = configSchema.safeParse(expanded)
  for (const issue of parsed.error?.issues ?? [])
    for (const [at, what] of explain(issue, expanded)) note(mistakes, at, what)
  for (const [at, what] of contradictions(expanded)) note(mistakes, at, what)
  if (mistakes.size > 0 || !parsed.success)
    throw new ConfigError([...mistakes].map(([at, what]) => (at ? `${at}: ${what}` : what)))
  return parsed.data
}

type PlatformName = 'Node' | 'Cloudflare Workers' | 'createCoatcheck() without a platform'

/** The stores that each platform has, what TLS settings may consist of there (of routes, and of clients), and whether connections can be switched. */
interface PlatformAbilities {
  stores: readonly string[]
  tls: readonly string[]
  webSockets: boolean
}

const platforms: Record<PlatformName, PlatformAbilities> = {
  Node: { stores: ['memory', 'sqlite', 'redis'], tls: ['ca', 'cert', 'key', 'serverName'], webSockets: true },
  'Cloudflare Workers': { stores: ['memory', 'durable-object'], tls: ['binding'], webSockets: true },
  'createCoatcheck() without a platform': { stores: ['memory'], tls: [], webSockets: false },
}

/** @throws ConfigError naming every setting that `platform` cannot do: stores, WebSockets, TLS to upstreams, client certificates */
export function requirePlatform({ store, routes, providers }: Config, platform: PlatformName): void {
  const { stores, tls, webSockets } = platforms[platform]
  const mistakes: string[] = []
  if (!stores.includes(store.type)) {
    mistakes.push(`store.type: ${platform} has no ${store.type}, only ${stores.join(', ')}`)
  }
  for (const [index, route] of routes.entries()) {
    if (route.websocket && !webSockets) mistakes.push(`routes[${index}].websocket: ${platform} has no WebSockets`)
    for (const setting in route.tls) {
      if (tls.includes(setting)) continue
      const instead = tls.length === 0 ? '' : `, only ${tls.join(', ')}`
      mistakes.push(`routes[${index}].tls.${setting}: ${platform} has no ${setting} for upstreams${instead}`)
    }
  }
  for (const [index, { clientAuth }] of providers.entries()) {
    if (clientAuth.method !== 'tls_client_auth' && clientAuth.method !== 'self_signed_tls_client_auth') continue
    const possible = certificateSettings.filter((name) => tls.includes(name))
    const instead = possible.length === 0 ? '' : `, only ${possible.join(', ')}`
    for (const name of certificateSettings) {
      if (clientAuth[name] === undefined || possible.includes(name)) continue
      mistakes.push(`providers[${index}].clientAuth.${name}: ${platform} has no ${name} for clients${instead}`)
    }
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes)
}

const certificateSettings = ['cert', 'key', 'binding'] as const

function note(mistakes: Map<string, string>, at: string, what: string): void {
  if (!mistakes.has(at)) mistakes.set(at, what)
}

function expand(value: unknown, at: string, env: Record<string, unknown>, mistakes: Map<string, string>): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
      const found = Object.hasOwn(env, name) ? env[name] : undefined
      if (typeof found === 'string' && found !== '') return found
      const problem = found === '' ? 'is empty' : 'is not set'
      note(
        mistakes,
        at,
        /^\w+$/.test(name) ? `environment variable ${name} ${problem}` : 'must name a variable as ${NAME}',
      )
      return ''
    })
  }
  if (Array.isArray(value)) return value.map((item, index) => expand(item, `${at}[${index}]`, env, mistakes))
  if (isPlainObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, expand(item, join(at, key), env, mistakes)]),
    )
  }
  return value
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

function join(at: string, key: PropertyKey): string {
  if (typeof key === 'number') return `${at}[${key}]`
  return at ? `${at}.${String(key)}` : String(key)
}

function explain(issue: core.$ZodIssue, document: unknown): [string, string][] {
  const at = issue.path.reduce<string>(join, '')
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => [join(at, key), 'is not a setting'])
    case 'invalid_type':
      if (valueAt(document, issue.path) === undefined) return [[at, 'is required']]
      return [[at, issue.message.startsWith('Invalid') ? `must be ${article(issue.expected)}` : issue.message]]
    case 'invalid_value':
      return [
        [
          at,
          issue.message.startsWith('Invalid')
            ? `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`
            : issue.message,
        ],
      ]
    case 'too_small':
      return [[at, issue.message.startsWith('Too') ? `must be at least ${issue.minimum}` : issue.message]]
    case 'too_big':
      return [[at, issue.message.startsWith('Too') ? `must be at most ${issue.maximum}` : issue.message]]
    case 'invalid_union': {
      // A word or an object: what is wrong with an object that was meant as one is what there is to say.
      const inside = isPlainObject(valueAt(document, issue.path)) ? (issue.errors.at(-1) ?? []) : []
      if (inside.length === 0) return [[at, issue.message]]
      return inside.flatMap((one) =>
        explain({ ...one, path: [...issue.path, ...one.path] } as core.$ZodIssue, document),
      )
    }
    default:
      return [[at, issue.message]]
  }
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key],
    document,
  )
}

function article(expected: string): string {
  return /^[aeio]/.test(expected) ? `an ${expected}` : `a ${expected}`
}

function listAt(document: Record<string, unknown>, name: string): readonly unknown[] {
  const items = document[name]
  return Array.isArray(items) ? items : []
}

type Listen = { port?: unknown } | null

/** Mistakes that only show when two settings are held side by side. Reads the document itself, so it always speaks. */
function contradictions(document: Record<string, unknown>): [string, string][] {
  const found: [string, string][] = []
  const repeated = (list: 'providers' | 'routes', key: string, what: string) => {
    const seen = new Map<string, number>()
    for (const [index, item] of listAt(document, list).entries()) {
      const value = (item as Record<string, unknown> | null)?.[key]
      if (typeof value !== 'string') continue
      const first = seen.get(value)
      if (first === undefined) seen.set(value, index)
      else found.push([`${list}[${index}].${key}`, `${what} ${list}[${first}]`])
    }
  }
  repeated('providers', 'id', 'must not be the id of')
  repeated('providers', 'issuer', 'must not be the issuer of')
  repeated('routes', 'path', 'must not be the path of')
  found.push(...providerContradictions(listAt(document, 'providers'), document.publicUrl))
  found.push(...addressContradictions(document.publicUrl, listAt(document, 'providers')))
  const ids = listAt(document, 'providers').map((item) => (item as { id?: unknown } | null)?.id)
  for (const [index, item] of listAt(document, 'routes').entries()) {
    const { provider } = ((item as Record<string, unknown> | null)?.token ?? {}) as { provider?: unknown }
    if (typeof provider === 'string' && !ids.includes(provider)) {
      found.push([`routes[${index}].token.provider`, 'must be the id of one of providers'])
    }
  }
  const providers = listAt(document, 'providers') as { id?: unknown; clientId?: unknown }[]
  for (const [index, route] of listAt(document, 'routes').entries()) {
    for (const [at, what] of bearerContradictions(route, providers)) found.push([`routes[${index}].${at}`, what])
  }
  const { listen, admin } = document as { listen?: Listen; admin?: { listen?: Listen } | null }
  const port = String(listen?.port ?? 3000)
  if (admin && port !== '0' && port === String(admin.listen?.port ?? 3001)) {
    found.push(['admin.listen.port', 'must not be the port of listen'])
  }
  return found
}

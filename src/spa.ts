// The single-page application itself: its files, and its start page for every path that the router in it knows.
import type { Context } from 'hono'
import { strictTransport } from './answers.ts'
import type { Config } from './config.ts'
import { CoatcheckError } from './errors.ts'
import { type Exchange, type HeaderList, headerText, type Platform } from './platform.ts'

export type Spa = (c: Context, path: string, exchange: Exchange) => Promise<Response>

/** Directives that a document of ours always has, whatever `spa.csp` says besides. */
const always = { 'object-src': "'none'", 'base-uri': "'self'", 'frame-ancestors': "'none'" }

export function createSpa(config: Pick<Config, 'spa' | 'publicUrl'>, platform: Pick<Platform, 'asset'>): Spa {
  const { spa } = config
  const asset = platform.asset?.bind(platform)
  if (!spa || !asset) {
    return async () => {
      throw new CoatcheckError('not_found', 'no_such_path')
    }
  }
  const named = spa.csp.split(';').map((directive) => directive.trim().split(' ')[0])
  const added = Object.entries(always).filter(([name]) => !named.includes(name))
  const secure = config.publicUrl.startsWith('https:')
  const documentHeaders: HeaderList = [
    ...['content-security-policy', [spa.csp, ...added.map((directive) => directive.join(' '))].join('; ')],
    ...['x-content-type-options', 'nosniff'],
    ...['referrer-policy', 'same-origin'],
    // Windows that the application opens, such as that of a sign-in, stay known to it.
    ...['cross-origin-opener-policy', 'same-origin-allow-popups'],
    ...['cross-origin-resource-policy', 'same-origin'],
    ...(secure ? strictTransport : []),
  ]
  const always304 = [...documentHeaders, 'cache-control', 'no-cache']
  const forGood = [...documentHeaders, 'cache-control', 'public, max-age=31536000, immutable']
  const startPage = `/${spa.fallback}`

  return async (c, path, { method, headers }) => {
    if (method === 'GET' || method === 'HEAD') {
      const isImmutable = spa.immutable.some((prefix) => path.startsWith(prefix))
      const file = path === '/' ? undefined : await asset(c, path, isImmutable ? forGood : always304)
      if (file) return file
      const isNavigation = path === '/' || (headerText(headers, 'accept') ?? '').includes('text/html')
      const start = isNavigation ? await asset(c, startPage, always304) : undefined
      if (start) return start
    }
    throw new CoatcheckError('not_found', 'no_such_path')
  }
}

// A platform of nothing but web standards: what `createCoatcheck` uses where no runtime says otherwise.
import type { Context } from 'hono'
import type { Config } from './config.ts'
import { requirePlatform } from './config-reader.ts'
import { CoatcheckError } from './errors.ts'
import { isLogged, logLine } from './observability.ts'
import type { Exchange, HeaderRecord, Platform } from './platform.ts'
import { memoryStore } from './stores/memory.ts'
import { fetchTransport } from './upstream/fetch.ts'

/** The runtime's `fetch`, a store in memory, events as JSON lines on the console. */
export function webPlatform(config: Config): Platform {
  requirePlatform(config, 'createCoatcheck() without a platform')
  const now = Date.now
  return {
    now,
    fetch: (url, init) => fetch(url, init as RequestInit),
    transport: fetchTransport((request) => {
      // Some runtimes decode what comes and leave the headers that say it is encoded.
      request.headers.set('accept-encoding', 'identity')
      return fetch(request)
    }),
    store: memoryStore(now),
    log: (event) => {
      if (isLogged(event, config.log.level)) console.log(JSON.stringify(logLine(event, now())))
    },
    waitUntil: () => {},
    exchange: webExchange,
  }
}

/** A request as the Fetch standard has it. The address of its sender is not part of that. */
export function webExchange(c: Context, peer?: string): Exchange {
  const { raw } = c.req
  const headers: Record<string, string> = {}
  for (const [name, value] of raw.headers) headers[name] = value
  return {
    method: raw.method,
    target: raw.url.slice(raw.url.indexOf('/', raw.url.indexOf('//') + 2)),
    peer,
    hasBody: raw.body !== null && headers['content-length'] !== '0',
    isUpgrade: raw.method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket',
    headers: headers satisfies HeaderRecord,
    hasMore: () => false,
    readBody: (patience) => bodyOf(raw, patience),
    source: raw,
  }
}

/** All of a body that is known to be short. */
async function bodyOf({ body }: Request, patience: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body?.getReader()
  const pieces: Uint8Array<ArrayBuffer>[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    for (;;) {
      const silence = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new CoatcheckError('bad_request', 'client_stalled')), patience)
      })
      const piece = await Promise.race([reader?.read(), silence])
      clearTimeout(timer)
      if (piece === undefined || piece.done) return joined(pieces)
      pieces.push(piece.value)
    }
  } catch (error) {
    if (error instanceof CoatcheckError) throw error
    throw new CoatcheckError('bad_request', 'client_gone', {}, error)
  } finally {
    clearTimeout(timer)
  }
}

function joined(pieces: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const [only, ...more] = pieces
  if (only && more.length === 0) return only
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

// Several public addresses behind one listener: each request is answered by the application of the address it came to.
import { type Context, Hono } from 'hono'
import type { Coatcheck } from './app.ts'
import type { Exchange, Platform } from './platform.ts'

/**
 * One application made of those of all addresses. `Host` alone says which of them a request is for; what has any other
 * host, such as a health check by address, is for the main one.
 *
 * @param main where there is no other there is nothing to choose: it is returned as it is.
 */
export function byHost(main: Coatcheck, others: readonly Coatcheck[], { exchange }: Platform): Coatcheck {
  if (others.length === 0) return main
  const all = [main, ...others]
  const byAuthority = new Map(all.map((one) => [new URL(one.config.publicUrl).host, one]))
  const defaultPort = main.config.publicUrl.startsWith('https:') ? /:443$/ : /:80$/

  function at(host: Exchange['headers'][string]): Coatcheck {
    if (typeof host !== 'string') return main
    return byAuthority.get(host) ?? byAuthority.get(host.toLowerCase().replace(defaultPort, '')) ?? main
  }

  const app = new Hono()
  app.all('*', (c) => {
    // Where the runtime keeps the host out of the headers it is in the URL, and nowhere else.
    const host = exchange(c).headers.host ?? new URL(c.req.url).host
    return at(host).fetch(c.req.raw, c.env, executionOf(c))
  })
  return Object.assign(app, {
    config: main.config,
    warmUp: main.warmUp,
    notReady: main.notReady,
    forward: (request: Exchange) => at(request.headers.host).forward(request),
    hasWebSockets: main.hasWebSockets,
    reloadKeys(keys: Parameters<Coatcheck['reloadKeys']>[0]) {
      for (const one of all) one.reloadKeys(keys)
    },
  })
}

/** Hono throws where the runtime has none. */
function executionOf(c: Context): Context['executionCtx'] | undefined {
  try {
    return c.executionCtx
  } catch {
    return undefined
  }
}

// A request as Node has it, before it becomes anything else.
import type { HttpBindings } from '@hono/node-server'
import type { Exchange } from './platform.ts'

/** A request as Node's parser left it. */
export function nodeExchange(source: HttpBindings): Exchange {
  const { method = 'GET', url = '/', headers, socket } = source.incoming
  const length = headers['content-length']
  return {
    method,
    target: url,
    // A request that was destroyed has no socket any more, whatever its type says.
    peer: (socket as typeof socket | null)?.remoteAddress,
    hasBody: (length !== undefined && length !== '0') || headers['transfer-encoding'] !== undefined,
    headers,
    source,
  }
}

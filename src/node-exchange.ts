// A request as Node has it, before it becomes anything else.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { CoatcheckError } from './errors.ts'
import type { Exchange } from './platform.ts'
import type { Reason } from './reasons.ts'

const upgrades = new WeakSet<IncomingMessage>()

/** Says of a request that its connection is free to become a WebSocket. */
export function markUpgrade(incoming: IncomingMessage): void {
  upgrades.add(incoming)
}

/** A request as Node's parser left it. */
export function nodeExchange(source: HttpBindings): Exchange {
  const { method = 'GET', url = '/', headers, socket } = source.incoming
  return {
    method,
    target: url,
    // A request that was destroyed has no socket any more, whatever its type says.
    peer: (socket as typeof socket | null)?.remoteAddress,
    hasBody: hasBody(source.incoming),
    isUpgrade: headers.upgrade !== undefined && upgrades.has(source.incoming),
    headers,
    hasMore: (name) => timesSent(source.incoming, name) > 1,
    readBody: (patience) => bodyOf(source, patience),
    source,
  }
}

/** Whether a request has a body. */
export function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return (length !== undefined && length !== '0') || headers['transfer-encoding'] !== undefined
}

/** What Node takes for that question. It would close the connection behind an answer to one that was not answered. */
const expectation = /(?:^|\W)100-continue(?:$|\W)/i

/** Tells whoever asked before sending a body to go on (RFC 9110, section 10.1.1), because somebody is going to read it. */
export function answerExpectation(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (!expectation.test(incoming.headers.expect ?? '')) return
  // Once is enough, and for nobody else to see.
  delete incoming.headers.expect
  outgoing.writeContinue()
}

/** How often a header came. Node keeps the first of those that may come once, and says nothing of the others. */
export function timesSent({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>, name: string): number {
  let times = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const sent = rawHeaders[at]
    if (sent?.length === name.length && sent.toLowerCase() === name) times++
  }
  return times
}

/** All of a body that is known to be short. */
function bodyOf({ incoming, outgoing }: HttpBindings, patience: number): Promise<Uint8Array<ArrayBuffer>> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const fail = (reason: Reason) => settle(() => reject(new CoatcheckError('bad_request', reason)))
    const gone = () => fail('client_gone')
    const timer = setTimeout(() => fail('client_stalled'), patience)
    const settle = (then: () => void) => {
      clearTimeout(timer)
      incoming.off('data', onData).off('end', onEnd).off('close', gone)
      then()
    }
    const onData = (chunk: Buffer) => {
      timer.refresh()
      chunks.push(chunk)
    }
    const onEnd = () => settle(() => resolve(Buffer.concat(chunks)))
    answerExpectation(incoming, outgoing)
    incoming.on('data', onData).once('end', onEnd).once('close', gone)
    if (incoming.destroyed) gone()
  })
}

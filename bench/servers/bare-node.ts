// The floor: a correct forwarder with back-pressure and aborts, and nothing of a token handler in it.
import { createServer } from 'node:http'
import { type Dispatcher, Pool } from 'undici'
import { settings } from '../support/node-server.ts'

const { port, upstream, accessToken } = settings<'upstream' | 'accessToken'>()
const authorization = `Bearer ${accessToken}`

const withheld = new Set(
  'connection keep-alive proxy-connection te trailer transfer-encoding upgrade expect host cookie authorization'.split(
    ' ',
  ),
)

const pool = new Pool(upstream, { connections: 64, pipelining: 1, allowH2: false, bodyTimeout: 0 })

/** Header lists as undici and Node take them without copying: name, value, name, value. */
function forwarded(headers: Readonly<Record<string, string | string[] | undefined>>): string[] {
  const list: string[] = []
  for (const name in headers) {
    if (withheld.has(name)) continue
    const value = headers[name]
    if (typeof value === 'string') list.push(name, value)
    else for (const one of value ?? []) list.push(name, one)
  }
  return list
}

const server = createServer((incoming, outgoing) => {
  const { method = 'GET', url = '/', headers } = incoming
  if (!url.startsWith('/api/')) {
    outgoing.writeHead(404).end()
    return
  }
  let controller: Dispatcher.DispatchController | undefined
  const towardsUpstream = forwarded(headers)
  towardsUpstream.push('authorization', authorization)
  const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
  const onClose = () => {
    if (!outgoing.writableFinished) controller?.abort(new Error('The browser went away'))
  }
  outgoing.once('close', onClose)
  pool.dispatch(
    {
      path: url.slice('/api'.length),
      method: method as Dispatcher.HttpMethod,
      headers: towardsUpstream,
      body: hasBody ? incoming : null,
    },
    {
      onRequestStart(started) {
        controller = started
      },
      onResponseStart(_, status, answer) {
        if (status >= 200) outgoing.writeHead(status, forwarded(answer))
      },
      onResponseData(_, chunk) {
        if (outgoing.write(chunk)) return
        controller?.pause()
        outgoing.once('drain', () => controller?.resume())
      },
      onResponseEnd() {
        outgoing.off('close', onClose)
        outgoing.end()
      },
      onResponseError() {
        outgoing.off('close', onClose)
        if (outgoing.headersSent) outgoing.destroy()
        else outgoing.writeHead(502).end()
      },
    },
  )
})

server.listen(port, '127.0.0.1')

// An API that writes down what it gets, and answers what a test wants.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { bodyOf, listen, type TestServer } from './http-server.ts'

export interface UpstreamRequest {
  readonly method: string
  /** The request target exactly as it came. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: string[]
  readonly body: Buffer
}

export interface Upstream extends TestServer {
  readonly requests: UpstreamRequest[]
  last(): UpstreamRequest
  /** Answers from the next request on. Default: 200 with JSON that echoes method and target. */
  answer: (request: IncomingMessage, response: ServerResponse) => void
  /** Whether the body is read before `answer` is called. `false` leaves it, and the recorded one is empty. */
  readsBody: boolean
}

export async function startUpstream(): Promise<Upstream> {
  const requests: UpstreamRequest[] = []
  const server = await listen(async (request, response) => {
    const { method = '', url = '', headers, rawHeaders } = request
    if (!upstream.readsBody) {
      requests.push({ method, target: url, headers, rawHeaders, body: Buffer.alloc(0) })
      return upstream.answer(request, response)
    }
    const body = await bodyOf(request).catch(() => Buffer.from('broken off'))
    requests.push({ method, target: url, headers, rawHeaders, body })
    upstream.answer(request, response)
  })
  const upstream: Upstream = {
    ...server,
    requests,
    readsBody: true,
    last() {
      const last = requests.at(-1)
      if (!last) throw new Error('The upstream was not called')
      return last
    },
    answer(request, response) {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ method: request.method, target: request.url }))
    },
  }
  return upstream
}

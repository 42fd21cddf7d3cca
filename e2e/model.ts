// The API of a language model, whose answers a test writes letter by letter.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { type LoopbackServer, listen } from '../web-demo/ports.ts'

/** One question under way. */
export interface Question {
  readonly headers: IncomingHttpHeaders
  /** The JSON that came with it, if any did. */
  readonly body: unknown
  /** Sends the next event. */
  say(data: string): void
  end(): void
  /** Whether somebody still listens. */
  isOpen: boolean
}

export interface Model extends LoopbackServer {
  readonly questions: readonly Question[]
}

export async function startModel(): Promise<Model> {
  const questions: Question[] = []
  const server = await listen(0, async (request, response) => {
    const body = request.method === 'POST' ? await json(request) : undefined
    const question = questionOf(request.headers, body, response)
    response.on('close', () => (question.isOpen = false))
    questions.push(question)
  })
  return { ...server, questions }
}

function questionOf(headers: IncomingHttpHeaders, body: unknown, response: ServerResponse): Question {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  response.flushHeaders()
  const say = (data: string) => void response.write(`data: ${data}\n\n`)
  return { headers, body, say, end: () => void response.end(), isOpen: true }
}

// A page that talks to a language model and to an MCP server through coatcheck, as any page would: no token, no key.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import {
  StreamableHTTPClientTransport,
  type StreamableHTTPClientTransportOptions,
} from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import type { jsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/types.js'
import { createClient } from '../../src/client.ts'

declare global {
  /** What the tests take hold of. */
  var assistant: ReturnType<typeof createAssistant>
}

function createAssistant() {
  const signedOut: string[] = []
  const coatcheck = createClient({ onSignedOut: ({ code }) => signedOut.push(code) })
  return { coatcheck, signedOut, connect, chat, listen }

  /** Opens an MCP session. @throws what the SDK throws */
  async function connect(options: StreamableHTTPClientTransportOptions & { compilesSchemas?: boolean } = {}) {
    const { compilesSchemas = false, ...rest } = options
    const transport = new StreamableHTTPClientTransport(new URL('/api/mcp', location.origin), {
      fetch: coatcheck.fetch,
      ...rest,
    })
    const client = new Client(
      { name: 'assistant', version: '1.0.0' },
      // The SDK's own validator compiles schemas with `new Function`, which the Content-Security-Policy forbids.
      compilesSchemas ? {} : { jsonSchemaValidator: trusting },
    )
    const messages: unknown[] = []
    const errors: string[] = []
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void messages.push(params.data))
    client.onerror = (error) => errors.push(error.message)
    await client.connect(transport)
    return { client, transport, messages, errors }
  }

  /** Asks the model, and shows the answer in the page as it arrives. Resolves when it is complete. */
  function chat(content: string) {
    const giveUp = new AbortController()
    const shown = document.createElement('p')
    document.querySelector('main')?.append(shown)
    return { done: read(), abort: () => giveUp.abort() }

    async function read(): Promise<'complete'> {
      const answer = await coatcheck.fetch('/api/llm/chat/completions', {
        method: 'POST',
        // As the libraries of such APIs do, which cannot be told that they need no key.
        headers: { 'content-type': 'application/json', authorization: 'Bearer none' },
        body: JSON.stringify({ model: 'small', stream: true, messages: [{ role: 'user', content }] }),
        signal: giveUp.signal,
      })
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const { done = true, value = '' } = (await reader?.read()) ?? {}
        const events = (rest + value).split('\n\n')
        rest = events.pop() ?? ''
        for (const event of events) {
          const data = event.replace(/^data: /, '')
          if (data === '[DONE]') return 'complete'
          shown.append(JSON.parse(data).choices[0].delta.content)
        }
        if (done) throw new Error('The answer broke off')
      }
    }
  }

  /** The same over GET, as EventSource has it: shows what arrives, and the state of the connection. */
  function listen() {
    const shown = document.createElement('p')
    document.querySelector('main')?.append(shown)
    const source = new EventSource('/api/llm/events')
    source.onmessage = ({ data }) => shown.append(data)
    return source
  }
}

const trusting: jsonSchemaValidator = {
  getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }),
}

globalThis.assistant = createAssistant()
const { coatcheck } = assistant
document.querySelector('#sign-in')?.addEventListener('click', () => coatcheck.login())
document.querySelector('#sign-out')?.addEventListener('click', () => void coatcheck.logout())
const info = await coatcheck.session()
document.querySelector(info.authenticated ? '#sign-in' : '#sign-out')?.remove()

// Listens to everything that the scripts of this page receive, so that the page can show it and look for tokens in it.

/** One request and what came back. Grows while the answer is still arriving. */
export interface Recording {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  body: string
}

/** `fetch`, recorded. @param onChange called whenever something was received. */
export function recordedFetch(onChange: (recording: Recording) => void): typeof fetch {
  async function readAll(recording: Recording, answer: Response): Promise<void> {
    const decoder = new TextDecoder()
    const reader = answer.body?.getReader()
    for (;;) {
      const chunk = await reader?.read()
      if (chunk === undefined || chunk.done) return
      recording.body += decoder.decode(chunk.value, { stream: true })
      onChange(recording)
    }
  }

  return async (input, init) => {
    const answer = await fetch(input, init)
    const { pathname, search } = new URL(answer.url)
    const recording: Recording = {
      method: init?.method ?? 'GET',
      path: pathname + search,
      status: answer.status,
      headers: [...answer.headers],
      body: '',
    }
    onChange(recording)
    // A stream that is cut off has been recorded as far as it came.
    readAll(recording, answer.clone()).catch(() => {})
    return answer
  }
}

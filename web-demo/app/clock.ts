// A clock that the API sends as server-sent events, one a second, through coatcheck.
import { element } from './element.ts'
import { complaint } from './orders.ts'

/** How many events are listed. */
const listed = 4

import type { PageContext, Part } from './page.ts'

export function clockPanel({ session }: PageContext): Part {
  let running: AbortController | undefined
  let ticks = 0
  const face = element('time', { class: 'clock' }, '--:--:--')
  const told = element('p', { class: 'soft', role: 'status' }, 'The stream is closed')
  const count = element('span', { class: 'soft' }, '0 events')
  const arrivals = element('ol', { class: 'tokens', 'aria-label': 'Latest events' })
  const toggle = element(
    'button',
    { 'aria-pressed': 'false', onclick: () => (running ? stop() : void start()) },
    'Start the clock',
  )

  async function start(): Promise<void> {
    const own = new AbortController()
    running = own
    show('Stop the clock', true, 'The stream is open')
    const answer = await session.client
      .fetch('/api/clock', { signal: own.signal, headers: { accept: 'text/event-stream' } })
      .catch(() => undefined)
    const problem = answer?.ok ? undefined : await complaint(answer)
    if (answer?.ok) await follow(answer).catch(() => {})
    if (running === own) stop(problem ?? 'The server closed the stream')
  }

  async function follow(answer: Response): Promise<void> {
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    for (;;) {
      const chunk = await reader?.read()
      if (chunk === undefined || chunk.done) return
      const events = (text + chunk.value).split('\n\n')
      text = events.pop() ?? ''
      for (const event of events) tick(/^data: (.+)$/m.exec(event)?.[1])
    }
  }

  function tick(time: string | undefined): void {
    if (time === undefined) return
    ticks++
    face.dateTime = time
    face.textContent = new Date(time).toLocaleTimeString([], { hour12: false })
    const delay = Math.max(0, Date.now() - Date.parse(time))
    arrivals.prepend(element('li', {}, element('code', {}, `tick ${ticks}`), ` here ${delay} ms after it was sent`))
    while (arrivals.children.length > listed) arrivals.lastElementChild?.remove()
    count.textContent = `${ticks} ${ticks === 1 ? 'event' : 'events'}`
  }

  function stop(why = 'The stream is closed'): void {
    running?.abort()
    running = undefined
    show('Start the clock', false, why)
  }

  function show(label: string, pressed: boolean, status: string): void {
    toggle.textContent = label
    toggle.setAttribute('aria-pressed', String(pressed))
    told.textContent = status
  }

  const node = element(
    'section',
    { class: 'panel', 'aria-labelledby': 'clock-title' },
    element('h2', { id: 'clock-title' }, 'A stream'),
    element('p', { class: 'soft' }, 'Server-sent events arrive as they are sent.'),
    element('p', { class: 'figure' }, face),
    element('div', { class: 'row' }, told, count),
    arrivals,
    element('div', { class: 'actions' }, toggle),
  )
  return { node, stop: () => stop() }
}

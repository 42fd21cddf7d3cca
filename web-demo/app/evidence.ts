// What the browser can see: everything its scripts received or could read, and whether there is a token in it.
import { element } from './element.ts'
import type { Recording } from './recorder.ts'
import { findTokens } from './scan.ts'

/** How many requests are listed, and how much of a body is shown. */
const listed = 40
const shownBody = 2_000

export interface Evidence {
  readonly node: HTMLElement
  /** Looks again, after something was received. */
  update(recording: Recording): void
}

export function evidence(): Evidence {
  const looked = new Map<Recording, { findings: readonly string[]; bytes: number }>()
  const rows = new Map<Recording, Row>()
  const verdict = element('p', { class: 'verdict', id: 'verdict' })
  const places = {
    'document.cookie': element('code'),
    localStorage: element('code'),
    sessionStorage: element('code'),
  }
  const log = element('div', { class: 'log' })

  function update(recording: Recording): void {
    const text = textOf(recording)
    looked.set(recording, { findings: findTokens(text), bytes: text.length })
    const row = rows.get(recording) ?? createRow(recording)
    rows.set(recording, row)
    row.update()
    if (!row.node.isConnected) log.prepend(row.node)
    while (log.children.length > listed) log.lastElementChild?.remove()
    look()
  }

  function look(): void {
    const readable = {
      'document.cookie': document.cookie,
      localStorage: contentsOf(localStorage),
      sessionStorage: contentsOf(sessionStorage),
    }
    for (const [name, text] of Object.entries(readable)) {
      places[name as keyof typeof places].textContent = text === '' ? 'empty' : text
    }
    const all = [...looked.values()]
    const findings = [...all.flatMap((one) => one.findings), ...findTokens(Object.values(readable).join('\n'))]
    const bytes = all.reduce((sum, one) => sum + one.bytes, 0)
    const where = `${all.length} ${all.length === 1 ? 'response' : 'responses'}, ${(bytes / 1_024).toFixed(1)} KB of headers and bodies`
    verdict.textContent =
      findings.length === 0 ? `No token found in ${where}.` : `Found ${findings.join(', ')} in ${where}.`
    verdict.classList.toggle('bad', findings.length > 0)
  }

  const timer = setInterval(look, 2_000)
  addEventListener('pagehide', () => clearInterval(timer))
  return {
    node: element(
      'div',
      { class: 'panel wide' },
      element('h2', { id: 'evidence-title' }, 'What the browser can see'),
      element(
        'p',
        { class: 'soft' },
        'Everything that scripts of this page can read, and every answer they got. The browser also holds sealed cookies, which no script can read.',
      ),
      verdict,
      element(
        'dl',
        { class: 'places' },
        ...Object.entries(places).map(([name, value]) =>
          element('div', {}, element('dt', {}, element('code', {}, name)), element('dd', {}, value)),
        ),
      ),
      element('h3', {}, 'Responses, newest first'),
      log,
    ),
    update,
  }
}

interface Row {
  readonly node: HTMLElement
  update(): void
}

function createRow(recording: Recording): Row {
  const { method, path, status, headers } = recording
  const size = element('span', { class: 'size' })
  const body = element('pre')
  const node = element(
    'details',
    {},
    element(
      'summary',
      {},
      element('span', { class: 'method' }, method),
      element('span', { class: 'path' }, path),
      element('span', { class: status < 400 ? 'good' : 'bad' }, String(status)),
      size,
    ),
    element('pre', {}, headers.map(([name, value]) => `${name}: ${value}`).join('\n')),
    body,
  )
  return {
    node,
    update() {
      const { length } = recording.body
      size.textContent = `${length} B`
      body.textContent = length > shownBody ? `... ${recording.body.slice(-shownBody)}` : recording.body
    },
  }
}

function textOf({ headers, body }: Recording): string {
  return `${headers.map(([name, value]) => `${name}: ${value}`).join('\n')}\n\n${body}`
}

function contentsOf(storage: Storage): string {
  return Object.entries({ ...storage })
    .map(([name, value]) => `${name}=${value}`)
    .join('; ')
}

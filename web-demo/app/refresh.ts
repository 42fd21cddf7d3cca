// Watches the access token from the outside: the API tells when it was issued and what it is called, never what it is.
import { element } from './element.ts'
import type { PageContext, Part } from './page.ts'

/** How often the API is asked. Milliseconds. */
const interval = 2_000
/** How many tokens are listed. */
const listed = 5

/** What `GET /api/whoami` says of the token that coatcheck attached. Times are seconds since 1970. */
interface TokenFacts {
  iat: number
  exp: number
  jti: string
}

export function refreshPanel({ session }: PageContext): Part {
  let timer: ReturnType<typeof setInterval> | undefined
  let ticker: ReturnType<typeof setInterval> | undefined
  let token: TokenFacts | undefined
  let replaced = 0

  const count = element('strong', { id: 'replaced' }, '0')
  const age = element('progress', { max: 1, value: 0, 'aria-label': 'Age of the access token' })
  const left = element('span', { class: 'soft' }, 'Not watching')
  const seen = element('ol', { class: 'tokens', 'aria-label': 'Access tokens seen, newest first' })
  const spoken = element('p', { class: 'unseen', role: 'status' })
  const toggle = element(
    'button',
    { 'aria-pressed': 'false', onclick: () => (timer === undefined ? start() : stop()) },
    'Start watching',
  )

  async function look(): Promise<void> {
    const answer = await session.client.fetch('/api/whoami').catch(() => undefined)
    if (!answer?.ok || timer === undefined) return
    const next = (await answer.json()) as TokenFacts
    if (next.jti === token?.jti) return
    if (token !== undefined) {
      replaced++
      count.textContent = String(replaced)
      spoken.textContent = `The access token was replaced, ${replaced} so far`
    }
    token = next
    seen.prepend(
      element('li', {}, element('code', {}, next.jti.slice(0, 8)), ` from ${time(next.iat)} to ${time(next.exp)}`),
    )
    while (seen.children.length > listed) seen.lastElementChild?.remove()
  }

  function tick(): void {
    if (token === undefined) return
    const rest = token.exp - Date.now() / 1_000
    age.value = Math.min(1, Math.max(0, 1 - rest / (token.exp - token.iat)))
    left.textContent = rest > 0 ? `This one is good for ${Math.ceil(rest)} s` : 'This one is over'
  }

  function start(): void {
    timer = setInterval(look, interval)
    ticker = setInterval(tick, 250)
    toggle.textContent = 'Stop watching'
    toggle.setAttribute('aria-pressed', 'true')
    void look().then(tick)
  }

  function stop(): void {
    clearInterval(timer)
    clearInterval(ticker)
    timer = undefined
    toggle.textContent = 'Start watching'
    toggle.setAttribute('aria-pressed', 'false')
    left.textContent = 'Not watching'
  }

  const node = element(
    'section',
    { class: 'panel', 'aria-labelledby': 'refresh-title' },
    element('h2', { id: 'refresh-title' }, 'A silent refresh'),
    element(
      'p',
      { class: 'soft' },
      'The page asks the API every two seconds what it was shown. It never sees the token.',
    ),
    element('p', { class: 'figure' }, count, ' replaced'),
    age,
    left,
    seen,
    spoken,
    element('div', { class: 'actions' }, toggle),
  )
  return { node, stop }
}

function time(seconds: number): string {
  return new Date(seconds * 1_000).toLocaleTimeString([], { hour12: false })
}

// The ticket: who is signed in, and for how long.
import { element } from './element.ts'
import type { PageContext, Part } from './page.ts'
import type { SignedIn } from './session.ts'

export function ticketPanel({ session, info }: PageContext): Part {
  const { user, provider } = info
  const name = text(user.name) ?? 'Somebody'
  const idle = element('strong', { role: 'timer' })
  const absolute = element('strong', { role: 'timer' })
  let asking = false

  function tick(): void {
    const now = current() ?? info
    const left = (seconds: number) => Math.max(0, Math.round(seconds - (Date.now() - now.at) / 1_000))
    const idleLeft = left(now.session.expiresIn)
    const absoluteLeft = left(now.session.absoluteExpiresIn)
    idle.textContent = duration(idleLeft)
    absolute.textContent = duration(absoluteLeft)
    // The server counts whole seconds too: it is asked until it says that the session is over.
    if (Math.min(idleLeft, absoluteLeft) > 0 || asking) return
    asking = true
    void session.ask().finally(() => {
      asking = false
    })
  }

  /** What was learned since this panel was made. */
  function current(): SignedIn | undefined {
    return session.state.kind === 'signed-in' ? session.state.info : undefined
  }

  const node = element(
    'section',
    { class: 'ticket', 'aria-labelledby': 'ticket-title' },
    element(
      'div',
      { class: 'holder' },
      portrait(name, text(user.picture)),
      element(
        'div',
        {},
        element('h2', { id: 'ticket-title' }, name),
        element('p', {}, text(user.email)),
        element('p', { class: 'soft' }, `signed in at ${provider}`),
      ),
    ),
    element(
      'dl',
      { class: 'facts' },
      element('div', {}, element('dt', {}, 'Idle time left'), element('dd', {}, idle)),
      element('div', {}, element('dt', {}, 'Total time left'), element('dd', {}, absolute)),
    ),
    element(
      'div',
      { class: 'stub' },
      element('span', { class: 'soft' }, 'Ticket'),
      element('code', {}, info.session.id.slice(0, 8)),
      element('button', { class: 'quiet', onclick: () => void session.extend() }, 'Keep alive'),
    ),
  )
  const timer = setInterval(tick, 1_000)
  tick()
  return { node, stop: () => clearInterval(timer) }
}

/** The picture if this origin serves it (the Content-Security-Policy allows no other), else initials. */
function portrait(name: string, picture: string | undefined): HTMLElement {
  const isOwn = picture !== undefined && URL.canParse(picture) && new URL(picture).origin === location.origin
  if (isOwn) return element('img', { class: 'portrait', src: picture, alt: '', width: 72, height: 72 })
  const initials = name.split(' ').map((part) => part.charAt(0))
  return element('span', { class: 'portrait', 'aria-hidden': 'true' }, initials.slice(0, 2).join('').toUpperCase())
}

function text(claim: unknown): string | undefined {
  return typeof claim === 'string' ? claim : undefined
}

function duration(seconds: number): string {
  const [hours, minutes, rest] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60]
  const two = (value: number) => String(value).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

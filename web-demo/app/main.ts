// The application of the demo: which page, for whom.
import { element } from './element.ts'
import { evidence } from './evidence.ts'
import { newOrderPage } from './new-order.ts'
import { ordersPage } from './orders.ts'
import { overviewPage } from './overview.ts'
import type { PageContext, Part } from './page.ts'
import { recordedFetch } from './recorder.ts'
import { type State, watchSession } from './session.ts'
import { signedOutPage } from './signed-out.ts'

const titles: Record<string, string> = {
  '/': 'Overview',
  '/orders': 'Orders',
  '/orders/new': 'New order',
}

const pages: Record<string, (context: PageContext) => Part> = {
  '/': overviewPage,
  '/orders': ordersPage,
  '/orders/new': newOrderPage,
}

const find = <Type extends HTMLElement>(selector: string) => document.querySelector<Type>(selector) as Type
const main = find('main')
const nav = find('nav')
const signOut = find<HTMLButtonElement>('#sign-out')
const proof = find('#evidence')

const seen = evidence()
proof.append(seen.node)
const session = watchSession(recordedFetch(seen.update), show)

let shown: { key: string; part: Part } | undefined

/** Shows the page for the address and the state; leaves it alone if it is there already. */
function show(state: State, moved = false): void {
  const { pathname } = location
  const who = state.kind === 'signed-in' ? state.info.session.id : ''
  const key = `${state.kind} ${who} ${pathname}`
  const isIn = state.kind === 'signed-in'
  nav.hidden = signOut.hidden = proof.hidden = !isIn
  for (const link of nav.querySelectorAll('a')) {
    if (link.pathname === pathname) link.setAttribute('aria-current', 'page')
    else if (link.pathname !== '/' && pathname.startsWith(`${link.pathname}/`))
      link.setAttribute('aria-current', 'true')
    else link.removeAttribute('aria-current')
  }
  if (shown?.key === key) return
  shown?.part.stop?.()
  const part = partFor(state, pathname)
  shown = { key, part }
  main.replaceChildren(part.node)
  document.title = `${isIn ? (titles[pathname] ?? 'Not found') : 'Welcome'} - Coatcheck demo`
  if (moved) main.focus()
}

function partFor(state: State, pathname: string): Part {
  switch (state.kind) {
    case 'asking':
      return { node: element('p', { class: 'notice' }, 'One moment.') }
    case 'unreachable':
      return {
        node: element(
          'div',
          { class: 'notice', role: 'alert' },
          element('p', {}, 'The server does not answer.'),
          element('button', { onclick: () => void session.ask() }, 'Try again'),
        ),
      }
    case 'signed-out':
      return signedOutPage({ notice: state.notice, signIn: () => session.client.login() })
    case 'signed-in':
      return (pages[pathname] ?? notFoundPage)({ session, info: state.info, go })
  }
}

function notFoundPage(): Part {
  return {
    node: element(
      'div',
      { class: 'notice' },
      element('h1', {}, 'There is no such page'),
      element('a', { href: '/' }, 'Go to the overview'),
    ),
  }
}

function go(path: string): void {
  history.pushState(null, '', path)
  show(session.state, true)
}

document.addEventListener('click', (event) => {
  const link = event.target instanceof Element ? event.target.closest('a') : null
  const { button, ctrlKey, metaKey, shiftKey, altKey, defaultPrevented } = event
  if (!link || button !== 0 || ctrlKey || metaKey || shiftKey || altKey || defaultPrevented) return
  if (link.origin !== location.origin || link.getAttribute('href')?.startsWith('#')) return
  event.preventDefault()
  go(link.pathname + link.search + link.hash)
})
addEventListener('popstate', () => show(session.state, true))

signOut.addEventListener('click', async () => {
  signOut.disabled = true
  signOut.textContent = 'Signing out'
  await session.signOut().catch(() => {
    signOut.disabled = false
    signOut.textContent = 'Sign out'
  })
})

show(session.state)
await session.ask()

// Orders: the API that the demo calls.
import type { Problem } from '../../src/client.ts'
import { element } from './element.ts'
import type { PageContext, Part } from './page.ts'

interface Order {
  id: number
  item: string
  note: string
  /** ISO 8601. */
  placedAt: string
}

/** Calls the API as a user would: with two buttons. */
export function ordersPanel({ session, go }: PageContext): Part {
  const list = orderList(session)
  const node = element(
    'section',
    { class: 'panel', 'aria-labelledby': 'orders-title' },
    element('h2', { id: 'orders-title' }, 'Call the API'),
    element('p', { class: 'soft' }, 'Same-origin calls to /api; coatcheck attaches the access token.'),
    list.node,
    element(
      'div',
      { class: 'actions' },
      element('button', { onclick: () => void list.load() }, 'List orders'),
      element('button', { class: 'quiet', onclick: () => go('/orders/new') }, 'Add an order'),
    ),
  )
  return { node }
}

/** A page of its own for the same, with an address to come back to. */
export function ordersPage({ session }: PageContext): Part {
  const list = orderList(session)
  void list.load()
  return {
    node: element(
      'div',
      { class: 'single' },
      element('h1', {}, 'Orders'),
      element(
        'section',
        { class: 'panel' },
        list.node,
        element('div', { class: 'actions' }, element('a', { class: 'button', href: '/orders/new' }, 'Add an order')),
      ),
    ),
  }
}

function orderList({ client }: PageContext['session']): Part & { load(): Promise<void> } {
  const node = element('div', { 'aria-live': 'polite', class: 'orders' })
  return {
    node,
    async load() {
      node.setAttribute('aria-busy', 'true')
      const answer = await client.fetch('/api/orders').catch(() => undefined)
      node.removeAttribute('aria-busy')
      if (answer?.ok) {
        const { orders } = (await answer.json()) as { orders: Order[] }
        node.replaceChildren(element('ul', { 'aria-label': 'Orders' }, ...orders.map(line)))
      } else node.replaceChildren(element('p', { class: 'bad' }, await complaint(answer)))
    },
  }
}

function line({ id, item, note, placedAt }: Order): HTMLElement {
  return element(
    'li',
    {},
    element('span', { class: 'number' }, String(id)),
    element('span', {}, element('strong', {}, item), note !== '' && element('span', { class: 'soft' }, note)),
    element(
      'time',
      { datetime: placedAt, class: 'soft' },
      new Date(placedAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false }),
    ),
  )
}

/** What the session would have to be allowed for a call that was refused, if asking for it can help. */
export async function remedy(answer: Response | undefined): Promise<Problem | undefined> {
  const problem: Partial<Problem> | undefined = await answer
    ?.clone()
    .json()
    .catch(() => undefined)
  return problem?.loginUrl === undefined ? undefined : (problem as Problem)
}

/** What to tell about a call that did not work. */
export async function complaint(answer: Response | undefined): Promise<string> {
  if (!answer) return 'The server does not answer.'
  const problem: { title?: unknown } = await answer.json().catch(() => ({}))
  return typeof problem.title === 'string' ? `${problem.title}.` : `The API answered ${answer.status}.`
}

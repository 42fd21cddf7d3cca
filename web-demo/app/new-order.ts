// A form with an address of its own: /orders/new?draft=1#note survives a sign-in, fragment included.
import { element } from './element.ts'
import { complaint, remedy } from './orders.ts'
import type { PageContext, Part } from './page.ts'

/** What `?draft=1` and so on begin with. */
const drafts: Record<string, { item: string; note: string }> = {
  '1': { item: 'Scarf, red wool', note: 'Left over from last winter' },
}

export function newOrderPage({ session, go }: PageContext): Part {
  const draft = drafts[new URLSearchParams(location.search).get('draft') ?? '']
  const item = element('input', { id: 'item', name: 'item', required: true, maxlength: 80, value: draft?.item })
  const note = element('textarea', { id: 'note', name: 'note', maxlength: 200, rows: 3 }, draft?.note)
  const said = element('p', { class: 'bad', role: 'alert' })
  const place = element('button', {}, 'Place the order')

  async function submit(event: Event): Promise<void> {
    event.preventDefault()
    place.disabled = true
    const answer = await session.client
      .fetch('/api/orders', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ item: item.value, note: note.value }),
      })
      .catch(() => undefined)
    place.disabled = false
    if (answer?.ok) go('/orders')
    else await tell(answer)
  }

  async function tell(answer: Response | undefined): Promise<void> {
    const problem = await remedy(answer)
    const ask = () => problem && session.client.login({ problem })
    const allow = problem && element('button', { type: 'button', class: 'quiet', onclick: ask }, 'Allow it')
    said.replaceChildren(await complaint(answer), ...(allow ? [' ', allow] : []))
  }

  const node = element(
    'div',
    { class: 'single' },
    element('h1', {}, 'New order'),
    element(
      'form',
      { class: 'panel', onsubmit: (event) => void submit(event) },
      draft && element('p', { class: 'soft' }, 'This is your draft.'),
      element('label', { for: 'item' }, 'Item'),
      item,
      element('label', { for: 'note' }, 'Note'),
      note,
      said,
      element('div', { class: 'actions' }, place, element('a', { class: 'button quiet', href: '/orders' }, 'Cancel')),
    ),
  )
  const wanted = location.hash === '#note' ? note : item
  requestAnimationFrame(() => wanted.focus())
  return { node }
}

// The page behind the sign-in: the ticket, and what can be done with it.
import { clockPanel } from './clock.ts'
import { element } from './element.ts'
import { ordersPanel } from './orders.ts'
import type { PageContext, Part } from './page.ts'
import { refreshPanel } from './refresh.ts'
import { ticketPanel } from './ticket.ts'

export function overviewPage(context: PageContext): Part {
  const parts = [ticketPanel(context), refreshPanel(context), ordersPanel(context), clockPanel(context)]
  return {
    node: element(
      'div',
      { class: 'overview' },
      element('h1', { class: 'unseen' }, 'Overview'),
      ...parts.map(({ node }) => node),
    ),
    stop() {
      for (const part of parts) part.stop?.()
    },
  }
}

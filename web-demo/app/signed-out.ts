// What a visitor sees: what this is, and the way in.
import { element } from './element.ts'
import type { Part } from './page.ts'

/** @param notice why the visitor is here, if there is something to say. */
export function signedOutPage({ notice, signIn }: { notice: string | undefined; signIn: () => void }): Part {
  const { pathname, search, hash } = location
  const comesBack = pathname + search + hash
  return {
    node: element(
      'div',
      { class: 'welcome' },
      element(
        'div',
        {},
        element('p', { class: 'status', role: 'status' }, notice),
        element('h1', {}, 'Leave your tokens at the counter.'),
        element(
          'p',
          { class: 'lead' },
          'This page calls an API that wants OAuth access tokens. It never holds one: your browser keeps a ticket, and coatcheck keeps the tokens behind the counter.',
        ),
        element('button', { class: 'large', onclick: signIn }, 'Sign in'),
        comesBack !== '/' && element('p', { class: 'soft' }, 'You will come back to ', element('code', {}, comesBack)),
        element(
          'ol',
          { class: 'steps' },
          step('Sign in', 'at an authorization server that is a site of its own.'),
          step('Call the API', 'from this page, same origin, with nothing but a sealed HttpOnly cookie.'),
          step('Watch', 'tokens being replaced every minute, without noticing it otherwise.'),
        ),
      ),
      element('img', { class: 'picture', src: '/ticket.svg', alt: '', width: 320, height: 400 }),
    ),
  }
}

function step(title: string, text: string): HTMLElement {
  return element('li', {}, element('strong', {}, title), ' ', text)
}

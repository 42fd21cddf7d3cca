// What the pages of the demo's authorization server look like. They load one style sheet of their own and run nothing.
import { html, raw } from 'hono/html'
import { accounts } from './accounts.ts'

/** No `form-action`: browsers apply it to the redirect after a form as well, and that leads to the application. */
export const pageHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

async function page(title: string, content: unknown): Promise<string> {
  const document = await html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${title} - Harbor ID</title>
<link rel="stylesheet" href="/style.css">
<main>
<p class="brand">${mark} Harbor ID</p>
<h1>${title}</h1>
${content}
</main>
<footer>Demo authorization server. It runs on this machine only and forgets everything when it ends.</footer>
</html>
`
  return document.toString()
}

const mark = raw(
  '<svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true"><path d="M9 3h6l1 5H8zM8.5 10h7L17 21H7z" fill="currentColor"/><path d="M2 8.5 6 9M22 8.5 18 9" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></svg>',
)

/** Asks who it is. @param failed whether that was tried already, without success. */
export function loginPage({ username, failed = false }: { username: string; failed?: boolean }): Promise<string> {
  return page(
    'Sign in',
    html`<p>to go on to <strong>Coatcheck demo</strong></p>
${failed ? html`<p class="error" role="alert">This user name and password do not belong together.</p>` : ''}
<form method="post">
<label>User name
<input name="username" value="${username}" autocomplete="username" autocapitalize="none" spellcheck="false" required ${username ? '' : 'autofocus'}></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" required ${username ? 'autofocus' : ''}></label>
<div class="actions">
<button name="action" value="login">Sign in</button>
<button name="action" value="cancel" class="quiet" formnovalidate>Cancel</button>
</div>
</form>
<section class="hint" aria-label="Demo accounts">
<p>Demo accounts</p>
${accounts.map(({ username, password }) => html`<p><span>${username}</span> <code>${password}</code></p>`)}
</section>`,
  )
}

const permissions: Record<string, string> = {
  openid: 'Know that it is you',
  profile: 'See your name and picture',
  email: 'See your email address',
  offline_access: 'Stay connected while you are away',
  'orders:read': 'See your orders',
  'orders:write': 'Place orders in your name',
}

/** Asks what the application may do. @param scopes those that were not allowed before. */
export function consentPage(scopes: readonly string[]): Promise<string> {
  const fixed = [...scopes.filter((scope) => scope !== 'orders:write'), 'offline_access']
  return page(
    'Allow access?',
    html`<p><strong>Coatcheck demo</strong> would like to</p>
<form method="post">
<ul>
${fixed.map((scope) => html`<li>${permissions[scope] ?? scope}</li>`)}
</ul>
${
  scopes.includes('orders:write')
    ? html`<label class="choice"><input type="checkbox" name="orders:write" checked> ${permissions['orders:write']}</label>`
    : ''
}
<div class="actions">
<button name="action" value="allow">Allow</button>
<button name="action" value="cancel" class="quiet">Deny</button>
</div>
</form>`,
  )
}

/** Asks whether to sign out here too. @param form as oidc-provider wants it back. */
export function signOutPage(form: string): Promise<string> {
  return page(
    'Sign out here too?',
    html`<p>You are signed out of <strong>Coatcheck demo</strong>. Harbor ID would still know you at your next sign-in.</p>
${raw(form)}
<div class="actions">
<button form="op.logoutForm" name="logout" value="yes">Sign out</button>
<button form="op.logoutForm" class="quiet">Stay signed in</button>
</div>`,
  )
}

export function signedOutPage(): Promise<string> {
  return page('You are signed out', html`<p>You can close this page.</p>`)
}

/** Something to tell. @param code for people who look things up. @param appUrl where to go on. */
export function messagePage(title: string, text: string, code?: string, appUrl?: string): Promise<string> {
  return page(
    title,
    html`<p>${text}</p>
${code === undefined ? '' : html`<p><code>${code}</code></p>`}
${appUrl === undefined ? '' : html`<div class="actions"><a href="${appUrl}">Go to Coatcheck demo</a></div>`}`,
  )
}

export const styleSheet = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#e8eef2, #11181d);
  --card: light-dark(#fff, #1a242b);
  --ink: light-dark(#17252e, #e6edf1);
  --soft: light-dark(#52646f, #9db0bb);
  --line: light-dark(#c9d5dc, #34434d);
  --edge: light-dark(#7b8e99, #6d808c);
  --accent: light-dark(#12607f, #7cc4e0);
  --on-accent: light-dark(#fff, #0b1b23);
  --bad: light-dark(#a3262a, #ff9d9a);
  font: 1rem/1.5 system-ui, sans-serif;
}
* { box-sizing: border-box }
body {
  margin: 0; min-height: 100vh; padding: 1.5rem 1rem; display: grid; place-content: center; justify-items: center;
  gap: 1.25rem; color: var(--ink); background: var(--ground);
}
main {
  width: min(24rem, calc(100vw - 2rem)); padding: 2rem; background: var(--card); border-radius: 1rem;
  border: 1px solid var(--line); box-shadow: 0 1.5rem 3rem -2rem rgb(0 20 30 / 40%);
}
footer { max-width: 24rem; font-size: .8125rem; color: var(--soft); text-align: center }
.brand { display: flex; gap: .5rem; align-items: center; margin: 0 0 1.5rem; font-weight: 600; color: var(--accent) }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em }
h1 + p { margin: .25rem 0 1.5rem; color: var(--soft) }
p strong { color: var(--ink); font-weight: 600 }
label { display: block; margin-top: 1rem; font-size: .875rem; font-weight: 600 }
input:not([type=checkbox]) {
  display: block; width: 100%; margin-top: .25rem; padding: .625rem .75rem; font: inherit; font-size: 1rem; font-weight: 400;
  color: inherit; background: transparent; border: 1px solid var(--edge); border-radius: .5rem;
}
:focus-visible { outline: 3px solid color-mix(in srgb, var(--accent) 55%, transparent); outline-offset: 1px }
ul { margin: 0; padding: 0; list-style: none }
li, .choice { padding: .625rem 0; border-top: 1px solid var(--line); font-size: .9375rem; font-weight: 400 }
li::before { content: ""; display: inline-block; width: .3rem; height: .6rem; margin: 0 .8rem .1rem .3rem;
  border: solid var(--accent); border-width: 0 2px 2px 0; rotate: 40deg }
.choice { display: flex; gap: .65rem; align-items: center; margin: 0; border-bottom: 1px solid var(--line) }
.choice input { width: 1.05rem; height: 1.05rem; margin: 0; accent-color: var(--accent) }
.actions { display: flex; gap: .75rem; margin-top: 1.5rem }
button, .actions a {
  flex: 1; padding: .625rem .5rem; white-space: nowrap; font: inherit; font-weight: 600; text-align: center; text-decoration: none;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: .5rem;
  cursor: pointer;
}
button:hover, .actions a:hover { filter: brightness(1.1) }
button.quiet { color: var(--ink); background: transparent; border-color: var(--edge) }
.error { margin: 0 0 1rem; padding: .625rem .75rem; font-size: .875rem; color: var(--bad); border: 1px solid currentColor;
  border-radius: .5rem }
.hint { margin-top: 1.5rem; padding-top: 1rem; border-top: 1px dashed var(--line); display: flex; gap: .25rem 1.5rem;
  flex-wrap: wrap; font-size: .8125rem; color: var(--soft) }
.hint p { margin: 0 }
.hint p:first-child { flex-basis: 100% }
code { font: .8125rem ui-monospace, monospace; color: var(--ink) }
`

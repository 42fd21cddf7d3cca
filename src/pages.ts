// What a person sees when coatcheck itself has something to say: short pages that need nothing and run nothing.
import { html, raw } from 'hono/html'
import { detailHeaders, ownAnswerHeaders } from './answers.ts'
import { type ErrorCode, type ErrorDetails, errorCodes } from './errors.ts'
import { randomText } from './session/seal.ts'
import { errorHeader, loginChannel } from './wire.ts'

interface Page {
  status: number
  title: string
  /** Sentences, in order. */
  text: readonly string[]
  links: readonly { href: string; label: string }[]
  code?: ErrorCode
  details?: ErrorDetails
  /** Where the page goes by itself, at once. */
  refresh?: string | undefined
  /** What little has to run. */
  script?: string
}

const style = `
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
  body { display: grid; min-height: 90vh; place-content: center; padding: 1rem; margin: 0 }
  main { max-width: 32rem }
  h1 { font-size: 1.4rem; margin: 0 0 .5rem }
  a { display: inline-block; margin: 1rem .75rem 0 0; padding: .5rem 1rem; border-radius: .4rem; text-decoration: none;
    background: #1f4fd8; color: #fff }
  a + a { background: none; color: inherit; outline: 1px solid currentColor }
  code { opacity: .7 }`

async function page({ status, title, text, links, code, details = {}, refresh, script }: Page): Promise<Response> {
  const nonce = randomText(12)
  const headers = new Headers({
    ...ownAnswerHeaders,
    'content-security-policy': `default-src 'none'; style-src 'nonce-${nonce}';${script ? ` script-src 'nonce-${nonce}';` : ''} frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
    'content-type': 'text/html; charset=utf-8',
    'cross-origin-opener-policy': 'same-origin',
  })
  if (code) headers.set(errorHeader, code)
  for (const [name, value] of detailHeaders(details)) headers.append(name, value)
  const body = await html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
${refresh === undefined ? '' : html`<meta http-equiv="refresh" content="0; url=${refresh}">`}
<style nonce="${nonce}">${style}</style>
<main>
<h1>${title}</h1>
${text.map((sentence) => html`<p>${sentence}</p>`)}
${code ? html`<p><code>${code}</code></p>` : ''}
<nav>${links.map(({ href, label }) => html`<a href="${href}">${label}</a>`)}</nav>
</main>
${script ? html`<script nonce="${nonce}">${raw(script)}</script>` : ''}
</html>
`
  return new Response(body.toString(), { status, headers })
}

/** An error for somebody who navigated into it. */
export function errorPage(code: ErrorCode, details: ErrorDetails, startAgain: string): Promise<Response> {
  const { status, title } = errorCodes[code]
  const text = [details.detail ?? advice[code] ?? 'You can start again.']
  const links = [{ href: startAgain, label: 'Start again' }]
  if (details.continueUrl !== undefined) links.push({ href: details.continueUrl, label: 'Continue' })
  return page({ status, title, text, links, code, details })
}

const advice: Partial<Record<ErrorCode, string>> = {
  authorization_server_unavailable: 'It is not your fault. Please try again in a moment.',
  store_unavailable: 'It is not your fault. Please try again in a moment.',
  login_failed:
    'Nobody was signed in. If it happens again, the people who run this site can find the reason in the log.',
}

/** A callback that signs nobody in: used before, too old, or begun in another browser. */
export function staleLoginPage(
  returnTo: string,
  startAgain: string,
  {
    look,
    isSignedOut = false,
    isWithoutCookies,
  }: {
    /** Where the page looks whether somebody is signed in. */
    look?: string | undefined
    /** Whether it has been looked, and nobody is. */
    isSignedOut?: boolean
    /** Whether the browser brought nothing of any sign-in. */
    isWithoutCookies: boolean
  },
): Promise<Response> {
  return page({
    status: errorCodes.login_expired.status,
    title: errorCodes.login_expired.title,
    text: [
      isSignedOut
        ? 'Nobody is signed in here now. You can sign in again.'
        : 'Nothing was changed. If you are signed in already you can simply go on.',
      ...(isWithoutCookies
        ? [
            'This browser brought no cookie of a sign-in that it began here. If you see this each time, it keeps no cookies of this site: they are blocked, or the site was opened by another name or by http.',
          ]
        : []),
    ],
    refresh: look,
    links: [
      { href: startAgain, label: 'Sign in again' },
      { href: returnTo, label: 'Continue' },
    ],
    code: 'login_expired',
  })
}

/** What goes round in circles, by what it leaves behind. */
const loops: Record<'lost' | 'silent' | 'signed-in', readonly string[]> = {
  lost: [
    'Several sign-ins in a row ended well, and each time the browser came back without being signed in. It was stopped here so that you can see why.',
    'Most often the browser keeps no cookies of this site: they are blocked, or the site was opened by another name or by http. If you use a private window or an extension that blocks cookies, try without.',
    'If you run this site: the log has the reason login_loop.',
  ],
  silent: [
    'A page asked several times in a row whether you are signed in, and each time the answer was that you are not, or that nobody could tell. It was stopped here so that you can see why.',
    'You can sign in yourself.',
    'If you run this site: a page asks with prompt=none again and again. It should ask once, and then show who is signed out that they are; the log has the reason login_loop.',
  ],
  'signed-in': [
    'You are signed in, and a page sent you to sign in again, several times in a row. It was stopped here so that you can see why.',
    'If you run this site: the page sends people to sign in who are signed in already; the log has the reason login_loop.',
  ],
}

/** A browser that comes back from every sign-in without its session, or a page that sends it there again and again. */
export function loginLoopPage(
  loop: keyof typeof loops,
  startAgain: string,
  setCookie: readonly string[],
): Promise<Response> {
  return page({
    status: errorCodes.login_failed.status,
    title: 'Signing in goes round in circles',
    text: loops[loop],
    links: [
      { href: startAgain, label: loop === 'silent' ? 'Sign in' : 'Try again' },
      { href: '/', label: 'Go to the start page' },
    ],
    code: 'login_failed',
    details: { setCookie },
  })
}

/** Which of several authorization servers? What else was asked for stays asked for. */
export function chooseProviderPage(
  loginPath: string,
  search: string,
  providers: readonly { id: string; name?: string | undefined }[],
): Promise<Response> {
  const links = providers.map(({ id, name = id }) => {
    const query = new URLSearchParams(search)
    query.set('provider', id)
    return { href: `${loginPath}?${query}`, label: name }
  })
  return page({ status: 200, title: 'Sign in with', text: [], links })
}

/** The end of a sign-in in a window of its own: tells the pages of this very origin that it is over, and nothing else. */
export function popupPage(): Promise<Response> {
  return page({
    status: 200,
    title: 'You can close this window',
    text: ['The application goes on in the window you came from.'],
    links: [{ href: '/', label: 'Open the application here' }],
    script: `new BroadcastChannel(${JSON.stringify(loginChannel)}).postMessage('finished'); close()`,
  })
}

/** Asks before a sign-in that another site began, so that no site can sign a visitor in as somebody else. */
export function confirmLoginPage(login: string): Promise<Response> {
  return page({
    status: 200,
    title: 'Sign in?',
    text: ['Another site sent you here to sign in. Go on only if you meant to.'],
    links: [
      { href: login, label: 'Sign in' },
      { href: '/', label: 'No, thanks' },
    ],
  })
}

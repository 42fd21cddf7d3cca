// A browser as far as HTTP goes: cookies, Fetch Metadata, and redirects only where a test follows them.
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

export interface BrowserResponse {
  readonly status: number
  readonly headers: Headers
  readonly setCookie: string[]
  readonly text: string
  readonly bytes: Buffer
  json(): any
}

export interface RequestOptions {
  method?: string
  headers?: Record<string, string>
  body?: string | Buffer
}

export interface Browser {
  /** Cookies by name, as this browser holds them for coatcheck. */
  readonly cookies: Map<string, string>
  /** A top-level navigation. */
  navigate(path: string, options?: RequestOptions): Promise<BrowserResponse>
  /** `fetch` from a page of the application. */
  fetch(path: string, options?: RequestOptions): Promise<BrowserResponse>
  /** Anything else: only these headers and the cookies. */
  send(path: string, options?: RequestOptions): Promise<BrowserResponse>
  /** Signs in: login, authorization server, callback. Returns the answer to the callback. */
  signIn(query?: string): Promise<BrowserResponse>
  /** From the login to the address of the callback, without visiting it. */
  untilCallback(query?: string): Promise<string>
  cookieHeader(): string
  /** Keeps or deletes a cookie, as a `Set-Cookie` says that came by another way. */
  take(setCookie: string): void
  /** Everything that coatcheck ever sent here, for the search for secrets. */
  readonly seen: string[]
}

/**
 * @param origin where coatcheck is reached.
 * @param host what `Host` says, if it is not the host of `origin`.
 */
export function createBrowser(origin: string, publicOrigin = origin, host?: string): Browser {
  const cookies = new Map<string, string>()
  const seen: string[] = []

  const cookieHeader = () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

  async function send(
    path: string,
    { method = 'GET', headers = {}, body }: RequestOptions = {},
  ): Promise<BrowserResponse> {
    const cookie = cookieHeader()
    const usual = { ...(host === undefined ? {} : { host }), ...(cookie ? { cookie } : {}) }
    const answer = await exchange(new URL(path, origin), method, { ...usual, ...headers }, body)
    for (const line of answer.setCookie) store(line)
    seen.push(JSON.stringify([...answer.headers]), answer.text)
    return answer
  }

  function store(line: string) {
    const [pair = '', ...attributes] = line.split('; ')
    const name = pair.slice(0, pair.indexOf('='))
    if (attributes.includes('Max-Age=0')) cookies.delete(name)
    else cookies.set(name, pair.slice(name.length + 1))
  }

  const navigation = {
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
    'sec-fetch-site': 'same-origin',
    accept: 'text/html,*/*',
  }
  const page = { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin', accept: '*/*' }

  const browser: Browser = {
    cookies,
    seen,
    cookieHeader,
    take: store,
    send,
    navigate: (path, options = {}) => send(path, { ...options, headers: { ...navigation, ...options.headers } }),
    fetch: (path, options = {}) => {
      const origin = options.method && options.method !== 'GET' ? { origin: publicOrigin } : {}
      return send(path, { ...options, headers: { ...page, ...origin, ...options.headers } })
    },
    async untilCallback(query = '') {
      const login = await browser.navigate(`/auth/login${query}`)
      if (login.status !== 303) throw new Error(`Login answered ${login.status}: ${login.text}`)
      const authorization = await exchange(new URL(login.headers.get('location') ?? ''), 'GET', {})
      const callback = new URL(authorization.headers.get('location') ?? '')
      return callback.pathname + callback.search
    },
    async signIn(query = '') {
      const callback = await browser.untilCallback(query)
      return browser.navigate(callback, { headers: { 'sec-fetch-site': 'cross-site' } })
    },
  }
  return browser
}

/** One HTTP/1.1 request over node:http, which changes nothing and follows nothing. */
export function exchange(
  url: URL,
  method: string,
  headers: Record<string, string>,
  body?: string | Buffer,
): Promise<BrowserResponse> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const request = send(url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const bytes = Buffer.concat(chunks)
        const text = bytes.toString()
        const all = new Headers()
        for (let at = 0; at < response.rawHeaders.length; at += 2) {
          all.append(response.rawHeaders[at] ?? '', response.rawHeaders[at + 1] ?? '')
        }
        resolve({
          status: response.statusCode ?? 0,
          headers: all,
          setCookie: response.headers['set-cookie'] ?? [],
          text,
          bytes,
          json: () => JSON.parse(text),
        })
      })
    })
    request.on('error', reject)
    request.end(body)
  })
}

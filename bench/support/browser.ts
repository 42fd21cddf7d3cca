// A browser as far as a sign-in goes: navigations, redirects, and a cookie jar for each origin.
import { request as httpRequest } from 'node:http'

export interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly setCookie: readonly string[]
  readonly body: string
}

/** What Chromium sends with a `fetch` from a page of the application. `Host`, `Referer` and `Cookie` come besides. */
export const pageHeaders: Readonly<Record<string, string>> = {
  Connection: 'keep-alive',
  'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
  Accept: 'application/json, text/plain, */*',
  'Accept-Language': 'en-GB,en;q=0.9,de;q=0.8',
  'Accept-Encoding': 'gzip, deflate, br, zstd',
  'sec-ch-ua': '"Chromium";v="156", "Not_A Brand";v="24"',
  'sec-ch-ua-mobile': '?0',
  'sec-ch-ua-platform': '"Linux"',
  'Sec-Fetch-Site': 'same-origin',
  'Sec-Fetch-Mode': 'cors',
  'Sec-Fetch-Dest': 'empty',
}

const navigationHeaders: Readonly<Record<string, string>> = {
  ...pageHeaders,
  Accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'Sec-Fetch-Mode': 'navigate',
  'Sec-Fetch-Dest': 'document',
}

/** More steps than this are no sign-in but a loop. */
const longestSignIn = 12

/**
 * Opens a page in a new browser and follows every redirect: to the authorization server, back, and on.
 * @returns the `Cookie` header that this browser then sends to the origin it began at.
 */
export async function signIn(start: string): Promise<string> {
  const jars = new Map<string, Map<string, string>>()
  let url: URL | undefined = new URL(start)
  for (let step = 0; url !== undefined; step++) {
    if (step === longestSignIn) throw new Error(`The sign-in at ${start} does not come to an end`)
    const jar = jars.get(url.origin) ?? new Map<string, string>()
    jars.set(url.origin, jar)
    const answer: Answer = await get(url, { ...navigationHeaders, ...cookieHeader(jar) })
    for (const line of answer.setCookie) keep(jar, line)
    if (answer.status >= 500) throw new Error(`${url.origin}${url.pathname} answered ${answer.status}: ${answer.body}`)
    url = answer.location === undefined ? undefined : new URL(answer.location, url)
  }
  return cookieHeader(jars.get(new URL(start).origin) ?? new Map()).Cookie ?? ''
}

function cookieHeader(jar: ReadonlyMap<string, string>): { Cookie?: string } {
  return jar.size === 0 ? {} : { Cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') }
}

function keep(jar: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(/;\s*/)
  const name = pair.slice(0, pair.indexOf('='))
  const value = pair.slice(name.length + 1)
  const expires = attributes.find((attribute) => /^expires=/i.test(attribute))?.slice('expires='.length)
  const isGone =
    attributes.some((attribute) => /^max-age=0$/i.test(attribute)) ||
    (expires !== undefined && Date.parse(expires) <= Date.now())
  if (isGone || value === '') jar.delete(name)
  else jar.set(name, value)
}

/** One GET that follows nothing and adds nothing. */
export function get(url: URL, headers: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode = 0, headers } = response
        const body = Buffer.concat(chunks).toString()
        resolve({ status: statusCode, location: headers.location, setCookie: headers['set-cookie'] ?? [], body })
      })
    })
    request.on('error', reject)
    request.end()
  })
}

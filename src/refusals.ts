// What a browser is told when something was refused or went wrong, and what the operator is told of it besides.
import type { Context } from 'hono'
import { problemResponse, strictTransport } from './answers.ts'
import { CoatcheckError } from './errors.ts'
import { loginPath } from './login-url.ts'
import { errorPage } from './pages.ts'
import { headerText, type Platform } from './platform.ts'

export interface Refusals {
  /** The answer for anything thrown, as a problem document or as a page. Tells the operator. Never rejects. */
  refusal(error: unknown, asPage?: boolean): Promise<Response>
  /** Whether a person is looking: a navigation to one of our own endpoints. */
  isPage(c: Context): boolean
}

export function createRefusals(platform: Pick<Platform, 'exchange' | 'log'>, isSecure: boolean): Refusals {
  const { log } = platform

  function report({ code, reason, details, cause }: CoatcheckError): void {
    if (code === 'internal_error') log({ event: 'internal.error', reason, ...whatWasThrown(cause) })
    // Upstream failures were told with their route; that nobody is signed in is no news.
    else if (reason !== 'session_absent' && !code.startsWith('upstream_')) {
      const { answered: oauthError, claim } = details
      log({ event: 'request.refused', code, reason, oauthError, claim })
    }
  }

  return {
    async refusal(error, asPage = false) {
      const told =
        error instanceof CoatcheckError ? error : new CoatcheckError('internal_error', 'unexpected', {}, error)
      report(told)
      const { code, details } = told
      const answer = asPage
        ? await errorPage(code, details, details.loginUrl ?? loginPath)
        : problemResponse(code, details)
      if (isSecure) answer.headers.set(...strictTransport)
      return answer
    },

    isPage(c) {
      const { headers } = platform.exchange(c)
      const isNavigation = (headers['sec-fetch-mode'] ?? 'navigate') === 'navigate'
      const isDocument = (headers['sec-fetch-dest'] ?? 'document') === 'document'
      const isPrefetch = `${headerText(headers, 'sec-purpose') ?? ''}${headerText(headers, 'purpose') ?? ''}`.includes(
        'prefetch',
      )
      const wantsHtml = (headerText(headers, 'accept') ?? '').includes('text/html')
      return c.req.path.startsWith('/auth/') && isNavigation && isDocument && wantsHtml && !isPrefetch
    },
  }
}

/** Class and place of something thrown, without its message: messages may quote anything. */
function whatWasThrown(cause: unknown): { error: string; at?: string } {
  if (!(cause instanceof Error)) return { error: typeof cause }
  const place = /\(?((?:file:\/\/)?[^()\s]+:\d+:\d+)\)?$/m.exec(cause.stack ?? '')?.[1]
  return place === undefined ? { error: cause.name } : { error: cause.name, at: place }
}

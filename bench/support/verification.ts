// Proof, before anything is measured, that a contestant does the work: the right token goes up, and only for the signed-in.

import type { Setting } from '../contestants/contestant.ts'
import { type Answer, get, pageHeaders } from './browser.ts'

export interface Verified {
  /** Lengths in bytes: of the `Cookie` header that came in, and of the access token that went up. */
  readonly cookieBytes: number
  readonly tokenBytes: number
}

/**
 * Sends recorded requests through a contestant.
 * @param needsSession whether it must refuse those who are not signed in
 * @throws Error that says what is not as it must be
 */
export async function verify(
  { url, upstream, authorizationServer, client, accessToken }: Setting,
  cookie: string,
  needsSession: boolean,
  scheme = 'Bearer',
): Promise<Verified> {
  const call = (path: string, headers: Record<string, string>): Promise<Answer> =>
    get(new URL(path, url), { ...pageHeaders, ...headers })

  const answer = await call('/api/data', { Cookie: cookie })
  demand(answer.status === 200, `answers ${answer.status} to a call with a session`)
  demand(answer.body === upstream.data, "does not pass on the upstream's answer as it is")

  const [authorization = '', cookies = ''] = (await call('/api/headers', { Cookie: cookie })).body.split('\n')
  demand(cookies === '', 'lets cookies through to the upstream')
  demand(authorization.startsWith(`${scheme} `), `sends the upstream no ${scheme} token`)
  const token = authorization.slice(scheme.length + 1)
  const claims = await authorizationServer.verify(token)
  if (needsSession) {
    demand(claims.client_id === client.id, "sends the upstream somebody else's token")
    demand(claims.sub === 'alice', 'sends the upstream a token of nobody who signed in')
    const stranger = await call('/api/data', {})
    demand(stranger.status !== 200 && stranger.body !== upstream.data, 'answers without a session')
  } else {
    demand(token === accessToken, 'sends the upstream another token than it was given')
  }
  return { cookieBytes: cookie.length, tokenBytes: token.length }
}

function demand(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(`it ${otherwise}`)
}

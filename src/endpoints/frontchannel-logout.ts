// An authorization server says through the browser that a session is over (OpenID Connect Front-Channel Logout 1.0): in a
// frame, where our cookies are not sent. So it is by `sid` that the session is found, as at the back channel.
import type { Context } from 'hono'
import { ownAnswerHeaders } from '../answers.ts'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { Names } from '../session/names.ts'
import type { Sessions } from '../session/sessions.ts'

export const frontchannelPath = '/auth/frontchannel-logout'

export interface FrontchannelLogoutParts {
  config: Pick<Config, 'providers'>
  platform: Pick<Platform, 'log'>
  sessions: Sessions
  names: Names
}

/** `GET /auth/frontchannel-logout?iss=&sid=` of providers that have it switched on. */
export function createFrontchannelLogout({ config, platform, sessions, names }: FrontchannelLogoutParts) {
  return async (c: Context): Promise<Response> => {
    const [iss, ...otherIssuers] = c.req.queries('iss') ?? []
    const [sid, ...otherSids] = c.req.queries('sid') ?? []
    const provider = config.providers.find(({ issuer, frontchannelLogout }) => frontchannelLogout && issuer === iss)
    const isWhole = sid !== undefined && sid !== '' && sid.length <= longestSid
    if (!provider || iss === undefined || !isWhole || otherIssuers.length + otherSids.length > 0) {
      throw new CoatcheckError('bad_request', 'frontchannel_logout_malformed')
    }
    await sessions.endByName(await names.providerSession(iss, sid))
    platform.log({ event: 'frontchannel.logout', provider: provider.id })
    const { origin } = new URL(iss)
    return new Response('', {
      headers: {
        ...ownAnswerHeaders,
        'content-type': 'text/html; charset=utf-8',
        // Nobody else may have it in a frame, and nothing in it may do anything.
        'content-security-policy': `default-src 'none'; sandbox; frame-ancestors ${origin}`,
      },
    })
  }
}

/** Characters. */
const longestSid = 256

// An authorization server says through the browser that a session is over (OpenID Connect Front-Channel Logout 1.0): in a
// frame, where our cookies are not sent. So it is by `sid` that the session is found, as at the back channel.
import type { Context } from 'hono'
import { ownAnswerHeaders } from '../answers.ts'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { Names } from '../session/names.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'

export const frontchannelPath = '/auth/frontchannel-logout'

export interface FrontchannelLogoutParts {
  config: Pick<Config, 'providers'>
  platform: Pick<Platform, 'log' | 'store'>
  sessions: Sessions
  names: Names
}

/** Keeps in mind that there is a session by its name at the authorization server, where that may be said to be over. */
export function createKnownNames({ config, platform, names }: Omit<FrontchannelLogoutParts, 'sessions'>) {
  const providers = new Set(config.providers.filter((one) => one.frontchannelLogout).map(({ id }) => id))
  return async ({ holding: { provider, issuer, providerSession }, endsAt, createdAt }: Session): Promise<void> => {
    if (providerSession === undefined || !providers.has(provider)) return
    const marks = await names.providerSession(issuer, providerSession)
    await Promise.all(marks.map((mark) => platform.store.set(knownSid(mark), 'begun', Math.max(1, endsAt - createdAt))))
  }
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
    const marks = await names.providerSession(iss, sid)
    // Anybody may ask, so only a name that a sign-in brought is remembered as over, and only once.
    const known = await Promise.all(marks.map((mark) => platform.store.get(knownSid(mark))))
    if (known.some((one) => one !== undefined)) {
      await sessions.endByName(marks)
      for (const mark of marks) await platform.store.delete(knownSid(mark))
    }
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

/** Where it is kept that there is a session by this name. */
const knownSid = (mark: string) => `${mark}/front`

/** Characters. */
const longestSid = 256

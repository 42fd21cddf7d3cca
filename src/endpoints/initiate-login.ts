// A sign-in that another site asks for (OpenID Connect Core, section 4): the user is asked before anything begins.
import type { Context } from 'hono'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import { type LoginUrl, longestHint } from '../login-url.ts'
import { confirmLoginPage } from '../pages.ts'
import type { Platform } from '../platform.ts'
import { safeReturnTo } from '../security.ts'

export const initiatePath = '/auth/initiate-login'

/** Longest address in a parameter, in characters. */
const longestAddress = 1_024
/** Longest form. Bytes. */
const longestForm = 8_192

/** A form of announced and small size. */
async function formOf(c: Context): Promise<Record<string, unknown>> {
  const length = Number(c.req.header('content-length') ?? Number.NaN)
  if (!(length <= longestForm)) throw new CoatcheckError('bad_request', 'parameter_malformed')
  return c.req.parseBody()
}

/** `GET` and `POST /auth/initiate-login?iss=&login_hint=&target_link_uri=` */
export function createInitiateLogin({
  config,
  platform,
  loginUrl,
}: {
  config: Pick<Config, 'publicUrl' | 'providers'>
  platform: Pick<Platform, 'log'>
  loginUrl: LoginUrl
}) {
  return async (c: Context): Promise<Response> => {
    const given = new URL(c.req.url).searchParams
    const form = c.req.method === 'POST' ? await formOf(c) : {}
    const value = (name: string, longest: number): string | undefined => {
      const all = given.getAll(name)
      const posted = (form as Record<string, unknown>)[name]
      const [only, ...more] = typeof posted === 'string' ? [...all, posted] : all
      if (more.length > 0) throw new CoatcheckError('bad_request', 'parameter_repeated')
      if (only !== undefined && only.length > longest) throw new CoatcheckError('bad_request', 'parameter_malformed')
      return only
    }
    const issuer = value('iss', longestAddress)
    const provider = config.providers.find((one) => one.issuer === issuer)
    if (!provider) throw new CoatcheckError('bad_request', 'initiation_refused')
    const hint = value('login_hint', longestHint)
    const returnTo = returnToOf(value('target_link_uri', longestAddress))
    platform.log({ event: 'login.asked', reason: 'cross_site_login' })
    return confirmLoginPage(loginUrl(provider.id, { returnTo, ...(hint !== undefined && { login_hint: hint }) }))
  }

  /** The path of an address of ours. @throws CoatcheckError for any other: it would make an open redirector of us. */
  function returnToOf(target: string | undefined): string {
    if (target === undefined) return '/'
    const url = URL.canParse(target) ? new URL(target) : undefined
    if (url?.origin !== config.publicUrl) throw new CoatcheckError('bad_request', 'initiation_refused')
    return safeReturnTo(url.pathname + url.search + url.hash, config.publicUrl)
  }
}

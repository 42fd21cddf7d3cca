// A sign-in as far as it goes without a user: whether the authorization request, its redirect URI and its scopes are taken.

import { CoatcheckError } from '../errors.ts'
import type { LoginTransaction } from '../oauth/authorization-request.ts'
import { checkIssuer } from '../oauth/authorization-response.ts'
import { oauthErrorOf } from '../oauth/failures.ts'
import type { RelyingParty } from '../oauth/relying-party.ts'
import type { Reason } from '../reasons.ts'
import { randomText } from '../session/seal.ts'
import { type Finding, finding } from './findings.ts'
import { askHead, failureOf, type Patient, shown, type World } from './world.ts'

/**
 * Errors that say: not without asking the user (OpenID Connect Core, section 3.1.2.6; Unmet Authentication Requirements 1.0,
 * section 2). Just what a machine should be told.
 */
const needsUser = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
  'access_denied',
  'unmet_authentication_requirements',
])

/** Reasons for which coatcheck itself sends no authorization request. */
const unasked = new Set<Reason>(['metadata_incomplete', 'request_object_required'])

/** A sign-in that nobody will finish. */
export async function transactionFor({ provider }: Patient, relyingParty: RelyingParty): Promise<LoginTransaction> {
  const [state, nonce, codeVerifier] = [randomText(32), randomText(32), randomText(32)]
  return { state, nonce, codeVerifier, provider: provider.id, moreScope: [], key: await relyingParty.bindingKey() }
}

/**
 * Asks with `prompt=none`: a server that takes the request then answers at the redirect URI itself that nobody is signed
 * in, which proves more than a page would.
 */
export async function checkSignIn(world: World, patient: Patient, relyingParty: RelyingParty): Promise<Finding[]> {
  const { provider, about } = patient
  const redirectUri = world.config.publicUrl + relyingParty.callbackPath
  const register = `Register ${redirectUri} as a redirect URI of client ${provider.clientId}, exactly so, and check \`clientId\`.`
  let url: URL
  try {
    const asked = { ...provider.authorizationParams, prompt: 'none' }
    url = await relyingParty.authorizationUrl(await transactionFor(patient, relyingParty), asked)
  } catch (error) {
    // Nothing was asked: what is missing is told by what the server announces.
    if (error instanceof CoatcheckError && unasked.has(error.reason)) return []
    const isRejected = error instanceof CoatcheckError && error.reason === 'client_rejected'
    const said = oauthErrorOf(error) ?? (isRejected ? 'invalid_client' : undefined)
    if (said === undefined) {
      const what = 'A pushed request is not answered as it should be.'
      return [finding('pushed_request_refused', about, what, 'Look into the log of the authorization server.')]
    }
    const isScope = said === 'invalid_scope'
    const change = isScope ? scopeAdvice(provider.scope) : register
    return [finding('pushed_request_refused', about, `The pushed request is answered with ${said}.`, change)]
  }
  const endpoint = shown(url.href)
  let answer: Response
  try {
    answer = await askHead(world, url.href, { headers: { accept: 'text/html' } })
  } catch (error) {
    return [finding('authorization_unreachable', about, `${endpoint}: ${failureOf(error)}.`)]
  }
  if (answer.status >= 400) return [refusalOf(answer.status, endpoint, register, about)]
  const target = locationOf(answer, url)
  if (target === undefined) {
    const change = `If signing in ends on an error page there: ${register}`
    return [finding('redirect_uri_unclear', about, `${endpoint} answers with a page.`, change)]
  }
  if (target.href.split(/[?#]/)[0] === redirectUri) return accepted(patient, relyingParty, target)
  if (/\berror\b/i.test(target.pathname) || target.searchParams.has('error')) {
    return [finding('redirect_uri_refused', about, `${endpoint} sends the browser to an error page.`, register)]
  }
  return [finding('redirect_uri_ok', about, `${endpoint} takes the request and goes on to ${shown(target.href)}.`)]
}

/** What an answer that is an error says: of the redirect URI only `400` does, the rest may come from anybody on the way. */
function refusalOf(status: number, endpoint: string, register: string, about: string): Finding {
  const what = `${endpoint} answers HTTP ${status}.`
  if (status === 400) return finding('redirect_uri_refused', about, what, register)
  if (status === 429) return finding('check_unfinished', about, `${what} It was asked too often.`)
  if (status === 404 || status === 410) {
    const change = 'Nothing is served there: compare authorization_endpoint of the metadata with where the server is.'
    return finding('authorization_unreachable', about, what, change)
  }
  if (status === 401 || status === 403) {
    const change = `Look into the log of the authorization server, and of what stands in front of it (this request comes from no browser). If it speaks of the redirect URI: ${register}`
    return finding('authorization_unreachable', about, what, change)
  }
  return finding('authorization_unreachable', about, what)
}

async function accepted(patient: Patient, relyingParty: RelyingParty, target: URL): Promise<Finding[]> {
  const { provider, about } = patient
  const redirectUri = target.origin + target.pathname
  const answer = Object.fromEntries(target.searchParams)
  const { response } = answer
  // Signed, it says the same inside. One that cannot be believed is what a sign-in would fail with.
  const opened = await relyingParty.open(response === undefined ? answer : { response }).catch(() => undefined)
  if (opened === undefined) {
    const change = 'Compare `responseMode` with the registration of the client.'
    return [finding('authorization_refused', about, 'The answer is not signed as the configuration asks for.', change)]
  }
  const mixedUp = issuerFinding(patient, opened.iss)
  const error = opened.error ?? null
  if (error === null || needsUser.has(error)) {
    return [mixedUp ?? finding('redirect_uri_ok', about, `Answers come back to ${redirectUri}.`)]
  }
  const said = /^[a-z_]{1,40}$/.test(error) ? error : 'an error'
  const change =
    said === 'invalid_scope'
      ? scopeAdvice(provider.scope)
      : 'Look up this error at the authorization server, and compare `authorizationParams`, `par`, `jar` and `profile` with the registration of the client.'
  const refused = finding('authorization_refused', about, `The authorization request is answered with ${said}.`, change)
  return mixedUp ? [mixedUp, refused] : [refused]
}

/** What a sign-in would fail with that ended in an answer with this `iss`. */
function issuerFinding({ provider, metadata, about }: Patient, iss: string | undefined): Finding | undefined {
  const announced = metadata.authorization_response_iss_parameter_supported === true
  try {
    const { issuer } = provider
    checkIssuer(iss, provider, { issuer, authorization_response_iss_parameter_supported: announced })
    return undefined
  } catch {
    if (iss !== undefined) return finding('iss_wrong', about, `The answer says that it comes from ${shown(iss)}.`)
    const though = announced ? 'the metadata announces it' : 'FAPI 2.0 asks for it'
    return finding('iss_wrong', about, `The answer does not say whose it is (no iss), although ${though}.`)
  }
}

function scopeAdvice(scope: string): string {
  return `Allow the scopes "${scope}" for this client, or leave out of \`scope\` those that the server does not have.`
}

function locationOf(answer: Response, base: URL): URL | undefined {
  const location = answer.headers.get('location')
  return location !== null && URL.canParse(location, base.href) ? new URL(location, base) : undefined
}

/** Where a sign-out leads, as far as that goes without a session. */
export async function checkSignOut(world: World, patient: Patient, relyingParty: RelyingParty): Promise<Finding[]> {
  const { provider, about } = patient
  const uri = `${world.config.publicUrl}/auth/logout/callback`
  const register = `Register ${uri} as a post-logout redirect URI of client ${provider.clientId}, exactly so.`
  const url = await relyingParty.endSessionUrl(undefined, randomText(32)).catch(() => undefined)
  if (url === undefined) return [finding('end_session_missing', about, 'The metadata has no end_session_endpoint.')]
  const endpoint = shown(url.href)
  let answer: Response
  try {
    answer = await askHead(world, url.href, { headers: { accept: 'text/html' } })
  } catch (error) {
    const change = 'Make the end-session endpoint reachable.'
    return [finding('post_logout_uri_refused', about, `${endpoint}: ${failureOf(error)}.`, change)]
  }
  const target = locationOf(answer, url)
  if (target?.href.split(/[?#]/)[0] === uri)
    return [finding('post_logout_uri_ok', about, `Sign-outs come back to ${uri}.`)]
  const isError = target !== undefined && (/\berror\b/i.test(target.pathname) || target.searchParams.has('error'))
  // Without a session and without a hint many servers ask or refuse; with a hint they may do otherwise.
  if ((answer.status >= 400 || isError) && !provider.idTokenHint) {
    const said = isError ? 'sends the browser to an error page' : `answers HTTP ${answer.status}`
    return [
      finding(
        'post_logout_uri_refused',
        about,
        `${endpoint} ${said}.`,
        `${register} If it is: set \`idTokenHint: true\`.`,
      ),
    ]
  }
  const what = `Whether sign-outs come back cannot be told without a session. ${register}`
  return [finding('post_logout_uri_unclear', about, what)]
}

// Whether publicUrl leads to coatcheck, as browsers and logout tokens need it.
import { isLoopback } from '../config-values.ts'
import { errorHeader } from '../wire.ts'
import { type Finding, finding } from './findings.ts'
import { askHead, failureOf, type Patient, type World } from './world.ts'

const about = 'publicUrl'

export const backchannelPath = '/auth/backchannel-logout'
const frontchannelPath = '/auth/frontchannel-logout'

/**
 * Sends a logout without a logout token, which coatcheck refuses in a way of its own.
 * @param hasOthers whether there are other public addresses: then it matters that `Host` arrives as it was sent.
 */
export async function checkPublicUrl(world: World, hasOthers: boolean): Promise<Finding[]> {
  const url = world.config.publicUrl + backchannelPath
  let answer: Response
  try {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    answer = await askHead(world, seenFromHere(url), { method: 'POST', headers, body: '' })
  } catch (error) {
    return [finding('public_url_unreachable', about, `${url}: ${failureOf(error)}.`)]
  }
  if (answer.headers.get(errorHeader) === 'bad_request') {
    if (hasOthers && (await isTakenForAnother(world))) {
      const what = `${world.config.publicUrl} leads to coatcheck, which takes it for another of its public addresses.`
      return [finding('public_url_foreign', about, what)]
    }
    return [finding('public_url_ok', about, `${url} leads to coatcheck, seen from this machine.`)]
  }
  const isAway = [502, 503, 504].includes(answer.status)
  const what = `${url} answers HTTP ${answer.status}, and not as coatcheck does.`
  return [finding(isAway ? 'public_url_unreachable' : 'public_url_foreign', about, what)]
}

/** Asks whether anybody is signed in, as a page of this address would: at any other that is refused. */
async function isTakenForAnother(world: World): Promise<boolean> {
  const { publicUrl } = world.config
  const url = `${publicUrl}/auth/session`
  // By another name it would be another host.
  if (seenFromHere(url) !== url) return false
  const headers = { origin: publicUrl }
  const answer = await askHead(world, url, { method: 'POST', headers }).catch(() => undefined)
  return answer?.headers.get(errorHeader) === 'csrf_rejected'
}

/** Browsers know that these names are loopback (RFC 6761, section 6.3); not every system does. */
function seenFromHere(url: string): string {
  return url.replace(/^(https?:\/\/)[^/:]+\.localhost(?=[:/])/, '$1localhost')
}

/** Whether the authorization server can say that a session is over. */
export function checkBackchannel({ config }: World, { provider, metadata, about }: Patient): Finding[] {
  if (metadata.backchannel_logout_supported !== true) {
    return [finding('backchannel_logout_unsupported', about, 'The metadata announces no back-channel logout.')]
  }
  const isHere = isLoopback(new URL(config.publicUrl).hostname)
  if (isHere && !isLoopback(new URL(provider.issuer).hostname)) {
    return [finding('public_url_local', about, `Logout tokens are sent to ${config.publicUrl}, which is loopback.`)]
  }
  const what = `Back-channel logout is there: its URL for this client is ${config.publicUrl}${backchannelPath}.`
  return [finding('backchannel_logout_ok', about, what)]
}

/** Whether the authorization server can say by way of the browser that a session is over, where that is switched on. */
export function checkFrontchannel({ config }: World, { provider, metadata, about }: Patient): Finding[] {
  if (!provider.frontchannelLogout) return []
  const told = (what: string) => [finding('frontchannel_logout_unsupported', about, what)]
  if (metadata.frontchannel_logout_supported !== true) return told('The metadata announces no front-channel logout.')
  // Front-Channel Logout 1.0, section 3: without this nobody knows whether iss and sid come along.
  if (metadata.frontchannel_logout_session_supported !== true) {
    return told('The metadata does not announce that iss and sid come along with a front-channel logout.')
  }
  const what = `Front-channel logout is there: its URL for this client is ${config.publicUrl}${frontchannelPath}.`
  return [finding('frontchannel_logout_ok', about, what)]
}

// What a route asks for besides a path: address, rate, scopes, claims. Each check refuses by throwing.
import ipaddr from 'ipaddr.js'
import type { Network } from '../config-values.ts'
import { CoatcheckError } from '../errors.ts'
import type { LoginUrl } from '../login-url.ts'
import type { BearerIdentity } from '../oauth/access-token.ts'
import { type AccessToken, grants } from '../oauth/token-set.ts'
import type { Session } from '../session/session.ts'
import { bearerChallenge } from './challenges.ts'
import type { Route } from './routes.ts'
import { widerSignIn } from './stronger-sign-in.ts'

/** Whether an address lies in one of the networks. IPv4 inside IPv6 (`::ffff:10.0.0.1`) counts as IPv4. */
export function isWithin(address: string | undefined, networks: readonly Network[]): boolean {
  if (address === undefined || !ipaddr.isValid(address)) return false
  const parsed = ipaddr.process(address)
  return networks.some(([network, bits]) => parsed.kind() === network.kind() && parsed.match(network, bits))
}

/** @throws CoatcheckError `forbidden` */
export function requireAddress(route: Route, address: string | undefined): void {
  const { allowIps, denyIps } = route
  if (allowIps.length === 0 && denyIps.length === 0) return
  // An address that nobody knows is on no list, and so not admitted by any.
  if (address === undefined || isWithin(address, denyIps) || (allowIps.length > 0 && !isWithin(address, allowIps))) {
    throw new CoatcheckError('forbidden', 'address_refused')
  }
}

/**
 * What the session must have been granted, be, or have done.
 * @param token the one that goes up. What counts is what the user was granted: a token for another API says that of itself.
 * @throws CoatcheckError `insufficient_scope`, `forbidden` or `step_up_required`
 */
export function requireGrants(
  route: Route,
  session: Session,
  token: AccessToken | undefined,
  { loginUrl, scopes }: { loginUrl: LoginUrl; scopes: ReadonlySet<string> },
): void {
  const { require, api } = route
  const { holding } = session
  if (!grants((api && token) ?? holding.tokens, require.scope)) {
    throw widerSignIn(route, session, loginUrl, scopes)
  }
  for (const name in require.claims) {
    if (!matches(holding.claims[name], require.claims[name])) throw new CoatcheckError('forbidden', 'claim_missing')
  }
  if (require.acr.length > 0 && !require.acr.includes(holding.acr ?? '')) {
    const stronger = loginUrl(holding.provider, { acr_values: require.acr.join(' ') })
    throw new CoatcheckError('step_up_required', 'acr_missing', { loginUrl: stronger })
  }
}

/**
 * What the token that a caller brought must grant, and say. There is no sign-in to send it to: what is missing stands in the
 * challenge (RFC 6750, section 3.1; RFC 9470, section 3).
 * @throws CoatcheckError `insufficient_scope`, `forbidden` or `step_up_required`
 */
export function requireTokenGrants({ require }: Route, { scope, claims, acr }: BearerIdentity): void {
  if (!grants({ scope }, require.scope)) {
    const challenge = bearerChallenge('insufficient_scope', { scope: require.scope.join(' ') })
    throw new CoatcheckError('insufficient_scope', 'scope_missing', { challenge })
  }
  for (const name in require.claims) {
    if (!matches(claims[name], require.claims[name])) throw new CoatcheckError('forbidden', 'claim_missing')
  }
  if (require.acr.length > 0 && !require.acr.includes(acr ?? '')) {
    const challenge = bearerChallenge('insufficient_user_authentication', { acr_values: require.acr.join(' ') })
    throw new CoatcheckError('step_up_required', 'acr_missing', { challenge })
  }
}

/** A claim matches a value that it equals or contains; a list of values asks for any one of them. */
function matches(claim: unknown, wanted: unknown): boolean {
  const values = Array.isArray(wanted) ? wanted : [wanted]
  const has = Array.isArray(claim) ? claim : [claim]
  return values.some((value) => has.includes(value))
}

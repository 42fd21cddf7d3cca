// What can be found at an authorization server: how bad it is, why it matters, what to change.
import type { Kind } from './kinds.ts'

export const providerKinds = {
  check_unfinished: {
    severity: 'problem',
    why: 'What this check would have found is not known.',
    change: 'Run the doctor again; if it stays like this, look at what it asks for by hand.',
  },

  discovery_ok: { severity: 'ok' },
  discovery_unreachable: {
    severity: 'problem',
    why: 'Nobody can sign in while the metadata of the authorization server cannot be had.',
    change: 'Check `issuer`, DNS, firewalls and proxies between this machine and the authorization server.',
  },
  discovery_missing: {
    severity: 'problem',
    why: 'Where the endpoints are is learned from <issuer>/.well-known/openid-configuration, and nowhere else.',
    change: 'Set `issuer` to the value that the authorization server calls its issuer, path included.',
  },
  issuer_mismatch: {
    severity: 'problem',
    why: 'Issuers are compared letter for letter (OpenID Connect Discovery, section 4.3): every sign-in fails.',
  },
  metadata_incomplete: {
    severity: 'problem',
    why: 'Sign-in needs authorization_endpoint, token_endpoint and jwks_uri.',
    change: 'Turn on the code flow and discovery at the authorization server.',
  },
  metadata_refused: {
    severity: 'problem',
    why: 'Nobody can sign in.',
    change:
      'Mend at the authorization server, or in the configuration, what is said here; `coatcheck serve` says the same.',
  },
  endpoint_insecure: {
    severity: 'problem',
    why: 'Codes, tokens and the client secret would cross the network in the clear; coatcheck refuses such metadata.',
    change:
      'Make the authorization server publish https addresses; behind a proxy it must be told its own public address.',
  },
  endpoint_refused: {
    severity: 'problem',
    why: 'Metadata that leads inside a network, or has credentials in an address, is how a server is made to attack its clients: coatcheck asks nobody there, and nobody can sign in.',
    change:
      'Make the authorization server publish the addresses that others see; behind a proxy it must be told its own public address.',
  },
  code_flow_unsupported: {
    severity: 'problem',
    why: 'coatcheck signs in by the code flow only.',
    change: 'Allow the authorization code grant at the authorization server.',
  },

  clock_ok: { severity: 'ok' },
  clock_skew: {
    severity: 'problem',
    why: 'More than 30 seconds and ID tokens seem to be from the future or over: sign-ins fail.',
    change: 'Let this machine and the authorization server get their time from NTP.',
  },
  clock_drift: {
    severity: 'warning',
    why: 'Beyond 30 seconds sign-ins begin to fail.',
    change: 'Let this machine and the authorization server get their time from NTP.',
  },

  keys_ok: { severity: 'ok' },
  keys_unreachable: {
    severity: 'problem',
    why: 'The signature of every ID token is verified with these keys: no sign-in succeeds without them.',
    change: 'Make jwks_uri reachable from this machine.',
  },
  keys_malformed: {
    severity: 'problem',
    why: 'The signature of every ID token is verified with these keys: no sign-in succeeds without them.',
    change: 'Make jwks_uri answer with a JWK Set (RFC 7517, section 5).',
  },
  keys_unusable: {
    severity: 'problem',
    why: 'None of the published keys can have made a signature by one of the announced algorithms: no sign-in succeeds.',
    change: 'Choose an asymmetric signing key for this client at the authorization server.',
  },
  keys_private: {
    severity: 'problem',
    why: 'Whoever reads the key set can sign in as anybody, here and everywhere else this server is believed.',
    change: 'Replace the keys of the authorization server at once, and publish only their public parts.',
  },
  keys_ambiguous: {
    severity: 'warning',
    why: 'Of several keys of a kind with one kid, or none, nobody can tell which one signed: ID tokens signed with them are refused.',
    change: 'Give each published key a kid of its own, and name it in the tokens.',
  },
  keys_weak: {
    severity: 'warning',
    why: 'RSA keys below 2,048 bits (RFC 7518, section 3.3) and malformed ones are not used: ID tokens signed with them are refused.',
    change: 'Replace these keys at the authorization server.',
  },
  algorithm_unsupported: {
    severity: 'problem',
    why: 'coatcheck believes signatures by public keys only (RFC 8725, section 3.1): never HMAC, never none.',
    change: 'Have ID tokens for this client signed with RS256, PS256, ES256 or EdDSA.',
  },

  redirect_uri_ok: { severity: 'ok' },
  redirect_uri_unclear: {
    severity: 'warning',
    why: 'It answered with a page, which may be a sign-in page or an error.',
  },
  redirect_uri_refused: {
    severity: 'problem',
    why: 'The browser would be stranded at the authorization server with an error page: nobody can sign in.',
  },
  authorization_refused: {
    severity: 'problem',
    why: 'The redirect URI is accepted, but the request is not: every sign-in ends with this error.',
  },
  iss_wrong: {
    severity: 'problem',
    why: 'Whose answer it is, is compared letter for letter, and has to be said by a server that announces it (RFC 9207, section 2.4): answers like this are refused.',
    change:
      'Make the authorization server send its issuer as iss in every authorization response, errors included; or have it announce no authorization_response_iss_parameter_supported.',
  },
  authorization_unreachable: {
    severity: 'problem',
    why: 'The browser is sent there to sign in.',
    change: 'Check what the authorization server says in its log about this request.',
  },
  pushed_request_refused: {
    severity: 'problem',
    why: 'Sign-ins are pushed to this server first (RFC 9126), and it takes none.',
  },

  post_logout_uri_ok: { severity: 'ok' },
  post_logout_uri_unclear: { severity: 'ok' },
  post_logout_uri_refused: {
    severity: 'problem',
    why: 'Whoever signs out is stranded at the authorization server with an error page.',
  },
  end_session_missing: {
    severity: 'warning',
    why: 'Signing out ends the session here, not at the authorization server: the next sign-in may ask for nothing.',
    change: 'Turn on RP-initiated logout there if it has it; else tell your users.',
  },
  id_token_hint_needed: {
    severity: 'warning',
    why: 'Without it this authorization server answers a sign-out with a question or an error.',
    change: 'Set `idTokenHint: true` for this provider.',
  },

  client_auth_ok: { severity: 'ok' },
  client_auth_refused: {
    severity: 'problem',
    why: 'No code and no refresh token can be redeemed: nobody can sign in.',
    change:
      'Check `clientId` and `clientAuth`: the secret or key, and that the method is the one registered for this client.',
  },
  client_auth_unclear: {
    severity: 'warning',
    why: 'A deliberately invalid code should be answered with invalid_grant; this says neither yes nor no.',
    change: 'Sign in once and look for `login.failed` in the log.',
  },
  client_auth_unannounced: {
    severity: 'warning',
    why: 'A server that does not announce a method need not take it.',
    change: 'Choose one of the announced methods for `clientAuth.method`.',
  },
  code_grant_refused: {
    severity: 'problem',
    why: 'The client may not redeem codes, or nobody may: nobody can sign in.',
    change: 'Allow the authorization code grant for this client at the authorization server.',
  },
  token_endpoint_failed: {
    severity: 'problem',
    why: 'Codes and refresh tokens are redeemed there: nobody can sign in, and sessions end with their access tokens.',
    change: 'Make the token endpoint reachable from this machine, and look into its log.',
  },
} as const satisfies Record<string, Kind>

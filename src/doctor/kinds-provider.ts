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
    change: 'Look for `provider.unavailable` in the log of `coatcheck serve`, whose reason says more.',
  },
  endpoint_insecure: {
    severity: 'problem',
    why: 'Codes, tokens and the client secret would cross the network in the clear; coatcheck refuses such metadata.',
    change:
      'Make the authorization server publish https addresses; behind a proxy it must be told its own public address.',
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
    why: 'With several keys of a kind and no kid, nobody can tell which one signed: ID tokens are refused.',
    change: 'Give each published key a kid, and name it in the tokens.',
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
    why: 'The client is known, but may not redeem codes: nobody can sign in.',
    change: 'Allow the authorization code grant for this client at the authorization server.',
  },
  token_endpoint_failed: {
    severity: 'problem',
    why: 'Codes and refresh tokens are redeemed there: nobody can sign in, and sessions end with their access tokens.',
    change: 'Make the token endpoint reachable from this machine, and look into its log.',
  },

  pkce_unannounced: {
    severity: 'warning',
    why: 'coatcheck sends a code challenge anyway; whether the server checks it is not known.',
    change: 'Turn on PKCE with S256 for this client.',
  },
  par_missing: {
    severity: 'problem',
    why: 'The configuration asks for pushed authorization requests, and the server has no endpoint for them.',
    change: 'Turn PAR on at the authorization server, or set `par` to "auto".',
  },
  par_unused: {
    severity: 'warning',
    why: 'Pushed, a request cannot be read or changed by the browser (RFC 9126).',
    change: 'Set `par` to "auto".',
  },
  dpop_unsupported: {
    severity: 'problem',
    why: 'The configuration asks for tokens bound to a key (RFC 9449), and the server does not announce them.',
    change: 'Turn DPoP on at the authorization server, or leave `dpop` out.',
  },
  tokens_unbound: {
    severity: 'problem',
    why: 'FAPI 2.0 asks for tokens that nobody else can use: bound to a key or to a certificate.',
    change: 'Turn on certificate-bound access tokens at the authorization server, or set `dpop: true`.',
  },
  request_object_required: {
    severity: 'problem',
    why: 'Every unsigned authorization request is refused: nobody can sign in.',
    change: 'Set `keys`, and register /auth/jwks.json as the jwks_uri of this client.',
  },
  signed_response_unsupported: {
    severity: 'problem',
    why: 'coatcheck refuses an answer that should be signed and is not.',
    change: 'Turn JARM on at the authorization server, or leave `responseMode` out.',
  },
  authorization_details_unsupported: {
    severity: 'warning',
    why: 'A server need not take rights that it does not announce (RFC 9396, section 10).',
    change: 'Compare the types in `authorizationDetails` with those that the server has.',
  },
  iss_missing: {
    severity: 'problem',
    why: 'FAPI 2.0 asks every answer to say whose it is (RFC 9207); one that does not is refused.',
    change: 'Turn on the iss parameter in authorization responses at the authorization server.',
  },
  iss_unsupported: {
    severity: 'warning',
    why: 'With several providers the answer should say whose it is (RFC 9207). The callback of each, which is its own, must do.',
    change: 'Turn on the iss parameter in authorization responses if the server has it.',
  },

  refresh_ok: { severity: 'ok' },
  refresh_unsupported: {
    severity: 'problem',
    why: 'Without refresh tokens calls fail with 401 as soon as the access token is over, often after minutes.',
    change: 'Allow the refresh token grant for this client at the authorization server.',
  },
  offline_access_missing: {
    severity: 'warning',
    why: 'This server gives refresh tokens for the scope offline_access only; without them calls fail when the access token is over.',
    change: 'Add offline_access to `scope`.',
  },
  offline_access_unannounced: {
    severity: 'warning',
    why: 'A scope that the server does not have may be ignored, or fail every sign-in with invalid_scope.',
    change: 'Leave offline_access out of `scope`, unless the documentation of the server asks for it.',
  },
  rotation: { severity: 'ok' },
  rotation_unshared: {
    severity: 'warning',
    why: 'A refresh token that is redeemed twice ends the session there. Processes without a common store cannot agree on who redeems.',
    change: 'With more than one process or machine set `store.type` to sqlite or redis; with one this is fine.',
  },
  revocation_missing: {
    severity: 'warning',
    why: 'Tokens stay good until they expire, also after a sign-out.',
    change: 'Keep the lifetimes of tokens short at the authorization server.',
  },
  vendor_advice: { severity: 'warning', why: 'The documentation of this product says so.' },
  vendor_known: { severity: 'ok' },

  backchannel_logout_ok: { severity: 'ok' },
  backchannel_logout_unsupported: {
    severity: 'warning',
    why: 'A session that is ended at the authorization server goes on here until its tokens are refused.',
    change:
      'Turn on back-channel logout there if it has it; else keep access tokens and session.absoluteTimeout short.',
  },
} as const satisfies Record<string, Kind>

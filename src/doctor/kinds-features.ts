// What can be found in what an authorization server announces, held against what the configuration asks of it.
import type { Kind } from './kinds.ts'

export const featureKinds = {
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
  grant_unsupported: {
    severity: 'problem',
    why: 'A route needs tokens that this server does not give: its calls fail.',
    change: 'Allow this grant at the authorization server, or choose another `token` for the route.',
  },
  userinfo_missing: {
    severity: 'warning',
    why: '`userinfo: true` asks for claims that nobody gives: sessions have those of the ID token only.',
    change: 'Leave `userinfo` out, and have the claims put into the ID token.',
  },
  request_object_unannounced: {
    severity: 'warning',
    why: 'A server that does not announce an algorithm need not take requests signed with it.',
    change: 'Sign with a key of an announced algorithm: the first of `keys`, or that of `clientAuth`.',
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
  offline_access_consent: {
    severity: 'warning',
    why: 'A server may ignore offline_access in a request without prompt=consent (OpenID Connect Core, section 11), and those built on oidc-provider do: then no refresh token comes, and calls fail when the access token is over.',
    change:
      'If sessions end with their first access token set `authorizationParams: { "prompt": "consent" }`; if not, this server gives refresh tokens anyway.',
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

  frontchannel_logout_ok: { severity: 'ok' },
  frontchannel_logout_unsupported: {
    severity: 'warning',
    why: 'A session is found by iss and sid; without them nothing ends by way of the browser.',
    change: 'Turn on front-channel logout there, with iss and sid sent along, or leave `frontchannelLogout` out.',
  },

  introspection_ok: { severity: 'ok' },
  introspection_missing: {
    severity: 'problem',
    why: 'Tokens that cannot be verified here are to be introspected, and there is nobody to ask: their callers are answered 503.',
    change: 'Turn introspection (RFC 7662) on at the authorization server, or leave `bearer.introspection` out.',
  },
  introspection_failed: {
    severity: 'problem',
    why: 'Tokens that cannot be verified here are introspected. Without a proper answer their callers are answered 503.',
    change: 'Allow this client to introspect at the authorization server, and look into its log.',
  },
} as const satisfies Record<string, Kind>

// Why something was refused or failed, for the operator: a closed list, so that a log line cannot hold anything else.

/** Each reason that can stand in a log line, with what it means and what to do about it. */
export const reasons = {
  // What a browser, or somebody who pretends to be one, sent
  target_malformed:
    'The request target is not in canonical form: encoded slash, backslash, dot segment, control character or bad encoding.',
  parameter_repeated: 'A parameter that may stand once was sent more than once.',
  initiation_refused:
    'Another site asked for a sign-in at an issuer that is not configured, or to come back elsewhere.',
  parameter_malformed: 'A parameter has a value that cannot be right.',
  head_malformed: 'The bytes of the request are not HTTP/1.1.',
  head_too_large: 'The head of the request is larger than 64 KB, or has more lines than Node takes.',
  host_malformed: 'The request has no Host header, several, or one that is not a host.',
  not_a_navigation: 'Sign-in was started by script, prefetch or a frame; it must be a top-level navigation.',
  cross_site_login: 'Another site opened the sign-in address; the user was asked before going on.',
  csrf_header_missing: 'The route asks for the header X-CSRF and the request has none.',
  csrf_unproven:
    'Neither Fetch Metadata, nor Origin, nor X-CSRF shows that a page of the application sent the request.',
  cross_origin: 'Sec-Fetch-Site or Origin says that the request comes from elsewhere.',
  destination_refused: 'The response would have been rendered or run as a document, frame, script or worker.',
  address_refused: 'The client address is denied by allowIps or denyIps of the route.',
  body_unexpected: 'A GET or HEAD request has a body, which this runtime cannot forward.',
  body_too_large: 'The request body is larger than bodyLimit of the route.',
  rate_limited: 'The caller used up the rateLimit of the route.',
  method_refused: 'The method is not served here.',
  insecure_transport: 'A trusted proxy says that the request came over plain http, and publicUrl is https.',
  no_such_path: 'Neither an endpoint, nor a route, nor a file has this path.',
  provider_unknown: 'The request names a provider that is not configured, or not offered at this address.',
  // Sessions
  session_absent: 'The request has no session cookie.',
  session_invalid:
    'The session cookie cannot be opened: tampered with, cut, mixed from two sessions, or made for another purpose or site.',
  session_key_unknown: 'The session cookie was sealed with a key that is not in session.keys any more.',
  session_idle: 'No API call came within session.idleTimeout.',
  session_too_old:
    'session.absoluteTimeout has passed since sign-in, or the provider set an earlier end (session_expiry).',
  session_ended:
    'The session was ended (sign-out, or the authorization server ended it) and the cookie is a copy from before.',
  session_replaced: 'The user signed in again in the same browser.',
  user_replaced: 'Somebody else signed in, in a browser where this user was signed in.',
  logged_out: 'The user signed out.',
  ended_by_user: 'The user ended this session from a list of sessions.',
  ended_everywhere: 'The user ended all sessions.',
  ended_by_provider: 'The authorization server said that the session is over (back-channel logout).',
  session_unknown: 'There is no such session of this user.',
  frontchannel_logout_malformed:
    'A front-channel logout names no issuer for which that is switched on, or no sid, or one of them twice.',
  logout_token_malformed:
    'The request has no logout token, or more than one, or it is not what a logout token must be.',
  logout_token_claim: 'A claim of the logout token is missing, or not what it must be.',
  logout_token_signature: 'The logout token is not signed by the authorization server, or is of another type.',
  logout_token_key: 'No published key of the authorization server fits the logout token.',
  logout_token_time: 'The logout token is too old, or from the future.',
  logout_token_replayed: 'The logout token was used before.',
  tokens_too_large:
    'The tokens do not fit into session cookies. Ask for smaller tokens or use session.storage "store".',
  scope_missing: 'The session was not granted a scope that the route requires.',
  claim_missing: 'The user lacks a claim that the route requires.',
  acr_missing: 'The sign-in was weaker than the route requires.',
  // Callers with an access token of their own
  bearer_mixed: 'The request has a session cookie and an Authorization header. It must have one of them.',
  bearer_malformed:
    'The Authorization header is not `Bearer` and one token, came twice, or stands beside access_token.',
  bearer_scheme: 'The Authorization header of a route with `bearer` has another scheme than Bearer.',
  access_token_opaque: 'The access token is no JWT, and the route has no bearer.introspection.',
  access_token_type:
    'The access token is a JWT of another type: an ID token, or one without `typ: at+jwt` on a route without bearer.anyType.',
  access_token_claim:
    'A claim of the access token (iss, aud, exp, sub ...) is missing or has not the value it must have.',
  access_token_time: 'The access token is expired or from the future. Compare the clocks.',
  access_token_bound: 'The access token is bound to a key (DPoP, mTLS), which nobody has proven here.',
  access_token_signature:
    'The signature of the access token does not verify, or its algorithm or header is not acceptable. See bearer.algs.',
  access_token_key: 'No published key of the authorization server fits the access token.',
  access_token_inactive: 'The authorization server says that the access token is not active.',
  introspection_busy: 'More tokens wait for introspection than the authorization server is asked about at once.',
  // Logins
  login_unknown: 'The callback belongs to no sign-in that this browser has under way: too old, or started elsewhere.',
  login_loop:
    'Sign-ins go round in circles: within half a minute four left this browser without a session, because it keeps no cookies of this site or because a page asks with prompt=none again and again; or a page sent a signed-in user to sign in eight times.',
  login_repeated: 'The callback was used before.',
  user_mismatch:
    'A sign-in that must keep the user (silent, for more scope, or a stronger one) came back as somebody else.',
  issuer_unknown:
    'The session or the sign-in began at an authorization server that is not configured any more, or not by that id.',
  issuer_mismatch: 'The answer came from, or names, another issuer than the one the sign-in went to.',
  issuer_missing:
    'The answer does not say whose it is (iss, RFC 9207), although the authorization server or the profile says it must.',
  authorization_refused: 'The authorization server answered the authorization request with an error.',
  authorization_response_malformed: 'The authorization response has neither a code nor an error.',
  authorization_response_unsigned:
    'The authorization response is not signed although responseMode asks for a signature (JARM).',
  authorization_response_signature:
    'The signature of the authorization response does not verify, or its algorithm or type is not acceptable.',
  authorization_response_key: 'No published key of the authorization server fits the authorization response.',
  authorization_response_claim: 'The signed authorization response is from another issuer or for another client.',
  authorization_response_time: 'The signed authorization response is too old. Compare the clocks.',
  authorization_details_mismatch:
    'The authorization server granted authorization_details of a type that authorizationDetails does not ask for.',
  id_token_missing: 'The token response has no ID token.',
  id_token_malformed: 'The ID token lacks a claim it must have, or a claim has the wrong type.',
  id_token_claim: 'A claim of the ID token (iss, aud, azp, nonce, at_hash, sub ...) has not the value it must have.',
  id_token_time: 'The ID token is expired, from the future, or older than max_age allows. Compare the clocks.',
  id_token_signature: 'The signature of the ID token does not verify, or its algorithm or header is not acceptable.',
  id_token_algorithm:
    'The ID token is signed with an algorithm that the authorization server does not announce (id_token_signing_alg_values_supported).',
  id_token_algorithm_refused:
    'The ID token is signed with an algorithm that is accepted of nobody: none, one with a shared secret, or one that the profile rules out.',
  id_token_key: 'No published key of the authorization server fits the ID token.',
  id_token_auth_time:
    'auth_time of a refreshed ID token is not that of the sign-in (OpenID Connect Core, section 12.2).',
  identity_changed: 'A refreshed ID token names another user or issuer.',
  userinfo_mismatch: 'Userinfo speaks of another subject than the ID token.',
  userinfo_refused: 'Userinfo was refused to the access token that had just been given.',
  userinfo_malformed: 'Userinfo is neither a JSON object nor a JWT, or does not say so.',
  userinfo_signature: 'Userinfo came as a JWT whose signature, key or algorithm is not acceptable.',
  userinfo_unavailable: 'Userinfo did not come in time, or the authorization server answered with a server error.',
  acr_not_satisfied: 'The authorization server did not authenticate the user the way it was asked to (acr_values).',
  // Authorization servers
  metadata_mismatch: 'The metadata names another issuer than providers[].issuer; they must be equal to the letter.',
  metadata_incomplete:
    'The metadata lacks an endpoint, or names one that is not https, has credentials in it, or is at a private or link-local address.',
  profile_unsupported:
    'Profile "fapi2" needs a server that takes pushed authorization requests and, where the client authenticates with a certificate and dpop is not true, binds tokens to it: its metadata do not say so.',
  request_object_required:
    'The authorization server takes signed request objects only (RFC 9101), and this client has no key: set keys.',
  invalid_grant: 'The authorization server does not accept the code or refresh token (any more).',
  client_rejected: 'The authorization server does not accept our client authentication. Check clientId and clientAuth.',
  proof_rejected:
    'The authorization server does not accept our proof of a key (DPoP), by its own clock either, which may be an hour from ours at most. Compare the clocks.',
  request_rejected: 'The authorization server refused our request with an OAuth error.',
  token_refused:
    'The authorization server gives no token for this API. Check resource, audience and what the client may do.',
  subject_token_refused:
    "The authorization server exchanges the user's access token for none: it is no good any more, or may not be exchanged (RFC 8693).",
  scope_refused: 'The authorization server does not grant the scope that the route asks for.',
  issued_token_type: 'The token that came of an exchange is not of the type that was asked for (RFC 8693).',
  response_malformed: 'The authorization server answered with something that is not a valid OAuth response.',
  token_type_mismatch:
    'The tokens are of another type than was asked for, such as Bearer in the place of DPoP, or the answer does not say of which.',
  response_too_large: 'The authorization server answered with more than coatcheck reads.',
  server_error: 'The authorization server answered with a server error, or asked for patience.',
  timeout: 'No answer came in time.',
  unreachable: 'No connection could be made, or it broke.',
  refresh_token_absent: 'The access token is over and the authorization server gave no refresh token.',
  refresh_token_spent: 'This refresh token was found dead a moment ago.',
  refresh_token_over: 'The authorization server had said how long the refresh token lives, and that is over.',
  refresh_backing_off: 'The authorization server did not answer a moment ago; the next try comes shortly.',
  // Upstreams
  upstream_reset: 'The upstream closed or reset the connection.',
  upstream_garbage: 'The upstream did not speak proper HTTP.',
  upstream_transfer_coding:
    'The upstream sent its answer in a transfer coding (Transfer-Encoding: gzip ...) that nobody asked for.',
  upstream_continue:
    'The upstream said 100 Continue although it was not asked to. On Node that cannot be passed over: have it leave that out.',
  upstream_redirect: 'The upstream redirected to an address outside its route; the Location was removed.',
  sign_in_too_weak: 'The upstream asks for a stronger or more recent sign-in (insufficient_user_authentication).',
  step_up_in_vain: 'The upstream asks for a sign-in like the one that the session began with: another would not help.',
  upstream_scope: 'The upstream asks for a scope that the access token lacks (insufficient_scope).',
  upstream_token_refused: 'The upstream refused a fresh access token (invalid_token).',
  upstream_stalled: 'The upstream stopped in the middle of its answer, for longer than stallTimeout of the route.',
  upstream_queue_full:
    'Too many calls of this upstream are under way, and too many wait for one of them to end: it is slower than it is asked.',
  client_stalled: 'The browser stopped in the middle of its request, for longer than stallTimeout of the route.',
  client_gone: 'The browser went away before the upstream answered.',
  // WebSockets
  handshake_malformed: 'The handshake of a WebSocket is malformed, or asks for another version than 13.',
  websocket_session_over: 'The session of the WebSocket is over (close code 4401).',
  websocket_token_over:
    'The access token that the WebSocket was opened with is over: the caller brought it, or the route says until "token".',
  websocket_idle: 'No message crossed the WebSocket for idleTimeout of the route.',
  websocket_silent: 'One side of the WebSocket answered no ping.',
  websocket_message_too_large: 'A message was larger than messageLimit of the route (close code 1009).',
  websocket_protocol_error: 'One side sent what is no WebSocket frame, or text that is not UTF-8.',
  websocket_server_stopping: 'The server was told to stop.',
  // Ourselves
  store_failed: 'The store could not answer.',
  store_unreachable: 'The store cannot be reached, or does not answer. It is tried again until it can.',
  store_refused: 'The store does not accept the credentials of its URL.',
  unexpected: 'A defect in coatcheck, or in something it was given; the error class is in `error`.',
} as const satisfies Record<string, string>

export type Reason = keyof typeof reasons

/** Claims of an ID token that a log line may name: those that are checked. */
export const checkedClaims = ['iss', 'sub', 'aud', 'azp', 'exp', 'nbf', 'iat', 'nonce', 'auth_time', 'at_hash'] as const

export type CheckedClaim = (typeof checkedClaims)[number]

/**
 * Registered values of `error` in what an authorization server answers: RFC 6749, sections 4.1.2.1 and 5.2; OpenID Connect
 * Core, section 3.1.2.6; RFC 9126, section 2.3; RFC 9101, section 7; RFC 8707, section 2; RFC 9396, section 5; RFC 9449,
 * section 5; OpenID Connect Core Unmet Authentication Requirements. Any other is text from outside.
 */
export const oauthErrors = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'access_denied',
  'unsupported_response_type',
  'server_error',
  'temporarily_unavailable',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
  'request_not_supported',
  'request_uri_not_supported',
  'registration_not_supported',
  'unmet_authentication_requirements',
  'invalid_redirect_uri',
  'invalid_request_object',
  'invalid_request_uri',
  'invalid_target',
  'invalid_authorization_details',
  'invalid_dpop_proof',
  'use_dpop_nonce',
] as const

export type OAuthError = (typeof oauthErrors)[number]

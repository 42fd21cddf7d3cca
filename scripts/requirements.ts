// What coatcheck holds itself to, and where that comes from. The tests mention these ids; `npm run generate` makes the
// table in SECURITY.md of both.

export interface Requirement {
  /** What coatcheck does, no more than its tests show. */
  requirement: string
  /** The document and section that asks for it. */
  source: string
}

/** Headings of the table, each from the first number of its area up to the next. */
export const areas: readonly (readonly [from: number, title: string])[] = [
  [1, 'What coatcheck is between browser and API'],
  [30, 'Sign-in and the authorization server'],
  [100, 'ID tokens, userinfo and token responses'],
  [140, 'Sign-out'],
  [170, 'The FAPI 2.0 Security Profile'],
  [200, 'Cookies'],
  [300, 'Other sites'],
  [500, 'Calls to an API'],
  [600, 'Sessions, keys and settings'],
  [620, 'Browser hardening and TLS'],
  [630, 'Log and failures'],
]

const rfc = (number: number, section: string) => `RFC ${number}, section ${section}`
const asvs = (...ids: string[]) => `ASVS 5.0, ${ids.join(', ')}`
const core = (section: string) => `OpenID Connect Core 1.0, section ${section}`
const rpLogout = (section: string) => `OpenID Connect RP-Initiated Logout 1.0, section ${section}`
const backChannelLogout = (section: string) => `OpenID Connect Back-Channel Logout 1.0, section ${section}`
const topicsUpdate = (attack: string) => `draft-ietf-oauth-security-topics-update, ${attack}`
const cookieDraft = (section: string) => `draft-ietf-httpbis-rfc6265bis, section ${section}`
const fapi = (section: string) => `FAPI 2.0 Security Profile, section ${section}`
const layeredCookies = 'draft-ietf-httpbis-layered-cookies'
const ownPolicy = 'own policy'
const and = (...sources: string[]) => sources.join('; ')

export const requirements: Record<string, Requirement> = {
  R001: {
    requirement:
      'Is a confidential client: authenticates at the token, revocation and pushed-request endpoints, so that a stolen code alone is worth nothing',
    source: rfc(10017, '6.1.3.1'),
  },
  R002: {
    requirement:
      'Uses the authorization code grant only: takes no token, ID token or signed response that comes in a callback, and lets no setting ask for another response type',
    source: and(rfc(10017, '6.1.3.1'), rfc(9700, '2.1.2')),
  },
  R003: {
    requirement:
      'Sends PKCE with S256, a new verifier for each sign-in, also where the authorization server does not announce it',
    source: and(rfc(10017, '6.1.3.1'), rfc(9700, '2.1.1')),
  },
  R004: {
    requirement:
      'Starts a sign-in only for a top-level navigation, never for a fetch, frame, image or prefetch; the session endpoint answers with JSON and never redirects',
    source: rfc(10017, '6.1.2.1'),
  },
  R005: {
    requirement:
      'Sends no access token, refresh token, code, verifier or client secret to the browser in any answer, nor an ID token unless `idTokenHint` is set',
    source: and(rfc(10017, '6.1'), asvs('10.1.1')),
  },
  R006: {
    requirement:
      'Takes all cookies and any `Authorization` off a forwarded request, and adds exactly one access token, that of the session',
    source: rfc(10017, '6.1.1'),
  },
  R007: {
    requirement:
      'Sets and deletes every cookie with `HttpOnly`, and on https with `Secure`; only an http origin on loopback goes without `Secure`',
    source: and(rfc(10017, '6.1.3.2'), asvs('3.3.1', '3.3.4')),
  },
  R008: {
    requirement:
      'Sets session cookies `SameSite=Strict` unless configured otherwise; the login cookie is `Lax`, or it would not come back from the authorization server',
    source: rfc(10017, '6.1.3.2'),
  },
  R009: { requirement: 'Sets every cookie with `Path=/` and without `Domain`', source: rfc(10017, '6.1.3.2') },
  R010: {
    requirement: 'Gives every cookie of an https origin a name that begins with `__Host-Http-`',
    source: rfc(10017, '6.1.3.2'),
  },
  R011: {
    requirement:
      'Encrypts what is in cookies, the session and the sign-ins under way: no token, claim or id can be read from them, and two of one kind have nothing in common',
    source: rfc(10017, '6.1.3.2'),
  },
  R012: {
    requirement: 'Defends every route, the session endpoint and sign-out against requests that other origins start',
    source: rfc(10017, '6.1.3.3'),
  },
  R013: {
    requirement:
      'Asks for the header `X-CSRF: 1` on every request of a route with `csrf: "header"`, and elsewhere on calls, sign-out and extending a session where a browser says neither `Sec-Fetch-Site` nor `Origin`',
    source: rfc(10017, '6.1.3.3.2'),
  },
  R014: {
    requirement: 'Calls only the upstreams that routes name, whatever path is asked for',
    source: rfc(10017, '6.1.3.6'),
  },
  R015: {
    requirement:
      'Leaves neither the path of the route that matched nor the folder of the application, however a path is written',
    source: rfc(10017, '6.1.3.6'),
  },
  R016: {
    requirement:
      'Forwards only the methods of a route and refuses others with 405 and `Allow`; TRACE and CONNECT reach no upstream, and no header overrides a method',
    source: rfc(10017, '6.1.3.6'),
  },
  R017: {
    requirement:
      'Refreshes an expired access token on the way of a call, authenticated as the client; the API sees only the new one',
    source: rfc(10017, '6.1.2.2'),
  },
  R018: {
    requirement:
      'Ends the session when the authorization server does not know its refresh token any more: 401, cookies deleted, copies dead, and no second attempt',
    source: rfc(10017, '6.1.2.2'),
  },
  R019: {
    requirement:
      'Keeps the session when a refresh fails for a reason that may pass: 503 with `Retry-After`, the cookies as they were, and the next attempt works',
    source: and(rfc(10017, '6.1.2.2'), asvs('16.5.2', '16.5.3')),
  },
  R020: {
    requirement: 'Controls a session that lives in cookies by revoking its tokens at sign-out',
    source: rfc(10017, '6.1.2.3'),
  },
  R021: {
    requirement:
      'Takes who the user is from a validated ID token only; userinfo and the rest of the token response change nothing that it says',
    source: rfc(10017, '6.1.2.4'),
  },
  R022: {
    requirement:
      'Has a sign-out endpoint that ends the session at once, in this browser and in every copy of its cookies',
    source: rfc(10017, '6.1.2.1'),
  },
  R023: {
    requirement:
      'Tells the API the address of the client in `X-Forwarded-For`, taken from the connection or from trusted proxies, never from what the client says',
    source: rfc(10017, '6.1.3.5'),
  },
  R024: {
    requirement: 'Writes no body, query, token or user name of a call or sign-in into the log',
    source: rfc(10017, '6.1.3.4'),
  },
  R025: {
    requirement:
      'Says the end of a sign-in in a window of its own only to pages of its own origin (`BroadcastChannel`), without a token in it; has no frames and listens to no message of another origin',
    source: rfc(9700, '4.17'),
  },
  R026: {
    requirement: 'Treats sibling hosts as strangers, on routes without a session too: same site is not the same origin',
    source: rfc(10017, '6.1.3.3.1'),
  },
  R027: {
    requirement:
      'Makes redirect URIs, links and cookies from configured addresses, never from `Host`, `X-Forwarded-*`, `Forwarded` or an absolute request target; of several addresses `Host` alone chooses one',
    source: rfc(6749, '3.1.2'),
  },
  R028: {
    requirement:
      'Lets nobody frame a sign-in or its callback; a sign-in with `prompt=none` that finds nobody, or fails, goes back once, without a session and without a loop',
    source: rfc(10017, '5.1.3'),
  },

  R030: {
    requirement:
      'Redirects after sign-in and sign-out only to paths of its own origin, whatever `returnTo` or any other parameter says',
    source: and(rfc(9700, '2.1'), rfc(9700, '4.11.1')),
  },
  R031: {
    requirement:
      'Signs nobody in with a callback that another browser began, or with a code of another sign-in, also where the authorization server ignores PKCE',
    source: and(rfc(9700, '2.1'), rfc(9700, '4.7.1')),
  },
  R032: {
    requirement: 'Makes state, nonce and verifier of 256 random bits, new for each sign-in',
    source: and(rfc(9700, '4.7.1'), asvs('10.1.2')),
  },
  R033: {
    requirement:
      'Takes each state once and for ten minutes at most: of callbacks that come again or together one asks for tokens, also after a failure',
    source: rfc(9700, '4.2.4'),
  },
  R034: {
    requirement: 'Signs nobody in when the state or the login cookie was changed in any place',
    source: rfc(9700, '4.7.1'),
  },
  R035: {
    requirement:
      'Remembers for each sign-in and session at which authorization server it began: neither code nor token of one is ever sent to another, whether they send `iss` or not, nor when a provider gets another issuer',
    source: and(rfc(9700, '2.1'), rfc(9700, '4.4.2')),
  },
  R036: {
    requirement: 'Compares the `iss` of a response, and of an error response, letter for letter with the issuer',
    source: rfc(9207, '2.4'),
  },
  R037: {
    requirement:
      'Refuses a response without `iss` from an authorization server that announces it, and one with another `iss` from any',
    source: rfc(9207, '2.4'),
  },
  R038: { requirement: 'Refuses to start with two providers of one issuer', source: rfc(9207, '2.4') },
  R039: {
    requirement: 'Uses no token before the nonce of its ID token is verified',
    source: rfc(9700, '4.5.3.2'),
  },
  R040: {
    requirement: 'Sends the verifier of its challenge with every code, and shows it to the token endpoint only',
    source: rfc(9700, '4.8'),
  },
  R041: {
    requirement: 'Puts no access token into an address: of an API, of the authorization server, or of the browser',
    source: rfc(9700, '4.3.2'),
  },
  R042: {
    requirement:
      'Answers a callback so that its code gets no further: 303 to another address, `Referrer-Policy: no-referrer`, `no-store`, and error pages that load nothing',
    source: and(rfc(9700, '4.2'), asvs('3.4.5', '14.2.1')),
  },
  R043: {
    requirement: 'Redirects from its own endpoints with 303 only, so that no browser sends a body again',
    source: rfc(9700, '4.12'),
  },
  R044: {
    requirement:
      'Takes every endpoint from the metadata, and only if its issuer is exactly the configured one and its endpoints are https (or on loopback)',
    source: and(rfc(9700, '2.6'), 'OpenID Connect Discovery 1.0, section 4.3', asvs('10.5.3')),
  },
  R045: {
    requirement:
      'Asks for exactly the configured scope and parameters, which no browser can add to; an API never gets the ID token',
    source: and(rfc(9700, '2.3'), asvs('10.2.3')),
  },
  R046: {
    requirement: 'Follows no redirect of an API, so that the access token goes to the configured upstream only',
    source: rfc(9700, '4.9'),
  },
  R047: {
    requirement:
      'Can authenticate with `private_key_jwt` (ES256, PS256, RS256, EdDSA), with a certificate (`tls_client_auth`, `self_signed_tls_client_auth`), with a secret in a Basic header (form-encoded, or as it is for servers that do not decode), or with a secret in the form',
    source: rfc(9700, '2.5'),
  },
  R048: {
    requirement:
      'Keeps up with refresh token rotation: of many calls at once, or after one another, none spends a token twice',
    source: rfc(9700, '4.14.2'),
  },
  R049: {
    requirement:
      'Survives that the answer to a refresh is lost: the cookie from before it gets the new tokens, and no token is spent twice',
    source: and(rfc(9700, '4.14.2'), ownPolicy),
  },
  R050: {
    requirement: 'Goes on with the same refresh token where the authorization server does not rotate',
    source: rfc(9700, '4.14.2'),
  },
  R051: {
    requirement:
      'Believes no header about client, host or scheme that does not come from a trusted proxy, and tells the API its own, once',
    source: rfc(9700, '4.13'),
  },
  R052: {
    requirement: "Sends `frame-ancestors 'none'` with every answer under `/auth`",
    source: and(rfc(9700, '4.16'), asvs('3.4.6')),
  },
  R053: {
    requirement:
      'Makes client assertions for the configured issuer alone, as a single string, whatever the metadata say of the token endpoint',
    source: topicsUpdate('audience injection'),
  },
  R054: {
    requirement:
      'Has a redirect URI of its own for each provider, and refuses a response that comes to that of another',
    source: topicsUpdate('cross-toolkit OAuth account takeover'),
  },
  R055: {
    requirement:
      'Finishes a sign-in only in the browser that began it, and one that is silent, stronger or for more scope only as the user who is signed in',
    source: topicsUpdate('cross-user session fixation'),
  },
  R056: {
    requirement:
      'Treats `error`, `error_description` and `error_uri` as text of a stranger: on no page, in no log; the sign-in is used up',
    source: and(rfc(6749, '4.1.2.1'), asvs('1.2.1', '16.4.1')),
  },
  R057: {
    requirement: 'Refuses a parameter that comes twice at the callback or the sign-in',
    source: and(rfc(6749, '3.1'), asvs('15.3.7')),
  },
  R058: {
    requirement:
      'Bounds what an authorization server answers in time and size, takes only JSON (or a JWT) for data, follows no redirect, and verifies certificates; metadata leads to no plain http, to no other protocol, to no credentials in an address and, unless the issuer is there itself, to no private, loopback or link-local address',
    source: asvs('12.3.2', '13.1.3', '15.3.2'),
  },
  R060: {
    requirement: 'Shows the browser only `client_id` and `request_uri` when the request is pushed',
    source: rfc(9126, '4'),
  },
  R061: {
    requirement:
      'Pushes the request where the authorization server requires it; where that names no endpoint for it, or `par` is true and there is none, no sign-in starts',
    source: rfc(9126, '5'),
  },
  R062: {
    requirement: 'Pushes a request of its own for each sign-in; one that was swapped on the way signs nobody in',
    source: rfc(9126, '2.2'),
  },
  R063: {
    requirement: 'Starts no sign-in in the open when pushing the request fails',
    source: and(rfc(9126, '2.3'), ownPolicy),
  },
  R064: {
    requirement:
      'Signs its authorization requests where that is configured or required, for the issuer alone, each with a `jti` of its own and a life of a minute, with nothing beside the request object; no metadata talk it out of that',
    source: rfc(9101, '4, 10.2 and 10.8'),
  },
  R065: {
    requirement:
      'Where signed authorization responses are asked for, refuses any other: plain, unsigned, of another signer, issuer or client, or too old',
    source: 'JWT Secured Authorization Response Mode (JARM), section 2.4',
  },
  R067: {
    requirement: 'Discards tokens that are not bound where `dpop` is set, and bound ones where it is not',
    source: rfc(9449, '5'),
  },
  R068: {
    requirement: 'Asks an authorization server that wants a nonce in the proof once more, and never a third time',
    source: rfc(9449, '8'),
  },
  R069: {
    requirement:
      'Keeps the nonces of every server apart, takes them from any of its answers, and uses them for all sessions',
    source: rfc(9449, '8.2'),
  },
  R070: {
    requirement:
      'Sends a call once more, whole, when the API asks for a nonce in the proof (bodies up to 1 MB): with the one it was given itself, however many calls there are at once',
    source: rfc(9449, '9'),
  },
  R071: {
    requirement: 'Sends its own `DPoP` and `Authorization` and none of the browser',
    source: rfc(9449, '7.1'),
  },
  R074: {
    requirement:
      'Dates its proofs by the clock of a server that refused one, where that is up to an hour from its own, and tries once more',
    source: rfc(9449, '11.1'),
  },
  R075: {
    requirement:
      'Goes to `mtls_endpoint_aliases` with a client certificate, and starts no sign-in where the token endpoint would not ask for it',
    source: rfc(8705, '5'),
  },
  R076: {
    requirement:
      'Shows its certificate at the endpoints where it has to prove who it is, and to no other host or endpoint',
    source: and(rfc(8705, '2'), ownPolicy),
  },
  R078: {
    requirement:
      'Makes a new client assertion for each request: of at most five minutes, with a `jti` of its own, the `kid` of its key and a type that nothing else has',
    source: and(rfc(7523, '3'), 'draft-ietf-oauth-rfc7523bis'),
  },
  R079: {
    requirement:
      'Publishes the public halves of all its keys at `/auth/jwks.json` and no private member, so that keys can be exchanged without a moment in which the server knows none',
    source: and(rfc(7517, '9.2'), rfc(7523, '3')),
  },
  R081: {
    requirement: 'Shows an API nothing that came of an exchange unless it is a bearer access token, as was asked for',
    source: rfc(8693, '2.2.1'),
  },
  R082: {
    requirement:
      "Turns an API's `insufficient_user_authentication` into 401 `step_up_required` with an address for the stronger sign-in, whose `acr` is checked on return",
    source: 'RFC 9470, section 3',
  },
  R086: {
    requirement:
      'Asks for `authorization_details` by the configuration alone, and takes no grant of a type that was not asked for',
    source: rfc(9396, '2 and 7'),
  },
  R083: {
    requirement:
      'Tells a caller with an access token of its own what an API has against it in its own words: the error, scopes, `acr_values` and `max_age`, and nothing else that stood in the challenge',
    source: and(rfc(6750, '3'), rfc(9470, '3')),
  },
  R084: {
    requirement:
      'Revokes the newest tokens of a session at sign-out; a revocation that fails or hangs does not hold the sign-out up',
    source: rfc(7009, '2'),
  },
  R085: {
    requirement:
      'Introspects an access token that is no JWT with its own client authentication, believes no answer beyond `exp` or `cacheFor`, and passes nothing on while there is none',
    source: rfc(7662, '2'),
  },
  R087: {
    requirement: 'Lets no API choose the authorization server: metadata that a challenge names is not fetched',
    source: and('RFC 9728, section 5', ownPolicy),
  },

  R100: {
    requirement: 'Refuses an ID token of any other issuer than exactly the configured one',
    source: core('3.1.3.7'),
  },
  R101: {
    requirement: 'Refuses an ID token for any other audience, and one for a second audience besides',
    source: and(core('3.1.3.7'), asvs('10.5.4')),
  },
  R102: { requirement: 'Refuses an ID token with another authorized party (`azp`)', source: core('3.1.3.7') },
  R103: {
    requirement:
      'Verifies the signature of every ID token, with a published key and an asymmetric algorithm that was announced; never `none`, never HMAC',
    source: and(core('3.1.3.7'), asvs('6.8.2', '9.1.1', '9.1.2')),
  },
  R104: {
    requirement: 'Refuses an ID token that has no expiry, is over or has not begun; clocks may differ by half a minute',
    source: core('3.1.3.7'),
  },
  R105: {
    requirement: 'Refuses an ID token without a time of issue, or issued well in the future',
    source: core('3.1.3.7'),
  },
  R106: {
    requirement: 'Refuses an ID token whose nonce is not that of this sign-in',
    source: and(core('3.1.3.7'), asvs('10.5.1')),
  },
  R107: { requirement: 'Refuses an ID token whose subject is not a text of 1 to 255 characters', source: core('2') },
  R108: {
    requirement:
      'Checks `auth_time` and `acr` when `max_age` or `acr_values` was asked for; what the operator asks for cannot be lowered by the browser',
    source: and(core('3.1.3.7'), asvs('6.8.4')),
  },
  R109: {
    requirement: 'Refuses an ID token whose `at_hash` is not that of its access token',
    source: core('3.1.3.8'),
  },
  R110: {
    requirement:
      'Takes no key from a token: `jku`, `x5u`, `jwk` and `x5c` are neither used nor called, and an unknown `crit` or `b64` is refused',
    source: and(asvs('9.1.3'), rfc(8725, '3.10')),
  },
  R111: {
    requirement: 'Takes no access token, logout token or other kind of JWT for an ID token',
    source: and(asvs('9.2.2'), rfc(8725, '3.11')),
  },
  R112: {
    requirement:
      'Survives tokens and keys that are none: cut, nested, a megabyte long, with members twice or `__proto__`; verifies nothing with an RSA key of 1,024 bits',
    source: and(rfc(8725, '3'), asvs('15.3.6')),
  },
  R113: { requirement: 'Accepts no encrypted ID token: it asks for none', source: core('10.2') },
  R114: {
    requirement: 'Fetches keys again for an unknown `kid`, but only so often, however many tokens name one',
    source: core('10.1.1'),
  },
  R115: {
    requirement:
      'Accepts an ID token without `kid` where there is one key, and signs nobody in by chance where there are several',
    source: core('10.1'),
  },
  R116: {
    requirement:
      'Notices at once that the signing key was rotated, that the keys have moved or that the algorithm is another, also while sign-ins are under way; a key that was withdrawn verifies nothing after ten minutes, or a day while newer ones cannot be had',
    source: core('10.1.1'),
  },
  R117: {
    requirement:
      'Finds the right key among any others; verifies nothing with a published symmetric key, and passes on nothing of a private one published by mistake',
    source: and('RFC 7517', 'FAPI 2.0 Security Profile, section 5.4.3'),
  },
  R118: {
    requirement:
      'Keeps sessions working, and signing out, while the authorization server, or its keys alone, is away or its metadata has turned bad, after a start in the middle of that too; one that is away does not take another with it',
    source: asvs('16.5.2'),
  },
  R119: { requirement: 'Believes no userinfo about another subject than that of the ID token', source: core('5.3.2') },
  R120: {
    requirement:
      'Asks userinfo with the token in the header only, and believes a signed answer only if its signature is right',
    source: and(core('5.3.1'), rfc(6750, '2.1')),
  },
  R121: {
    requirement:
      'Ends the session when a refreshed ID token is of another issuer, user, client or sign-in, or has a wrong signature; one whose key or algorithm is not known or whose time is not now is not believed, and loses no session',
    source: core('12.2'),
  },
  R122: { requirement: 'Needs no ID token with a refresh', source: core('12.2') },
  R123: {
    requirement: 'Tells users apart by issuer and subject, never by e-mail address',
    source: and(core('5.7'), asvs('6.8.1', '10.5.2')),
  },
  R124: {
    requirement: 'Knows no sign-in that a third party starts: `iss` and `target_link_uri` have no effect',
    source: core('4'),
  },
  R125: {
    requirement: 'Takes no response by form post: 405, and the sign-in stays as it was',
    source: and('OAuth 2.0 Form Post Response Mode 1.0', ownPolicy),
  },
  R126: { requirement: 'Takes bearer tokens only, in whatever case `token_type` is written', source: rfc(6749, '5.1') },
  R127: {
    requirement:
      'Makes no storm of refreshes of an `expires_in` that is missing or odd; at the sign-in it refuses one that is negative or no number',
    source: rfc(6749, '5.1'),
  },
  R128: {
    requirement:
      'Signs nobody in, and forwards nothing, with a token response that is none: not JSON, without a token, or with one that is no header value or does not fit. Of a refresh it keeps what can be used; what spent the refresh token and cannot be used is revoked, and ends the session',
    source: and(rfc(6749, '5.1'), rfc(6749, '5.2')),
  },
  R129: {
    requirement:
      'Goes by the scope that was granted, not by the one that was asked for, from the sign-in and from each refresh on',
    source: rfc(6749, '3.3'),
  },

  R140: {
    requirement:
      'Sends the browser to the `end_session_endpoint` with `client_id`, return address and a new state, and the ID token only if configured',
    source: rpLogout('2'),
  },
  R141: {
    requirement:
      'Ends the session here whatever the authorization server does: it is over before sign-out is answered, and that does not take long',
    source: and(rpLogout('2'), asvs('7.4.1')),
  },
  R142: {
    requirement:
      'Begins, ends and reveals nothing when a browser returns from sign-out, whatever state it brings; each state is confirmed once',
    source: rpLogout('3'),
  },
  R143: {
    requirement:
      'Signs out for a POST of its own pages only: no link, image, form or fetch of another origin ends a session',
    source: and(rfc(9700, '4.7'), ownPolicy),
  },
  R144: {
    requirement:
      'Deletes the session, its left-over pieces and the sign-ins under way by the names and attributes that they were set with, and nothing of anybody else',
    source: 'draft-ietf-httpbis-rfc6265bis',
  },
  R146: {
    requirement:
      'Takes logout tokens only in the body of a form, at `/auth/backchannel-logout`, without cookies: not as JSON, as text or in the query',
    source: backChannelLogout('2.5'),
  },
  R147: {
    requirement:
      'Believes a logout token only with the right signature, issuer and audience, fresh `iat` and `exp`, a `jti`, the logout event as an object, `sub` or `sid`, and no nonce',
    source: backChannelLogout('2.6'),
  },
  R148: {
    requirement: 'Wants `typ: logout+jwt` (an old server can be exempted), so that no ID token signs anybody out',
    source: and(backChannelLogout('2.4'), asvs('10.5.5')),
  },
  R149: {
    requirement:
      'Ends the one session that `sid` names (and with `sub` those of the user for which there is no `sid`), or all sessions of the user at that issuer when there is only `sub`',
    source: backChannelLogout('2.7'),
  },
  R150: {
    requirement: 'Answers a logout token that it does not believe, or none, with 400, `invalid_request` and `no-store`',
    source: backChannelLogout('2.8'),
  },
  R151: {
    requirement: 'Ends a session everywhere within a second of a back-channel logout, also one that lives in cookies',
    source: 'OpenID Connect Back-Channel Logout 1.0, section 2.7',
  },
  R152: {
    requirement:
      'Fetches keys at most five times a minute for each kind of token, however many forged ones name keys that nobody has, also while there are none to be had; asks one that is slow to answer for its metadata once at a time',
    source: asvs('2.4.1'),
  },
  R153: {
    requirement: 'Lets a back-channel logout beat a refresh or a sign-in that is under way',
    source: asvs('15.4.2'),
  },
  R154: {
    requirement: 'Counts no logout token twice: what begins after a logout outlives a replay of its token',
    source: backChannelLogout('2.6'),
  },

  R170: {
    requirement: 'With `profile: "fapi2"` takes only tokens that are bound to its key or certificate',
    source: fapi('5.3.3.1'),
  },
  R171: {
    requirement:
      'With `profile: "fapi2"` refuses every setting that contradicts it: shared secrets, unbound tokens, RS256, plain http, requests that are not pushed',
    source: fapi('5.3.3.1 and 5.4.1'),
  },
  R182: {
    requirement: 'With `profile: "fapi2"` takes no authorization response without `iss`, whatever the metadata say',
    source: fapi('5.3.3.2'),
  },
  R183: {
    requirement: 'With `profile: "fapi2"` pushes every authorization request, and starts no sign-in where it cannot',
    source: fapi('5.3.3.2'),
  },
  R185: {
    requirement: 'With `profile: "fapi2"` takes only what is signed with PS256, ES256 or EdDSA (Ed25519)',
    source: fapi('5.4.1'),
  },
  R200: {
    requirement:
      'Sets no cookie longer than the 4,096 bytes that a browser keeps; tokens that do not fit make the sign-in fail and say so, and never leave half a session',
    source: and(cookieDraft('5.6'), asvs('3.3.5')),
  },
  R201: {
    requirement:
      'Is not disturbed by two hundred cookies of sibling hosts: a session works, and without one it is a clean 401',
    source: and(cookieDraft('6.1'), ownPolicy),
  },
  R202: {
    requirement: 'Takes at most 7.5 KB for the cookies of a session together',
    source: asvs('4.2.5'),
  },
  R203: {
    requirement:
      'Lets no cookie, planted or damaged, lock a user out of signing in; more than the server takes is refused in its own words',
    source: ownPolicy,
  },
  R204: {
    requirement:
      'Keeps the newest five sign-ins under way, or fewer if they are large, in one cookie of at most 4 KB; images, frames and fetches add none',
    source: ownPolicy,
  },
  R205: {
    requirement: 'Reads only cookies of exactly its own names; those that look alike are neither read nor deleted',
    source: and(layeredCookies, asvs('3.3.1', '3.3.3')),
  },
  R206: {
    requirement:
      'Uses the prefix `__Host-Http-`, not only `__Host-`, for the session: scripts cannot set such a cookie',
    source: layeredCookies,
  },
  R207: {
    requirement:
      'Counts the first of several cookies with one name; bad bytes, two `Cookie` lines or two thousand pairs are no reason to fail',
    source: cookieDraft('4.2.1'),
  },
  R208: {
    requirement:
      'Keeps the expiry of sessions and sign-ins inside the seal: a cookie kept beyond its Max-Age is refused; ends with what the provider says of the end of the session or of the refresh token',
    source: asvs('7.3.1', '7.3.2'),
  },
  R210: {
    requirement: 'Sets the login cookie `SameSite=Lax`, whatever the session cookies are',
    source: cookieDraft('5.2'),
  },
  R211: {
    requirement:
      'Does not need the `Strict` session cookie on the first document after a sign-in, which comes without it',
    source: cookieDraft('5.2'),
  },
  R214: {
    requirement: 'Allows `SameSite=None` only with `session.embedding`, and then sets session cookies `Partitioned`',
    source: 'Cookies Having Independent Partitioned State (CHIPS)',
  },
  R215: { requirement: 'Refuses to start with an http `publicUrl` beyond loopback', source: ownPolicy },

  R300: {
    requirement:
      'Serves calls, sign-out and extending a session only where `Sec-Fetch-Site` or `Origin` says that its own page asks, or `X-CSRF: 1` where there is neither; whoever says to come from elsewhere is not told who is signed in',
    source: and(rfc(10017, '6.1.3.3'), 'OWASP CSRF Prevention Cheat Sheet', asvs('3.5.1')),
  },
  R301: {
    requirement: 'Serves browsers without Fetch Metadata by their `Origin`, or by `X-CSRF: 1` where they send none',
    source: 'OWASP CSRF Prevention Cheat Sheet',
  },
  R302: { requirement: 'Guards GET and HEAD as it guards POST', source: asvs('3.5.3', '3.5.8') },
  R303: {
    requirement:
      'Guards every content type, and compares `Origin` with the configured address, not with what a request says its address is',
    source: asvs('3.5.2'),
  },
  R304: {
    requirement: 'Lets no other origin read an answer: sends no `Access-Control-*` of its own, and passes none on',
    source: asvs('3.4.2'),
  },
  R305: { requirement: 'Has no setting that opens it to another origin', source: rfc(10017, '6.1.3.3.2') },
  R306: { requirement: 'Refuses preflights of other origins itself; no API hears of them', source: ownPolicy },
  R310: {
    requirement:
      'Asks the visitor before a sign-in that another site opened, so that none switches an identity or starts without notice; an identity that changes on top of a session is refused or told',
    source: and('FAPI 2.0 Security Profile, section 5.3.3.1', asvs('7.6.2', '10.2.1')),
  },
  R311: { requirement: 'Lets no other origin sign a user out', source: and(rfc(10017, '6.1.3.3'), ownPolicy) },
  R312: {
    requirement:
      'Refuses a WebSocket handshake of another origin, or without one, before the API hears of it, whether or not the route has WebSockets',
    source: and(asvs('4.4.2'), 'OWASP WebSocket Security Cheat Sheet'),
  },
  R313: {
    requirement:
      'Sends `nosniff` and `Cross-Origin-Resource-Policy: same-origin` with every answer that could depend on a session',
    source: asvs('3.4.4', '3.5.7', '3.5.8'),
  },
  R314: {
    requirement: 'Answers what other sites load alike, whether the visitor is signed in or not',
    source: 'OWASP XS Leaks Cheat Sheet',
  },

  R500: {
    requirement: 'Lets neither path, header, `Host` nor request target decide which server is called',
    source: and(rfc(10017, '6.1.3.6'), asvs('1.3.6', '13.2.4', '13.2.5')),
  },
  R501: {
    requirement: 'Lets no user information, port or host name in a path become part of the address of an upstream',
    source: asvs('1.5.3'),
  },
  R502: {
    requirement:
      "Sends no path to an upstream that normalizes to one outside the route's own, in no form of a request target, and not with dots and slashes in compatibility characters",
    source: asvs('1.1.1'),
  },
  R503: {
    requirement:
      'Refuses encoded slashes, backslashes, control characters, dot segments, double encoding and fragments with 400; on Workers, which resolves some first, they stay inside the route',
    source: asvs('1.1.1', '1.2.2'),
  },
  R504: {
    requirement:
      'Matches, authorizes and forwards one and the same path: no other spelling of it gets round the stricter of two routes',
    source: asvs('1.5.3'),
  },
  R505: {
    requirement: 'Refuses bad UTF-8, bad percent-encoding and addresses beyond 16 KB with 4xx',
    source: ownPolicy,
  },
  R506: {
    requirement: 'Forwards the query byte for byte (on Workers as the URL parser in front leaves it)',
    source: and(rfc(3986, '3.4'), ownPolicy),
  },
  R508: {
    requirement:
      'Passes hop-by-hop headers in neither direction (on Node also those that `Connection` names); `Connection` cannot take away what coatcheck itself says, nor wedge connections to the API',
    source: rfc(9110, '7.6.1'),
  },
  R509: {
    requirement:
      'Takes off whatever an API could take for identity: credentials, forwarding headers, client certificates, user names, method and address overrides, names with underscores',
    source: asvs('4.1.3'),
  },
  R510: { requirement: 'Refuses, on Node, a request without exactly one well-formed `Host`', source: rfc(9112, '3.2') },
  R511: {
    requirement:
      'Refuses, on Node, stray CR, LF and NUL in a head with 400, and heads beyond the limits with 431; keeps nothing of what never ends',
    source: asvs('4.2.4'),
  },
  R514: {
    requirement:
      'Refuses, on Node, bytes that could be read as requests in two ways; on both runtimes a request inside another is none, each call gets its own answer, and what an API sends beyond its answer is nobody else’s',
    source: and(asvs('4.2.1'), rfc(9112, '6')),
  },
  R515: {
    requirement:
      'Takes as client address the last one that no trusted proxy is answerable for, and never text that is no address',
    source: asvs('15.3.4'),
  },
  R516: {
    requirement:
      'Streams bodies within `bodyLimit`, ends the upstream call when the browser leaves, repeats nothing itself that could have had an effect, and answers a refused token with one refresh and one more try; what came in its place is replaced again after a while only, whichever routes and instances have it refused',
    source: asvs('13.1.3', '13.2.6'),
  },
  R517: {
    requirement: 'Passes compressed answers on byte for byte and never unpacks them',
    source: and(rfc(9110, '8.4'), ownPolicy),
  },
  R518: { requirement: 'Passes no cookie of an API on to the browser', source: ownPolicy },
  R519: {
    requirement:
      'Passes no header of an API on that would change the state of its own origin, or order servers and caches in front: with no status, in no 1xx answer, in no trailer, behind no stray line end',
    source: ownPolicy,
  },
  R520: {
    requirement: 'Passes no challenge of an API on, so that no browser asks for a password',
    source: rfc(6750, '3'),
  },
  R521: {
    requirement:
      'Refuses API data as a document, frame, script or worker, and sends it with `sandbox` and `nosniff` so that it does not run where a browser does not say what for',
    source: asvs('3.2.1'),
  },
  R522: {
    requirement:
      'Translates a `Location` of an API that stays inside its route, removes any other, and connects to nobody for it',
    source: rfc(9700, '4.11'),
  },
  R523: {
    requirement: 'Tells of an upstream that fails in its own words, 502 or 504: no address, no reason of the system',
    source: asvs('16.5.1'),
  },
  R524: {
    requirement:
      'Sends `no-store` and `Vary: Cookie` with every answer that depends on a session, whatever the API says',
    source: asvs('14.2.2', '14.2.5', '14.3.2'),
  },
  R525: {
    requirement: 'Brings the cookies of a refreshed session with the answer that opens a stream or a WebSocket',
    source: ownPolicy,
  },
  R526: {
    requirement:
      'Refuses calls that a trusted proxy says came by http, and lets only documents start again, at the https `publicUrl`',
    source: asvs('4.1.2'),
  },
  R527: {
    requirement: 'Sends `Strict-Transport-Security` for a year with every answer of an https origin, and never on http',
    source: asvs('3.4.1'),
  },
  R528: {
    requirement:
      'Opens a WebSocket upstream with the token of the session, holds both sides to the protocol and to `messageLimit`, and closes it with 4401 within two seconds of the end of the session, or with its token where the route says so',
    source: asvs('4.4.1', '4.4.3', '4.4.4'),
  },
  R529: {
    requirement:
      'Answers 504 when the head of an API’s answer is not there within the time of the route, whatever drips in meanwhile; an API that hangs keeps no call of another waiting',
    source: asvs('13.2.6', '16.5.2'),
  },
  R530: {
    requirement:
      'Serves everybody else while hundreds of clients never finish a head, or have left in the middle of a refresh; ends who stops in the middle of a body, sending or reading',
    source: ownPolicy,
  },
  R531: {
    requirement:
      'Passes an access token that a caller brings on only when its signature, type, issuer, audience and times are right, for the policy of that very route; forged ones by the thousand cost neither keys nor room of good ones',
    source: and(rfc(9068, '4'), rfc(8725, '3')),
  },
  R532: {
    requirement: 'Takes no ID token, refresh token, logout token, assertion or proof for an access token',
    source: and(rfc(9068, '5'), rfc(8725, '3.11')),
  },
  R533: {
    requirement:
      'Lets a request be somebody in one way: a session cookie or one `Authorization: Bearer`, never both, never two',
    source: rfc(6750, '2'),
  },

  R600: {
    requirement:
      'Gives sessions ids of at least 128 random bits, authenticates what it encrypts, and refuses a wrong cookie alike whatever is wrong with it',
    source: asvs('7.2.2', '7.2.3', '11.3.3'),
  },
  R601: {
    requirement:
      'Takes a cookie that was changed, cut, mixed or renamed for none: nobody is signed in, the session cookies are deleted, no API hears of it',
    source: asvs('9.1.1', '11.3.3'),
  },
  R602: {
    requirement:
      'Binds each seal to its purpose, to its public address and to the cookie name: in any other place it opens nothing',
    source: ownPolicy,
  },
  R603: {
    requirement:
      'Seals with the newest key and opens with all in the list, and with no other; no salt or initialization vector comes twice',
    source: asvs('11.2.2', '11.3.4', '13.3.4'),
  },
  R604: {
    requirement:
      'Makes a new session at each sign-in; the one that the browser had is dead, wherever its cookie was copied to',
    source: asvs('7.2.4'),
  },
  R605: {
    requirement: 'Signs a user in to a new session of their own, whatever cookies were planted before',
    source: 'OWASP Session Management Cheat Sheet',
  },
  R606: {
    requirement:
      'Ends sessions by an idle and an absolute timeout; asking who is signed in, and refused calls, put neither off',
    source: asvs('7.3.1', '7.3.2'),
  },
  R607: {
    requirement:
      'Leaves a copied cookie dead after sign-out, after a new sign-in, and when the authorization server ended the session',
    source: asvs('7.4.1'),
  },
  R608: {
    requirement: 'Ends all sessions of a user at once, when the user or the authorization server says so',
    source: asvs('7.4.2', '7.4.5', '7.5.2'),
  },
  R609: {
    requirement: 'Refreshes once for any number of requests at several instances with one store',
    source: asvs('15.4.1', '15.4.2'),
  },
  R610: { requirement: 'Refuses garbage in cookies within a few milliseconds', source: asvs('2.4.1') },
  R611: {
    requirement:
      'Refuses to start with weak keys or unsafe settings, and tells every mistake by its path; secrets are in no argument, error or answer',
    source: asvs('13.2.3', '13.3.1'),
  },
  R612: {
    requirement: 'Is not polluted by names such as `__proto__` in queries, headers, cookies, JSON, metadata or claims',
    source: asvs('15.3.6'),
  },
  R615: {
    requirement:
      'Lets no more calls through than the limit of a route says, however they are written and whatever address or session they pretend to; an IPv6 address counts as its /64',
    source: asvs('2.4.1', '15.3.4'),
  },

  R620: {
    requirement:
      'Sends the answers that it makes itself with a policy that allows nothing, `nosniff`, `no-referrer`, `no-store`, and the same-origin resource policy, and its pages with the same-origin opener policy',
    source: asvs('3.4.3', '3.4.4', '3.4.5', '3.4.6', '3.4.8'),
  },
  R621: {
    requirement:
      'Talks, on Node, to authorization servers and upstreams over TLS 1.2 or newer with a trusted certificate for their name, and does not let the environment turn that off',
    source: asvs('12.1.1', '12.3.2'),
  },
  R622: {
    requirement:
      'Shows a client certificate to the upstream of its route and to nobody else: not to whoever answers in its place, not to another route of the same origin, not where a redirect leads',
    source: asvs('12.3.2', '12.3.5'),
  },

  R630: {
    requirement:
      'Logs sign-ins, sign-outs, refusals, tampering, failed refreshes and failing upstreams as JSON lines with UTC time, level, a stable name and a reason; a session by its public id only',
    source: asvs('16.2.1', '16.2.2', '16.2.4', '16.3.1', '16.3.2', '16.3.3'),
  },
  R631: {
    requirement: 'Writes no secret into the log, and nothing that a client or an authorization server could put there',
    source: asvs('16.2.5', '16.4.1'),
  },
  R632: {
    requirement:
      'Fails closed, in its own words, and stays alive when the authorization server or an API is broken or away, and works again afterwards',
    source: asvs('16.5.1', '16.5.2', '16.5.3'),
  },
}

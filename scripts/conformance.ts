// The modules for relying parties of the OpenID Foundation's conformance suite: what its server does in each, and what it
// expects. What coatcheck does is the title of the module's test in test/conformance, and what came of it is on record there;
// `npm run generate` makes docs/conformance.md of both.
import { readdirSync, readFileSync } from 'node:fs'

export interface Module {
  /** What the suite's authorization server does. */
  server: string
  /** What the suite expects of a relying party. */
  expected: string
  /** Set while the module needs something that is not there yet. It may not be forgotten once it is. */
  waitsFor?: Feature
  /** Why there is no test and will be none. */
  leftOut?: string
}

/** What modules wait for, each with a look whether it has come. */
const features = {
  'front-channel logout': () => endpoints().some((file) => file.includes('front')),
} satisfies Record<string, () => boolean>

export type Feature = keyof typeof features

const rejects = 'Rejects the ID token; asks for no userinfo'
const badRequest = 'Answers 400'
const responseTypes = 'Of the implicit and hybrid flows, which coatcheck does not have'
const grantManagement = 'Of Grant Management, which coatcheck does not have'

const basic: Record<string, Module> = {
  'oidcc-client-test': { server: 'Nothing unusual', expected: 'Signs in; sends the access token as a Bearer header' },
  'oidcc-client-test-invalid-iss': {
    server: '`iss` of the ID token is the issuer with a `1` at the end',
    expected: rejects,
  },
  'oidcc-client-test-missing-sub': { server: 'ID token without `sub`', expected: rejects },
  'oidcc-client-test-invalid-aud': { server: '`aud` is the client id with a `1` at the end', expected: rejects },
  'oidcc-client-test-missing-iat': { server: 'ID token without `iat`', expected: rejects },
  'oidcc-client-test-kid-absent-single-jwks': {
    server: 'ID token without `kid`, one published key',
    expected: 'Accepts it',
  },
  'oidcc-client-test-kid-absent-multiple-jwks': {
    server: 'ID token without `kid`, several published keys that fit',
    expected: 'Rejects it, or tries every key',
  },
  'oidcc-client-test-idtoken-sig-rs256': { server: 'ID token signed with RS256', expected: 'Accepts it' },
  'oidcc-client-test-idtoken-sig-none': {
    server: 'ID token with `alg` `none`',
    expected: 'Accepts it (code flow), or rejects it, which counts as skipped',
  },
  'oidcc-client-test-invalid-sig-rs256': {
    server: 'ID token with a wrong RS256 signature',
    expected: 'Rejects it; in the code flow it need not look',
  },
  'oidcc-client-test-userinfo-invalid-sub': {
    server: '`sub` of userinfo is another',
    expected: 'Does not use userinfo',
  },
  'oidcc-client-test-nonce-invalid': { server: '`nonce` is the one sent with a `1` at the end', expected: rejects },
  'oidcc-client-test-scope-userinfo-claims': {
    server: 'Claims of profile and email come in userinfo only',
    expected: 'Asks for the scopes and uses the claims',
  },
  'oidcc-client-test-client-secret-basic': {
    server: 'Accepts nothing but `client_secret_basic`',
    expected: 'Authenticates that way',
  },
}

const configuration: Record<string, Module> = {
  'oidcc-client-test-discovery-openid-config': {
    server: 'Publishes metadata',
    expected: 'Reads it and uses its endpoints',
  },
  'oidcc-client-test-discovery-jwks-uri-keys': {
    server: 'Has its keys at another address each time',
    expected: 'Finds them by `jwks_uri`',
  },
  'oidcc-client-test-discovery-issuer-mismatch': {
    server: 'Metadata with another `issuer`',
    expected: 'Stops; no authorization request',
  },
  'oidcc-client-test-signing-key-rotation-just-before-signing': {
    server: 'Changes its key between the code and the ID token',
    expected: 'Fetches the keys again; accepts it',
  },
  'oidcc-client-test-signing-key-rotation': {
    server: 'Changes its key between two sign-ins',
    expected: 'Fetches the keys again; accepts both',
  },
}

const optional: Record<string, Module> = {
  'oidcc-client-test-missing-aud': { server: 'ID token without `aud`', expected: rejects },
  'oidcc-client-test-invalid-sig-es256': { server: 'ID token with a wrong ES256 signature', expected: rejects },
  'oidcc-client-test-invalid-sig-hs256': { server: 'ID token with a wrong HS256 signature', expected: rejects },
  'oidcc-client-test-invalid-athash': { server: '`at_hash` of another access token', expected: rejects },
  'oidcc-client-test-missing-athash': {
    server: 'ID token without `at_hash`',
    expected: 'Rejects it where an access token came with it in front',
    leftOut: responseTypes,
  },
  'oidcc-client-test-missing-chash': { server: 'ID token without `c_hash`', expected: rejects, leftOut: responseTypes },
  'oidcc-client-test-invalid-chash': { server: '`c_hash` of another code', expected: rejects, leftOut: responseTypes },
  'oidcc-client-test-nonce-unless-code-flow': {
    server: 'Nothing unusual',
    expected: 'Sends a `nonce`',
    leftOut: responseTypes,
  },
  'oidcc-client-test-userinfo-bearer-header': {
    server: 'Wants the access token in the header',
    expected: 'Sends it there',
  },
  'oidcc-client-test-userinfo-bearer-body': {
    server: 'Wants the access token in a body',
    expected: 'Sends it there',
    leftOut: 'One of the two is enough, and the header is the safe one',
  },
  'oidcc-client-test-userinfo-signed': {
    server: 'Userinfo is a JWT, signed with RS256',
    expected: 'Verifies and uses it',
  },
  'oidcc-client-test-ignores-unparseable-key-in-jwks': {
    server: 'Publishes keys of unknown kinds beside its own',
    expected: 'Takes no notice of them',
  },
  'oidcc-client-test-aggregated-claims': {
    server: 'Userinfo has claims signed by another issuer',
    expected: 'Signs in; may use them',
  },
  'oidcc-client-test-distributed-claims': {
    server: 'Userinfo says where further claims are to be had',
    expected: 'Signs in; fetches them if it supports that',
  },
  'oidcc-client-test-mtls-endpoint-aliases': {
    server: 'Has other endpoints for clients with certificates',
    expected: 'Uses these',
  },
  'oidcc-client-test-request-uri-signed-rs256': {
    server: 'Fetches the request object from the client',
    expected: 'Hosts it, signed with RS256',
    leftOut: 'Requests are pushed (RFC 9126), not fetched',
  },
  'oidcc-client-test-request-uri-signed-none': {
    server: 'Fetches the request object from the client',
    expected: 'Hosts it, not signed',
    leftOut: 'Requests are pushed (RFC 9126), not fetched',
  },
  'oidcc-client-test-form-post-error': {
    server: 'Answers a silent sign-in with an error by form_post',
    expected: 'Shows an error',
    leftOut:
      'Answers come in the query: a form posted by another site brings no login cookie, which would have to be SameSite=None',
  },
  'oidcc-client-test-3rd-party-init-login': {
    server: 'Sends the browser to the initiate_login_uri',
    expected: 'Signs in',
  },
}

const refreshTokens: Record<string, Module> = {
  'oidcc-client-test-refresh-token': { server: 'Nothing unusual', expected: 'Refreshes and uses the new tokens' },
  'oidcc-client-test-refresh-token-invalid-issuer': {
    server: '`iss` of the refreshed ID token is another',
    expected: 'Rejects it; asks for no userinfo',
  },
  'oidcc-client-test-refresh-token-invalid-sub': {
    server: '`sub` of the refreshed ID token is another',
    expected: 'Rejects it; asks for no userinfo',
  },
  'oidcc-client-test-refresh-token-invalid-aud': {
    server: '`aud` of the refreshed ID token is another',
    expected: 'Rejects it; asks for no userinfo',
  },
  'oidcc-client-test-refresh-token-invalid-azp': {
    server: 'The refreshed ID token has an `azp` that the first had not',
    expected: 'Rejects it; asks for no userinfo',
  },
}

const backChannelLogout: Record<string, Module> = {
  'oidcc-client-test-rp-backchannel-rpinitlogout': {
    server: 'Sends a logout token after an RP-initiated logout, with a claim nobody knows',
    expected: 'Answers 200, `Cache-Control: no-store`',
  },
  'oidcc-client-test-rp-backchannel-rpinitlogout-alg-none': {
    server: 'Logout token with `alg` `none`',
    expected: badRequest,
  },
  'oidcc-client-test-rp-backchannel-rpinitlogout-no-event': {
    server: 'Logout token without `events`',
    expected: badRequest,
  },
  'oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce': {
    server: 'Logout token with a `nonce`',
    expected: badRequest,
  },
  'oidcc-client-test-rp-backchannel-rpinitlogout-wrong-alg': {
    server: 'Logout token signed with another algorithm',
    expected: badRequest,
  },
  'oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud': {
    server: 'Logout token for another client',
    expected: badRequest,
  },
  'oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event': {
    server: 'Logout token about another event',
    expected: badRequest,
  },
  'oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss': {
    server: 'Logout token of another issuer',
    expected: badRequest,
  },
}

const rpInitiatedLogout: Record<string, Module> = {
  'oidcc-client-test-rp-init-logout': {
    server: 'Nothing unusual',
    expected: 'Sends the browser to `end_session_endpoint`, and takes it back',
  },
  'oidcc-client-test-rp-init-logout-other-state': {
    server: 'Sends the browser back with another `state`',
    expected: 'Copes with the return, without taking it for the answer to its own request',
  },
  'oidcc-client-test-rp-init-logout-no-state': {
    server: 'Sends the browser back without `state`',
    expected: 'Copes with the return, without taking it for the answer to its own request',
  },
}

const otherLogout: Record<string, Module> = {
  'oidcc-client-test-rp-frontchannel-rpinitlogout': {
    server: 'Loads the front-channel logout address in a frame after an RP-initiated logout',
    expected: 'Ends the session of `iss` and `sid`',
  },
  'oidcc-client-test-rp-frontchannel-opinitlogout': {
    server: 'Loads the front-channel logout address in a frame',
    expected: 'Ends the session of `iss` and `sid`',
  },
  'oidcc-client-test-session-management': {
    server: 'Tells the state of its session by postMessage',
    expected: 'Notices that it changed',
    leftOut: 'Needs a frame with cookies of another site, which browsers do not give any more',
  },
}

const fapi = 'fapi2-security-profile-final-client-test-'
const jarm = (name: string, server: string): [string, Module] => [
  `${fapi}ensure-jarm-${name}`,
  { server, expected: 'Rejects the authorization response; redeems no code' },
]

const fapi2: Record<string, Module> = {
  [`${fapi}happy-path`]: {
    server: 'Nothing unusual',
    expected: 'PAR, PKCE, DPoP with a nonce of the server, sender-constrained call of the API',
  },
  [`${fapi}happy-path-no-dpop-nonce`]: {
    server: 'Asks for no DPoP nonce',
    expected: 'Signs in and calls the API',
  },
  [`${fapi}happy-path-no-mtls-endpoint-aliases`]: {
    server: 'Has no endpoints of their own for clients with certificates',
    expected: 'Shows its certificate at the usual ones',
  },
  [`${fapi}discovery-issuer-mismatch`]: {
    server: 'Metadata with another `issuer`',
    expected: 'Stops; pushes no request',
  },
  [`${fapi}invalid-iss`]: { server: '`iss` of the ID token is another', expected: rejects },
  [`${fapi}invalid-aud`]: { server: '`aud` of the ID token is another', expected: rejects },
  [`${fapi}invalid-secondary-aud`]: { server: '`aud` has a second client', expected: rejects },
  [`${fapi}invalid-null-alg`]: { server: 'ID token with `alg` `none`', expected: rejects },
  [`${fapi}invalid-alternate-alg`]: { server: 'ID token signed with RS256 instead of PS256', expected: rejects },
  [`${fapi}invalid-expired-exp`]: { server: 'ID token that expired', expected: rejects },
  [`${fapi}invalid-missing-exp`]: { server: 'ID token without `exp`', expected: rejects },
  [`${fapi}invalid-missing-aud`]: { server: 'ID token without `aud`', expected: rejects },
  [`${fapi}invalid-missing-iss`]: { server: 'ID token without `iss`', expected: rejects },
  [`${fapi}valid-aud-as-array`]: { server: '`aud` is a list of one', expected: 'Accepts it' },
  [`${fapi}invalid-nonce`]: { server: '`nonce` is another', expected: rejects },
  [`${fapi}invalid-missing-nonce`]: { server: 'ID token without `nonce`', expected: rejects },
  [`${fapi}invalid-authorization-response-iss`]: {
    server: '`iss` of the authorization response is another',
    expected: 'Redeems no code',
  },
  [`${fapi}remove-authorization-response-iss`]: {
    server: 'Authorization response without `iss`',
    expected: 'Redeems no code',
  },
  [`${fapi}ensure-authorization-response-with-invalid-state-fails`]: {
    server: '`state` of the authorization response is another',
    expected: 'Redeems no code',
  },
  [`${fapi}ensure-authorization-response-with-invalid-missing-state-fails`]: {
    server: 'Authorization response without `state`',
    expected: 'Redeems no code',
  },
  [`${fapi}token-endpoint-response-without-expires_in`]: {
    server: 'Token response without `expires_in`',
    expected: 'Signs in and calls the API',
  },
  [`${fapi}token-type-case-insensitivity`]: {
    server: '`token_type` in changing case',
    expected: 'Signs in and calls the API',
  },
  [`${fapi}rs-dpop-auth-scheme-case-insensitivity`]: {
    server: 'The API asks for a DPoP nonce with the scheme in changing case',
    expected: 'Calls again with the nonce',
  },
  'fapi2-security-profile-final-client-refresh-token-test': {
    server: 'The API refuses the access token with 401',
    expected: 'Refreshes and calls again',
  },
  ...Object.fromEntries([
    jarm('without-iss-fails', 'Response JWT without `iss`'),
    jarm('with-invalid-iss-fails', 'Response JWT of another issuer'),
    jarm('without-aud-fails', 'Response JWT without `aud`'),
    jarm('with-invalid-aud-fails', 'Response JWT for another client'),
    jarm('without-exp-fails', 'Response JWT without `exp`'),
    jarm('with-expired-exp-fails', 'Response JWT that expired'),
    jarm('with-invalid-sig-fails', 'Response JWT with a wrong signature'),
    jarm('signature-is-not-none', 'Response JWT with `alg` `none`'),
  ]),
  [`${fapi}grant-management-happy-path`]: {
    server: 'Gives a `grant_id`',
    expected: 'Takes it',
    leftOut: grantManagement,
  },
  [`${fapi}grant-management-query-and-revoke`]: {
    server: 'Has a grant endpoint',
    expected: 'Asks and revokes there',
    leftOut: grantManagement,
  },
  [`${fapi}grant-management-invalid-grant-id-fails`]: {
    server: 'Refuses a `grant_id`',
    expected: 'Stops',
    leftOut: grantManagement,
  },
}

/** The plans of the suite, and below them what it has in no plan for certification. */
export const plans: readonly { title: string; modules: Record<string, Module> }[] = [
  { title: '`oidcc-client-basic-certification-test-plan`', modules: basic },
  {
    title: '`oidcc-client-config-certification-test-plan`',
    modules: { ...configuration, ...pick(basic, 'oidcc-client-test-idtoken-sig-none') },
  },
  { title: '`oidcc-client-refreshtoken-test-plan`, and its modules in no plan', modules: refreshTokens },
  { title: '`oidcc-client-back-channel-logout-rp-basic`', modules: backChannelLogout },
  { title: '`oidcc-client-rp-initiated-logout-rp-basic`', modules: rpInitiatedLogout },
  {
    title: '`oidcc-client-front-channel-logout-rp-basic` and `oidcc-client-session-management-rp-basic`',
    modules: otherLogout,
  },
  { title: '`oidcc-client-test-plan`: what no plan for certification has', modules: optional },
  {
    title:
      '`fapi2-security-profile-final-client-test-plan`, with the JARM modules of `fapi2-message-signing-final-client-test-plan`',
    modules: fapi2,
  },
]

/** Where the last run of the modules is on record. */
export const outcomesFile = 'test/conformance/outcomes.json'

/** Projects of vitest that play the modules, and how the table calls them. */
const names = { node: 'Node.js', workerd: 'Workers' } as const
export const runtimes = ['node', 'workerd'] as const

/** What a module's test says that coatcheck does, and what came of it on each runtime. */
export interface Outcome {
  outcome: string
  file: string
  node?: string
  workerd?: string
}

/** What came of a run, by module. */
export type Recorded = Record<string, Outcome>

/** The module that the title of a test, `<module>: <outcome>`, speaks of. */
export function moduleIn(title: string): { name: string; outcome: string } | undefined {
  const [, name, outcome] = /^((?:oidcc|fapi2)-[\w-]+): (.+)$/.exec(title) ?? []
  return name === undefined || outcome === undefined ? undefined : { name, outcome }
}

/** A record as it is kept: by name, so that it changes only where a run does. */
export function recordText(recorded: Recorded): string {
  const sorted = Object.entries(recorded).sort(([one], [other]) => (one < other ? -1 : 1))
  const rows = sorted.map(([name, { file, outcome, node, workerd }]) => [name, { file, outcome, node, workerd }])
  return `${JSON.stringify(Object.fromEntries(rows), undefined, 2)}\n`
}

/** In what a run is another than the one on record, in words. */
export function differences(known: Recorded, seen: Recorded): string[] {
  const text = (one: Outcome | undefined) =>
    one && [one.outcome, one.file, ...runtimes.map((runtime) => `${runtime} ${one[runtime] ?? 'not run'}`)].join(', ')
  const all = [...new Set([...Object.keys(known), ...Object.keys(seen)])]
  return all
    .filter((name) => text(known[name]) !== text(seen[name]))
    .map((name) => `${name}: on record is ${text(known[name])}; now it is ${text(seen[name])}: npm run conformance`)
}

/** Titles of tests by their module, as they stand in the source. @throws Error for a module with two tests */
export function titlesIn(files: Readonly<Record<string, string>>): Recorded {
  const found: Recorded = {}
  for (const [file, text] of Object.entries(files)) {
    for (const [, title = ''] of text.matchAll(/\btest\(\s*'((?:oidcc|fapi2)-(?:[^'\\]|\\.)+)'/g)) {
      const { name = '', outcome = '' } = moduleIn(title) ?? {}
      if (Object.hasOwn(found, name)) throw new Error(`${file}: there is another test of ${name}`)
      found[name] = { outcome, file }
    }
  }
  return found
}

/**
 * The record of the last run.
 * @throws Error when it is not one of the tests that are there now: then somebody has to run them
 */
export function conformanceOutcomes(folder = 'test/conformance'): Recorded {
  const names = readdirSync(folder).filter((name) => name.endsWith('.test.ts'))
  const titles = titlesIn(
    Object.fromEntries(names.sort().map((name) => [`${folder}/${name}`, readFileSync(`${folder}/${name}`, 'utf8')])),
  )
  const recorded: Recorded = JSON.parse(readFileSync(outcomesFile, 'utf8'))
  const plain = Object.fromEntries(
    Object.entries(recorded).map(([name, { outcome, file }]) => [name, { outcome, file }]),
  )
  const [first] = differences(plain, titles)
  if (first !== undefined) throw new Error(`${outcomesFile}: ${first}`)
  return recorded
}

/**
 * A table for each plan.
 * @throws Error for a module that has neither a test nor a reason, for one whose feature has come and whose test has not,
 * and for a test of a module that is not stated.
 */
export function conformanceTables(
  stated: typeof plans,
  outcomes: Recorded,
  hasCome: (feature: Feature) => boolean = (feature) => features[feature](),
): string {
  const all: Record<string, Module> = Object.assign({}, ...stated.map(({ modules }) => modules))
  for (const [name, { file }] of Object.entries(outcomes)) {
    if (!Object.hasOwn(all, name)) throw new Error(`${file}: ${name} is not in scripts/conformance.ts`)
    const { waitsFor, leftOut } = all[name] ?? {}
    if (waitsFor ?? leftOut) throw new Error(`scripts/conformance.ts: ${name} has a test and needs no excuse`)
  }
  const ours = (name: string, { waitsFor, leftOut }: Module) => {
    const { outcome, file = '' } = outcomes[name] ?? {}
    if (outcome !== undefined) return `[${outcome}](../${file}) | ${cameOf(outcomes[name])}`
    if (leftOut !== undefined) return `– ${leftOut} | –`
    if (waitsFor === undefined) throw new Error(`scripts/conformance.ts: ${name} has no test`)
    if (hasCome(waitsFor))
      throw new Error(`scripts/conformance.ts: ${name} has no test, although there is ${waitsFor} now`)
    return `– waits for ${waitsFor} | –`
  }
  const row = ([name, module]: [string, Module]) =>
    `| \`${name}\` | ${module.server} | ${module.expected} | ${ours(name, module)} |`
  return stated
    .map(
      ({ title, modules }) =>
        `## ${title}\n\n| module | the authorization server | the suite expects | coatcheck | passed on |\n|---|---|---|---|---|\n${Object.entries(modules).map(row).join('\n')}\n`,
    )
    .join('\n')
}

/** On which runtimes a test passed, and on which it did not. */
function cameOf(outcome: Outcome | undefined): string {
  const all = runtimes.map((runtime) => {
    const state = outcome?.[runtime]
    return state === 'passed' ? names[runtime] : `**not on ${names[runtime]}** (${state ?? 'not run'})`
  })
  return all.join(', ')
}

function endpoints(): string[] {
  return readdirSync('src/endpoints')
}

function pick(modules: Record<string, Module>, ...names: string[]): Record<string, Module> {
  return Object.fromEntries(Object.entries(modules).filter(([name]) => names.includes(name)))
}

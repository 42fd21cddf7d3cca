// The walk of `coatcheck doctor`: looks at the live authorization servers, stores and upstreams of a configuration, all at
// once, and says what will not work, why, and what to change. It signs nobody in and writes nothing but throw-away keys.
import type { Config, ProviderConfig, RouteConfig } from './config.ts'
import { addressesOf } from './config-address.ts'
import { ConfigError } from './config-reader.ts'
import { checkBearers } from './doctor/bearer.ts'
import { checkCertificates, lookAtCertificate } from './doctor/certificate.ts'
import { checkClient } from './doctor/client.ts'
import { checkClock, watchClock } from './doctor/clock.ts'
import { checkCookieSize } from './doctor/cookie-size.ts'
import { discover } from './doctor/discovery.ts'
import { mayBeAsked } from './doctor/endpoints.ts'
import { checkFeatures } from './doctor/features.ts'
import { type Finding, finding } from './doctor/findings.ts'
import { checkKeys } from './doctor/keys.ts'
import type { Severity } from './doctor/kinds.ts'
import { checkBackchannel, checkFrontchannel, checkPublicUrl } from './doctor/public-url.ts'
import { checkSignIn, checkSignOut } from './doctor/sign-in.ts'
import { checkStore } from './doctor/store.ts'
import { checkUpstream } from './doctor/upstream.ts'
import { askUpstream } from './doctor/upstream-request.ts'
import { checkVendor } from './doctor/vendor.ts'
import { type Check, endpointOf, type Metadata, patience, type World } from './doctor/world.ts'
import { nodePlatform } from './node-platform.ts'
import { callbackPathOf } from './oauth/authorization-response.ts'
import { createRelyingParty } from './oauth/relying-party.ts'
import type { Platform } from './platform.ts'
import { type Reason, reasons } from './reasons.ts'

export type { Finding, FindingCode } from './doctor/findings.ts'

/** What the doctor found, in the order of the configuration. */
export interface Report {
  /** Whether there is no problem. Warnings do not count. */
  readonly ok: boolean
  readonly problems: number
  readonly warnings: number
  readonly findings: readonly Finding[]
}

/** Longest time that one check may take with all it asks. Milliseconds. */
const longestCheck = 30_000

/**
 * Examines a configuration on Node, with the store and the network that `coatcheck serve` would have.
 * Never rejects because of what is found.
 * @param root folder that `store.path` is relative to
 * @throws ConfigError for what Node does not have, and for certificates in the configuration that do not work
 */
export async function examine(config: Config, root: string): Promise<Report> {
  const { world, close } = openWorld(config, root)
  const publicUrls = addressesOf(config).map((address) => address.config.publicUrl)
  const worlds = publicUrls.map((publicUrl) => seenAt(world, publicUrl))
  try {
    const checks: [about: string, check: Check][] = [
      ...worlds.map((there): [string, Check] => ['publicUrl', () => checkPublicUrl(there, worlds.length > 1)]),
      ['publicUrl', () => checkCertificates(world, 'publicUrl', publicUrls)],
      ['session', () => checkCookieSize(world)],
      ['store', () => checkStore(world)],
      ...config.providers.map((provider): [string, Check] => [
        `provider ${provider.id}`,
        () => checkProvider(world, provider),
      ]),
      ...config.routes.map((route): [string, Check] => [`route ${route.path}`, () => checkUpstream(world, route)]),
      ...config.routes.map((route): [string, Check] => [
        `route ${route.path}`,
        () => checkUpstreamCertificate(world, route),
      ]),
    ]
    return reportOf((await Promise.all(checks.map(([about, check]) => bounded(about, check)))).flat())
  } finally {
    await close()
  }
}

/** The same world with another public address for the main one. */
function seenAt(world: World, publicUrl: string): World {
  return { ...world, config: { ...world.config, publicUrl } }
}

/** The platform of `serve`; with a store that cannot be opened, the same without it. */
function openWorld(config: Config, root: string): { world: World; close: () => Promise<void> } {
  let state: string | undefined
  const open = (settings: Config) =>
    nodePlatform(settings, {
      root,
      log: (event) => {
        if (event.event === 'store.unavailable') state = event.reason
      },
    })
  const around = (platform: ReturnType<typeof open>, storeFailure?: string) => {
    // What can never be ready, such as a package that is missing, shows when the store is asked.
    platform.ready().catch(() => {})
    const world = {
      config,
      platform,
      certificate: lookAtCertificate,
      askUpstream,
      storeFailure,
      storeState: () => state,
    }
    return { world, close: platform.close }
  }
  try {
    return around(open(config))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const failure = error instanceof Error ? error.message : 'The store cannot be opened.'
    return around(open({ ...config, store: { type: 'memory' } }), failure)
  }
}

async function checkProvider(world: World, provider: ProviderConfig): Promise<readonly Finding[]> {
  const about = `provider ${provider.id}`
  const { findings, metadata, clock } = await discover(world, provider, about)
  if (metadata === undefined || findings.some(({ severity }) => severity === 'problem')) {
    const certificates = metadata ? await checkCertificatesOf(world, provider, metadata) : []
    return [...findings, ...checkClock(clock, about), ...certificates]
  }
  const patient = { provider, about, metadata }
  const watch = watchClock(world.platform)
  const { relyingParty, refusal } = relyingPartyOf(world, provider, watch.fetch)
  const publicUrls = provider.publicUrls ?? [world.config.publicUrl]
  // Any of the addresses will do: what ends there ends at all of them.
  const anywhere = seenAt(world, publicUrls[0] ?? '')
  const checks: Check[] = [
    () => checkKeys(world, patient),
    async () => checkFeatures(world, patient),
    async () => checkBackchannel(anywhere, patient),
    async () => checkFrontchannel(anywhere, patient),
    async () => checkVendor(world, patient),
    () => checkCertificatesOf(world, provider, metadata),
  ]
  const isUsable = await relyingParty.ready()
  if (isUsable) {
    checks.unshift(
      () => checkClient(patient, relyingParty),
      () => checkBearers(world, patient, relyingParty),
      ...publicUrls.flatMap((publicUrl): Check[] => {
        const [there, client] = [seenAt(world, publicUrl), relyingParty.at(publicUrl)]
        return [() => checkSignIn(there, patient, client), () => checkSignOut(there, patient, client)]
      }),
    )
  }
  const parts = await Promise.all(checks.map((check) => bounded(about, check)))
  const found = withoutEchoes(onceEach(parts.flat()))
  const time = checkClock(watch.difference() ?? clock, about)
  if (isUsable || found.some(({ severity }) => severity === 'problem')) return [...findings, ...found, ...time]
  const what = `coatcheck does not accept this metadata. ${reasons[refusal()]}`
  return [...findings, finding('metadata_refused', about, what), ...found, ...time]
}

/** What is the same at all public addresses is told once. */
function onceEach(findings: readonly Finding[]): readonly Finding[] {
  return [...new Map(findings.map((one) => [`${one.code} ${one.about} ${one.what} ${one.change}`, one])).values()]
}

/** A client that is not believed is not believed anywhere: one finding will do. */
function withoutEchoes(findings: readonly Finding[]): readonly Finding[] {
  const isUnknown = findings.some(({ code }) => code === 'client_auth_refused')
  return isUnknown ? findings.filter(({ code }) => code !== 'pushed_request_refused') : findings
}

/**
 * The one that `serve` would use, with our patience: what it is refused, every user would be. Tells why it takes the server
 * for none of its own, if it does.
 */
function relyingPartyOf({ config, platform }: World, provider: ProviderConfig, fetch: Platform['fetch']) {
  let reason: Reason = 'unexpected'
  const refresh = { ...config.refresh, timeout: Math.min(config.refresh.timeout, patience) }
  const relyingParty = createRelyingParty(
    provider,
    callbackPathOf(config.providers, provider),
    { ...config, refresh },
    {
      fetch,
      now: platform.now,
      log: (event) => {
        if (event.event === 'provider.unavailable') reason = event.reason
      },
      waitUntil: () => {},
    },
  )
  return { relyingParty, refusal: () => reason }
}

/** Of endpoints that may not be asked nobody is. */
function checkCertificatesOf(world: World, { id, issuer }: ProviderConfig, metadata: Metadata): Promise<Finding[]> {
  const endpoints = ['authorization_endpoint', 'token_endpoint', 'jwks_uri']
    .filter((name) => mayBeAsked(name, metadata[name], issuer))
    .map((name) => endpointOf(metadata, name))
    .filter((url) => url !== undefined)
  return checkCertificates(world, `provider ${id}`, [issuer, ...endpoints])
}

/** Every upstream once, however many routes lead there; and as a route of its own where that has TLS of its own. */
async function checkUpstreamCertificate(world: World, { path, upstream, tls }: RouteConfig): Promise<Finding[]> {
  const isFirst = world.config.routes.find((one) => one.upstream.origin === upstream.origin && !one.tls)?.path === path
  return tls || isFirst ? checkCertificates(world, `route ${path}`, [upstream.href], tls) : []
}

/** What comes of a check in time. One that fails or takes too long is a finding itself. */
async function bounded(about: string, check: Check): Promise<readonly Finding[]> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<readonly Finding[]>((resolve) => {
    const unfinished = finding('check_unfinished', about, `A check took longer than ${longestCheck / 1_000} seconds.`)
    timer = setTimeout(() => resolve([unfinished]), longestCheck)
  })
  const failed = () => [finding('check_unfinished', about, 'A check failed by a mistake of its own.')]
  return Promise.race([check().catch(failed), late]).finally(() => clearTimeout(timer))
}

function reportOf(findings: readonly Finding[]): Report {
  const count = (severity: Severity) => findings.filter((one) => one.severity === severity).length
  const problems = count('problem')
  return { ok: problems === 0, problems, warnings: count('warning'), findings }
}

// What the checks of the doctor look at and through what: the configuration, a bounded network, and words for its failures.
import type { Config, ProviderConfig } from '../config.ts'
import { authorizationServerFetch } from '../oauth/authorization-server-fetch.ts'
import type { FetchInit, Platform } from '../platform.ts'
import type { CertificateLook } from './certificate.ts'
import type { Finding } from './findings.ts'
import type { AskUpstream } from './upstream-request.ts'

/** Longest wait for one answer. Milliseconds. */
export const patience = 5_000

export interface World {
  readonly config: Config
  readonly platform: Pick<Platform, 'fetch' | 'now' | 'store'>
  /** Looks at the certificate of an https origin. */
  readonly certificate: CertificateLook
  readonly askUpstream: AskUpstream
  /** Why the configured store could not even be opened, in our own words. */
  readonly storeFailure?: string | undefined
  /** What the store says of itself when it is away: `store_unreachable`, `store_refused`. */
  storeState(): string | undefined
}

export type Check = () => Promise<readonly Finding[]>

/** Metadata of an authorization server as it came: nothing in it is believed. */
export type Metadata = Readonly<Record<string, unknown>>

/** One provider while it is examined. */
export interface Patient {
  readonly provider: ProviderConfig
  readonly about: string
  readonly metadata: Metadata
}

/**
 * Asks once, follows nothing, waits no longer than our patience, reads no more than an authorization server may say.
 * @throws CoatcheckError; `failureOf` has words for it
 */
export function ask({ platform }: World, url: string, init: FetchInit = {}): Promise<Response> {
  return authorizationServerFetch(platform.fetch)(url, { ...init, signal: AbortSignal.timeout(patience) })
}

/** Asks for the head of an answer only. */
export async function askHead({ platform }: World, url: string, init: FetchInit): Promise<Response> {
  const answer = await platform.fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(patience) })
  void answer.body?.cancel().catch(() => {})
  return answer
}

/** Codes of network failures, in words. Of anything else only that it failed is told: texts may quote what was sent. */
const causes: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the host name cannot be resolved',
  EAI_AGAIN: 'the host name cannot be resolved right now',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was reset',
  EHOSTUNREACH: 'there is no route to the host',
  ENETUNREACH: 'there is no route to the network',
  ETIMEDOUT: 'the connection timed out',
  UND_ERR_CONNECT_TIMEOUT: 'the connection timed out',
  UND_ERR_SOCKET: 'the connection was closed without an answer',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is signed by a CA that this machine does not know',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is signed by a CA that this machine does not know',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'it does not send the whole chain of its certificate',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
}

/** Why something did not answer, in our own words. */
export function failureOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause.name === 'TimeoutError') return 'there was no answer in time'
    const { code, reason } = cause as Error & { code?: unknown; reason?: unknown }
    if (reason === 'timeout') return 'there was no answer in time'
    if (reason === 'response_too_large') return 'the answer was too long'
    const known = typeof code === 'string' && Object.hasOwn(causes, code) ? causes[code] : undefined
    if (known !== undefined) return known
  }
  return 'it cannot be reached'
}

/** The words for the code of a network or TLS failure. */
export function causeOf(code: string): string {
  return (Object.hasOwn(causes, code) ? causes[code] : undefined) ?? 'its certificate cannot be verified'
}

/** A URL that came from outside, without what could be secret in it or do anything to a terminal. */
export function shown(value: unknown): string {
  if (typeof value !== 'string' || !URL.canParse(value)) return 'something that is no URL'
  const { origin, pathname } = new URL(value)
  return (origin === 'null' ? 'something that is no web address' : origin + pathname).slice(0, 200)
}

/** The media type of an answer, as far as it looks like one. */
export function typeOf({ headers }: Response): string {
  const [type = ''] = (headers.get('content-type') ?? '').split(';')
  return /^[\w.+-]{1,40}\/[\w.+-]{1,40}$/.test(type.trim()) ? type.trim().toLowerCase() : 'no known type'
}

/** The strings of a member of the metadata; `undefined` if it is not there or is no list. */
export function listOf(metadata: Metadata, name: string): readonly string[] | undefined {
  const value = metadata[name]
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : undefined
}

/** An endpoint of the metadata. */
export function endpointOf(metadata: Metadata, name: string): string | undefined {
  const value = metadata[name]
  return typeof value === 'string' && URL.canParse(value) ? value : undefined
}

/** Names from a list that came from outside, as far as they look like names. */
export function named(values: readonly string[]): string {
  const names = values.filter((value) => /^[\w:.-]{1,64}$/.test(value)).slice(0, 12)
  return names.length === 0 ? 'nothing' : names.join(', ')
}

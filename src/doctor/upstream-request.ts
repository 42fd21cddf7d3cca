// One harmless request to an upstream, in the TLS of its route: with the authorities it trusts and the certificate it shows.
import { request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import type { UpstreamTls } from '../platform.ts'
import { tlsOptionsOf } from '../upstream/tls.ts'

/** Resolves to the status of the answer, whose body nobody reads. Rejects with the system's error, or a `TimeoutError`. */
export type AskUpstream = (
  url: URL,
  method: string,
  tls: UpstreamTls | undefined,
  signal: AbortSignal,
) => Promise<number>

export const askUpstream: AskUpstream = (url, method, tls, signal) =>
  new Promise((resolve, reject) => {
    const options = { method, headers: { accept: '*/*' }, signal, agent: false as const }
    const request =
      url.protocol === 'https:' ? tlsRequest(url, { ...options, ...tlsOptionsOf(tls) }) : plainRequest(url, options)
    request.once('response', (answer) => {
      resolve(answer.statusCode ?? 0)
      answer.destroy()
    })
    // Of whoever was too late, only that is of interest.
    request.once('error', (error) => reject(signal.aborted ? signal.reason : error))
    request.end()
  })

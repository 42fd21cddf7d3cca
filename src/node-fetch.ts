// Node's way to authorization servers: its own fetch, or one with a client certificate where the client has one (RFC 8705).
import { Agent, fetch as fetchWith } from 'undici'
import type { ClientCertificate, Platform } from './platform.ts'

/** Longest wait for a connection, in milliseconds. */
const connectTimeout = 5_000

export interface NodeFetch {
  readonly fetch: Platform['fetch']
  /** Closes the connections that were made with a certificate; busy ones are finished first. */
  close(): Promise<void>
}

export function nodeFetch(): NodeFetch {
  /** Connections made with a certificate are used for nothing else. */
  const agents = new Map<ClientCertificate, Agent>()

  function agentFor(certificate: ClientCertificate): Agent {
    const known = agents.get(certificate)
    if (known) return known
    const { cert, key } = certificate
    // TLS 1.2 will do, as there are servers that have nothing newer: whoever stands in between may see there which
    // certificate it is (not so in TLS 1.3), and gets nothing else, as it has to prove to be the server.
    const connect = { rejectUnauthorized: true, timeout: connectTimeout, cert, key }
    const agent = new Agent({ allowH2: false, connect })
    agents.set(certificate, agent)
    return agent
  }

  return {
    async fetch(url, { certificate, ...init }) {
      if (!certificate) return fetch(url, init as RequestInit)
      const request = init as NonNullable<Parameters<typeof fetchWith>[1]>
      // A Response of undici's own is as good as the runtime's for who only reads it.
      return (await fetchWith(url, { ...request, dispatcher: agentFor(certificate) })) as unknown as Response
    },
    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.close().catch(() => {})))
    },
  }
}

// Everything `coatcheck doctor` can find, once, by its stable code. docs/doctor.md is made from this.
import { featureKinds } from './kinds-features.ts'
import { providerKinds } from './kinds-provider.ts'

/** `problem`: something will not work, or is not safe. `warning`: works, with a cost or a doubt. */
export type Severity = 'problem' | 'warning' | 'ok'

export interface Kind {
  readonly severity: Severity
  /** Why it matters. What is well has no reason to be explained. */
  readonly why?: string
  /** What to change, where that does not depend on what was found. */
  readonly change?: string
}

export const findingKinds = {
  ...providerKinds,
  ...featureKinds,

  public_url_ok: { severity: 'ok' },
  public_url_unreachable: {
    severity: 'warning',
    why: 'Browsers, and the authorization server for back-channel logout, must reach coatcheck there.',
    change: 'Start coatcheck, and what stands in front of it, then run the doctor again.',
  },
  public_url_foreign: {
    severity: 'problem',
    why: 'What answers at publicUrl is not coatcheck: sign-ins cannot come back, and logout tokens go astray.',
    change: 'Let what stands in front forward /auth/ to coatcheck, with path, query and Host as they came.',
  },
  public_url_local: {
    severity: 'warning',
    why: 'An authorization server elsewhere cannot send logout tokens to loopback.',
    change: 'Nothing while developing; in production set `publicUrl` to what browsers see.',
  },

  cookie_size: { severity: 'ok' },
  cookie_too_large: {
    severity: 'warning',
    why: 'Tokens of usual size would not fit into cookies; without a shared store the sign-in then fails.',
    change: 'Set `session.storage` to "store", or `store.type` to sqlite or redis.',
  },
  cookie_proxy: {
    severity: 'warning',
    why: 'nginx answers 502 when the headers of a response do not fit its proxy_buffer_size, which is 4 or 8 KB.',
    change:
      'Set `proxy_buffer_size 16k` in nginx, and let the proxy take 8 KB of request headers; or use `session.storage` "store".',
  },

  store_ok: { severity: 'ok' },
  store_unreachable: {
    severity: 'problem',
    why: 'Sign-ins, refreshes and sign-outs are answered 503 while the store is away.',
    change: 'Check `store`, that it runs, and that it can be reached from this machine with these credentials.',
  },
  store_not_atomic: {
    severity: 'problem',
    why: 'Two instances could redeem one refresh token, or one sign-in could be used twice.',
    change: 'Use a store that nobody stands between: no read replica, no proxy that repeats or caches.',
  },
  store_slow: {
    severity: 'warning',
    why: 'Every new session waits for the store, and a call to it is given up after two seconds.',
    change: 'Bring the store nearer to coatcheck.',
  },

  upstream_ok: { severity: 'ok' },
  upstream_unclear: { severity: 'ok' },
  upstream_unreachable: {
    severity: 'problem',
    why: 'Calls to this route are answered 502 or 504.',
    change: 'Check `upstream`, DNS, firewalls, and that the API runs.',
  },
  upstream_failing: {
    severity: 'warning',
    why: 'The API answers, but with an error of its own.',
    change: 'Look into the log of the API.',
  },
  upstream_open: {
    severity: 'warning',
    why: 'It gave an answer to somebody without a token. If everything there is so, whoever reaches it needs no sign-in.',
    change: 'Let the API check the token of every call, and let nobody but coatcheck reach it.',
  },
  upstream_redirects: {
    severity: 'warning',
    why: 'coatcheck never follows a redirect of an API: the page would get it, or an error.',
    change: 'Set `upstream` to the address that it redirects to.',
  },

  certificate_ok: { severity: 'ok' },
  certificate_expiring: {
    severity: 'warning',
    why: 'When it has expired nothing there can be reached.',
    change: 'Renew the certificate, and see why that did not happen by itself.',
  },
  certificate_invalid: {
    severity: 'problem',
    why: 'coatcheck does not talk to a server whose certificate it cannot believe.',
    change: 'Install a certificate for this name with its whole chain; for a CA of your own set NODE_EXTRA_CA_CERTS.',
  },
} as const satisfies Record<string, Kind>

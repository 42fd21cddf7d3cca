// What a contestant is: how it is set up, started, and signed in to.
import type { AuthorizationServer, Client } from '../support/authorization-server.ts'
import type { StartedProcess } from '../support/processes.ts'
import type { Upstream } from '../support/upstream.ts'

export interface Contestant {
  readonly name: string
  /** What it is, in a few words. */
  readonly what: string
  /** Debian packages it needs, by the file that shows that they are installed. */
  readonly packages?: Readonly<Record<string, string>>
  /** Where the authorization server sends the browser back to. Without it the contestant holds no sessions. */
  readonly callbackPath?: string
  /** How the upstream is shown a token, where not as a bearer token. */
  readonly scheme?: 'DPoP'
  start(setting: Setting): Promise<RunningContestant>
}

/** What a contestant is started with. It listens on loopback and forwards `/api/*` to `/*` of the upstream. */
export interface Setting {
  readonly port: number
  readonly url: string
  readonly upstream: Upstream
  readonly authorizationServer: AuthorizationServer
  readonly client: Client
  /** For contestants without sessions: the access token they attach. */
  readonly accessToken: string
  /** A folder of its own that goes away after the run. */
  readonly dir: string
  /** The core it is pinned to. */
  readonly core: string | undefined
}

export interface RunningContestant extends StartedProcess {
  /** Where a browser begins to sign in. Absent for contestants without sessions. */
  readonly signInUrl?: string
}

// Who is signed in, kept the same in every tab.
import { type Client, createClient, type SessionInfo } from '../../src/client.ts'

export type SignedIn = Extract<SessionInfo, { authenticated: true }> & {
  /** When this was true, milliseconds since 1970. */
  readonly at: number
}

export type State =
  | { readonly kind: 'asking' }
  | { readonly kind: 'signed-in'; readonly info: SignedIn }
  /** `notice`: why, if there is more to say than that nobody signed in. */
  | { readonly kind: 'signed-out'; readonly notice?: string | undefined }
  | { readonly kind: 'unreachable' }

export interface Session {
  readonly client: Client
  readonly state: State
  /** Asks the server again, without counting as activity. */
  ask(): Promise<void>
  /** Asks the server again and keeps the session alive with that. */
  extend(): Promise<void>
  /** Signs out here and in every other tab, and leaves for the authorization server. */
  signOut(): Promise<void>
}

/** @param onChange called with every change; not for the mere passing of time. */
export function watchSession(send: typeof fetch, onChange: (state: State) => void): Session {
  const tabs = new BroadcastChannel('coatcheck-demo')
  let state: State = { kind: 'asking' }

  const client = createClient({
    fetch: send,
    onSignedOut: (problem) => become({ kind: 'signed-out', notice: problem.title }),
  })

  function become(next: State): void {
    state = next
    onChange(next)
  }

  async function learn(question: Promise<SessionInfo>, notice?: string): Promise<void> {
    const before = state
    try {
      const info = await question
      if (info.authenticated) {
        become({ kind: 'signed-in', info: { ...info, at: Date.now() } })
        if (before.kind !== 'signed-in') tabs.postMessage('signed in')
      } else if (before.kind !== 'signed-out') {
        const wasIn = before.kind === 'signed-in'
        become({ kind: 'signed-out', notice: wasIn ? (notice ?? 'Your session is over.') : undefined })
      }
    } catch {
      become({ kind: 'unreachable' })
    }
  }

  tabs.addEventListener('message', ({ data }) => {
    // A message is only a reason to ask: what counts is what the server says.
    if (data === 'signed out') void learn(client.session(), 'You signed out in another tab.')
    else if (state.kind !== 'signed-in') void learn(client.session())
  })
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') void learn(client.session())
  })
  // A page that comes back from the back/forward cache may show a session that is over.
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) void learn(client.session())
  })

  return {
    client,
    get state() {
      return state
    },
    ask: () => learn(client.session()),
    extend: () => learn(client.extend()),
    async signOut() {
      await client.logout()
      tabs.postMessage('signed out')
    },
  }
}

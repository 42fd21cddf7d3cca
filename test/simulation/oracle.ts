// What a cookie says, read with the keys of the deployment: the judge must know what browsers cannot.
import type { Config } from '../../src/config.ts'
import { createCookies } from '../../src/session/cookies.ts'
import { createNames, type SessionNames } from '../../src/session/names.ts'
import { createSealer } from '../../src/session/seal.ts'
import type { Holding } from '../../src/session/session.ts'

export interface Ticket {
  readonly id: string
  readonly half: string
  readonly createdAt: number
  readonly seenAt: number
}

/** What a set of cookies holds. */
export interface Brought {
  readonly ticket: Ticket | undefined
  readonly holding: Holding | undefined
}

export type Oracle = ReturnType<typeof createOracle>

export function createOracle(config: Config) {
  // Lifetimes are checked by the code under test; here only what was written counts.
  const sealer = createSealer(config.session.keys, `${config.publicUrl} ${config.session.cookieName}`, () => 0)
  const cookies = createCookies(config)
  const names = createNames(sealer)

  async function open<T>(purpose: 'ticket' | 'holding', seal: string | undefined, half?: string) {
    if (seal === undefined) return undefined
    const opened = await sealer.unseal(purpose, seal, half)
    return opened.failure === undefined ? (opened.data as T) : undefined
  }

  const openHolding = (seal: string | undefined, half: string) => open<Holding>('holding', seal, half)

  return {
    openHolding,
    async read(cookieHeader: string | undefined): Promise<Brought> {
      const found = cookies.readSession(cookieHeader)
      const ticket = await open<Ticket>('ticket', found.ticket)
      return { ticket, holding: ticket && (await openHolding(found.holding, ticket.half)) }
    },
    names: async (holding: Holding): Promise<SessionNames> => names.of(holding),
    family: async (sessionId: string): Promise<string> => names.family(sessionId),
  }
}

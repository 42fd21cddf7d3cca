// Where the tokens of a session are kept: sealed in the browser's cookies, or sealed in the store.
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { CoatcheckError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import { type Cookies, sessionBudget } from './cookies.ts'
import type { Sealer, Unsealed } from './seal.ts'
import type { Holding, HoldingKey, RenewedHolding } from './session.ts'

export interface Holdings {
  /** Opens what came in cookies. */
  fromCookies(seal: string, half: string): Unsealed | Promise<Unsealed>
  /** Opens what is in the store, without asking it again for what was opened here before. `undefined`: there is none. */
  fromStore(key: HoldingKey): Unsealed | undefined | Promise<Unsealed | undefined>
  /** What the store has now, whatever is remembered here. */
  latest(key: HoldingKey): Promise<RenewedHolding | undefined>
  seal(holding: Holding, key: HoldingKey, endsAt: number): Promise<RenewedHolding>
  /** Whether a holding with a seal of this length goes into cookies, else into the store. */
  fits(sealLength: number, ticketLength: number): boolean
  /** @throws CoatcheckError `code` when it fits nowhere, saying how many bytes came from where */
  requireRoom(renewed: RenewedHolding, ticketLength: number, code: 'login_failed' | 'session_expired'): void
  /** Puts a holding into the store, until the session ends. */
  write(renewed: RenewedHolding, key: HoldingKey, endsAt: number): Promise<void>
  /** Remembers what the store has, or is about to have. */
  remember(holding: Holding, key: HoldingKey, endsAt: number): void
  /** Forgets what is kept under this family. */
  forget(family: string): Promise<void>
  /** Forgets what was opened here, because the session keys are others. */
  reload(): void
}

/** What is remembered of the store's holdings. */
const remembered = { max: 20_000, maxSize: 64 * 1_024 * 1_024 }

export function createHoldings(
  { session, store: { type } }: Pick<Config, 'session' | 'store'>,
  { sealer, cookies, platform }: { sealer: Sealer; cookies: Cookies; platform: Pick<Platform, 'now' | 'store'> },
): Holdings {
  const { now, store } = platform
  const empty = () =>
    new LRUCache<string, { half: string; unsealed: Unsealed }>({
      ...remembered,
      sizeCalculation: ({ unsealed }) => 500 + ('data' in unsealed ? sizeOf(unsealed.data as Holding) : 0),
    })
  let opened = empty()
  /** A store that everybody shares takes what is too large for cookies; the memory of one process does only if told to. */
  const mayMove = session.storage === 'store' || type !== 'memory'
  const keyOf = ({ family }: Pick<HoldingKey, 'family'>) => `${family}/holding`

  async function open(key: HoldingKey): Promise<Unsealed | undefined> {
    // With other keys by the time it is open, it goes into the memory that was given up.
    const into = opened
    const seal = await store.get(keyOf(key))
    if (seal === undefined) return undefined
    const unsealed = await sealer.unseal('holding', seal, key.half)
    if (unsealed.failure === undefined) into.set(key.family, { half: key.half, unsealed })
    return unsealed
  }

  const holdings: Holdings = {
    fromCookies: (seal, half) => sealer.unseal('holding', seal, half),

    fromStore(key) {
      if (!mayMove) return undefined
      const known = opened.get(key.family)
      return known?.half === key.half ? known.unsealed : open(key)
    },

    async latest(key) {
      const seal = await store.get(keyOf(key))
      const unsealed = seal === undefined ? undefined : await sealer.unseal('holding', seal, key.half)
      if (seal === undefined || unsealed === undefined || unsealed.failure !== undefined) return undefined
      return { holding: unsealed.data as Holding, seal }
    },

    seal: async (holding, { half }, endsAt) => ({
      holding,
      seal: await sealer.seal('holding', holding, endsAt, half),
    }),

    fits: (sealLength, ticketLength) =>
      session.storage === 'cookie' && cookies.sizeOf(ticketLength, sealLength) <= sessionBudget,

    requireRoom({ holding, seal }, ticketLength, code) {
      if (mayMove || holdings.fits(seal.length, ticketLength)) return
      throw tooLarge(code, holding, cookies.sizeOf(ticketLength, seal.length))
    },

    async write({ holding, seal }, key, endsAt) {
      // Remembered first: what cannot be written now must not be lost to this instance.
      holdings.remember(holding, key, endsAt)
      await store.set(keyOf(key), seal, Math.max(1, endsAt - now()))
    },

    remember(holding, { family, half }, endsAt) {
      if (!mayMove) return
      opened.set(family, { half, unsealed: { data: holding, expiresAt: endsAt } })
    },

    async forget(family) {
      opened.delete(family)
      await store.delete(keyOf({ family }))
    },

    reload() {
      opened = empty()
    },
  }
  return holdings
}

function sizeOf({ tokens, claims }: Holding): number {
  const { accessToken, refreshToken = '', idToken = '' } = tokens
  return accessToken.length + refreshToken.length + idToken.length + JSON.stringify(claims).length
}

function tooLarge(
  code: 'login_failed' | 'session_expired',
  { tokens, claims }: Holding,
  total: number,
): CoatcheckError {
  const parts = [
    ['access token', tokens.accessToken.length],
    ['refresh token', tokens.refreshToken?.length ?? 0],
    ['ID token', tokens.idToken?.length ?? 0],
    ['claims', JSON.stringify(claims).length],
  ] as const
  const list = parts.filter(([, bytes]) => bytes > 0).map(([name, bytes]) => `${name} ${bytes}`)
  const detail = `The session would take ${total} bytes of cookies and ${sessionBudget} are allowed. Before sealing: ${list.join(', ')} bytes. Ask the authorization server for smaller tokens, or keep sessions in a store (session.storage, or a store that is not memory).`
  return new CoatcheckError(code, 'tokens_too_large', { detail })
}

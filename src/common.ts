// What all public addresses have in common: what is known of users, of ended sessions, of authorization servers, of APIs.
import type { Config } from './config.ts'
import { type Address, addressesOf } from './config-address.ts'
import { callbackPathOf } from './oauth/authorization-response.ts'
import { createBreakers } from './oauth/breaker.ts'
import { createInboundTokens } from './oauth/inbound-tokens.ts'
import { createRelyingParty } from './oauth/relying-party.ts'
import type { Platform } from './platform.ts'
import { createDirectory } from './session/directory.ts'
import { createEndings } from './session/endings.ts'
import { createNames } from './session/names.ts'
import { createSealer } from './session/seal.ts'
import { guarded } from './stores/guarded.ts'
import { memoryStore } from './stores/memory.ts'
import { rateLimit } from './upstream/rate-limit.ts'
import { routeMatcher } from './upstream/routes.ts'

/**
 * Made once for all addresses.
 * @param platform as the runtime supplies it. `shared` is the same with a store that fails in one way only.
 */
export function createCommon(config: Config, platform: Platform) {
  const { now } = platform
  const shared = { ...platform, store: guarded(platform.store, platform) }
  const [{ context }] = addressesOf(config)
  // Of the main address. Names are the same at all of them, so that what ends a user's sessions ends them everywhere.
  const sealer = createSealer(config.session.keys, context, now)
  const names = createNames(sealer)
  const endings = createEndings(shared)
  const directory = createDirectory({ platform: shared, sealer, names, isOver: endings.isOver })
  const relyingParties = new Map(
    config.providers.map((provider) => {
      const callbackPath = callbackPathOf(config.providers, provider)
      return [provider.id, createRelyingParty(provider, callbackPath, config, platform)]
    }),
  )
  const breakers = createBreakers(now)
  const isShared = config.store.type !== 'memory'

  return {
    ...{ shared, sealer, names, endings, directory, relyingParties, breakers },
    inboundTokens: createInboundTokens(config, { relyingParties, breakers, platform }),
    routes: routeMatcher(config.routes, config.providers[0]?.id),
    rateLimit: rateLimit({ store: shared.store, spare: memoryStore(now), names: isShared ? names : undefined, now }),
    /** What makes an address one of its own: by the sealer its sessions, by the relying parties where sign-ins come back. */
    at(address: Address) {
      const { publicUrl } = address.config
      if (publicUrl === config.publicUrl) return { sealer, relyingParties }
      const there = [...relyingParties].map(([id, one]) => [id, one.at(publicUrl)] as const)
      return { sealer: createSealer(config.session.keys, address.context, now), relyingParties: new Map(there) }
    },
  }
}

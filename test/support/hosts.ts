// One coatcheck at two public addresses, with three authorization servers: one for both, and one for each alone.
import type { ConfigInput } from '../../src/config.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { type Overrides, providerFor, startWorld, type World } from './coatcheck.ts'
import { closeAfterTest } from './http-server.ts'

export interface Hosts extends World {
  /** The main address, and the other one. */
  readonly here: string
  readonly there: string
  /** Offered at the main address alone, and at the other one alone; `as` is offered at both. */
  readonly staff: AuthorizationServer
  readonly partners: AuthorizationServer
}

type Provider = ConfigInput['providers'][number]

/** @param ofAll settings that all providers have. */
export async function startHosts(more: Overrides = {}, ofAll: Partial<Provider> = {}): Promise<Hosts> {
  const staff = closeAfterTest(await startAuthorizationServer())
  const partners = closeAfterTest(await startAuthorizationServer())
  let here = ''
  const otherOf = (url: string) => url.replace('//app.', '//partners.')
  const world = await startWorld((parts) => {
    here = parts.config.publicUrl
    const there = otherOf(here)
    return {
      providers: [
        { ...providerFor(staff, 'staff'), ...ofAll },
        { ...providerFor(parts.as, 'main'), publicUrls: [there, here], ...ofAll },
        { ...providerFor(partners, 'partners'), publicUrls: [there], ...ofAll },
      ],
      ...(typeof more === 'function' ? more(parts) : more),
    }
  })
  return { ...world, here, there: otherOf(here), staff, partners }
}

// The configured store, made to do for real what refreshes and sign-ins rest on, with names that nobody uses and that are
// forgotten after seconds.
import { randomText } from '../session/seal.ts'
import type { Store } from '../stores/store.ts'
import { type Finding, finding } from './findings.ts'
import type { World } from './world.ts'

const about = 'store'

/** How long what is written here is kept, if it is not deleted before. Milliseconds. */
const ttl = 10_000
/** A call that takes longer is felt at every sign-in. Milliseconds. */
const slow = 250
/** How many try at once to be the only one. */
const rivals = 8

export async function checkStore({ config, platform, storeFailure, storeState }: World): Promise<Finding[]> {
  const { type } = config.store
  if (storeFailure !== undefined) return [finding('store_unreachable', about, storeFailure)]
  const { store } = platform
  try {
    if (!(await store.healthy())) throw new Error('not healthy')
    const broken = await exercise(store)
    if (broken !== undefined)
      return [finding('store_not_atomic', about, `The ${type} store breaks its word: ${broken}.`)]
    const note = type === 'memory' ? ', for one process alone' : ''
    const roundTrip = await fastestCall(store)
    const found = [finding('store_ok', about, `The ${type} store works and is atomic${note}.`)]
    if (roundTrip > slow) found.push(finding('store_slow', about, `One call took ${Math.round(roundTrip)} ms.`))
    return found
  } catch {
    const isRefused = storeState() === 'store_refused'
    const what = `The ${type} store ${isRefused ? 'does not take our credentials' : 'does not answer'}.`
    return [finding('store_unreachable', about, what)]
  }
}

/** How long a call takes when nothing else is in its way, in milliseconds. */
async function fastestCall(store: Store): Promise<number> {
  let fastest = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 3; attempt++) {
    const began = performance.now()
    await store.healthy()
    fastest = Math.min(fastest, performance.now() - began)
  }
  return fastest
}

/** What the store did that it must not, or `undefined`. Rejects when it cannot answer. */
async function exercise(store: Store): Promise<string | undefined> {
  const family = `doctor-${randomText(12)}`
  const key = `${family}/only`
  const all = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: rivals }, work))

  const added = await all(() => store.add(key, 'one', ttl))
  if (added.filter(Boolean).length !== 1) return 'of several who add one key at once not exactly one succeeds'
  if ((await store.get(key)) !== 'one') return 'what was written is not read'
  await store.delete(key)
  if ((await store.get(key)) !== undefined) return 'what was deleted is still read'

  const leases = (await all(() => store.lease(`${family}/lease`, ttl))).filter((lease) => lease !== undefined)
  const [lease] = leases
  if (leases.length !== 1 || lease === undefined) return 'of several who take one lease at once not exactly one gets it'
  if (!(await lease.renew(ttl))) return 'a lease is lost while it is held'
  await lease.release()
  const next = await store.lease(`${family}/lease`, ttl)
  if (next === undefined || next.fence <= lease.fence) return 'a lease that was given back cannot be taken again'
  await next.release()

  const log = `${family}-log`
  await Promise.all(['a', 'b'].map((entry) => store.append(log, entry, ttl)))
  const { entries, cursor } = await store.since(log, '')
  if ([...entries].sort().join() !== 'a,b') return 'entries of a log are missing'
  if ((await store.since(log, cursor)).entries.length > 0) return 'entries of a log come twice'

  const counts = await all(() => store.count(`${family}/count`, 1, ttl))
  const totals = new Set(counts.map(({ total }) => total))
  return totals.size === rivals ? undefined : 'several who count at once are told the same'
}

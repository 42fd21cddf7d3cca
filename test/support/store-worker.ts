// A Worker that does what a test asks of the store in its Durable Objects. Told as JSON: `{ world, method, args }`.
import { durableObjectStore, SessionObject as Tested } from '../../src/stores/durable-object.ts'
import type { Lease, Store } from '../../src/stores/store.ts'

/** The one to be tested, which also tells what it keeps. */
export class SessionObject extends Tested {
  names(): string[] {
    return [...this.ctx.storage.kv.list()].map(([name]) => name)
  }

  alarmAt(): Promise<number | null> {
    return this.ctx.storage.getAlarm()
  }
}

/** Objects that cannot be reached, as calls of them come out. */
const unreachable: Record<string, () => Promise<never>> = {
  silent: () => new Promise(() => {}),
  broken: () => Promise.reject(new Error('Network connection lost.')),
}

/** Worlds whose first lease was answered late. */
const slowed = new Set<string>()

/** An object that takes a lease, once, and tells of it after nobody waits for it any more. */
function slowOnce(world: string, object: SessionObject): unknown {
  const take = async (key: string, ttl: number) => {
    const isFirst = !slowed.has(world)
    slowed.add(world)
    const fence = await object.take(key, ttl)
    if (isFirst) await new Promise((resolve) => setTimeout(resolve, 2_300))
    return fence
  }
  return { take, release: (key: string, fence: number) => object.release(key, fence) }
}

interface Asked {
  /**
   * Names of objects begin with this; those of the world `silent` or `broken` cannot be reached, and those of a world that
   * begins with `late` are slow to give their first lease.
   */
  world: string
  method: keyof Store | 'renew' | 'release' | 'inspect'
  args: never[]
}

/** Leases outlive the request that took them, as those of coatcheck may. */
const leases = new Map<string, Lease>()

async function answer({ world, method, args }: Asked, namespace: DurableObjectNamespace): Promise<unknown> {
  const named = (name: string) => namespace.idFromName(`${world} ${name}`)
  if (method === 'inspect') {
    const object = namespace.get(named(String(args[0]))) as SessionObject
    return { names: await object.names(), alarmAt: await object.alarmAt() }
  }
  const call = unreachable[world]
  const get = (id: DurableObjectId) => {
    if (call) return new Proxy({}, { get: () => call })
    const object = namespace.get(id)
    return world.startsWith('late') ? slowOnce(world, object as SessionObject) : object
  }
  const store = durableObjectStore({ idFromName: named, get })
  if (method === 'renew' || method === 'release') {
    const [key, fence, ttl] = args as unknown as [string, number, number]
    return leases.get(`${world} ${key} ${fence}`)?.[method](ttl)
  }
  const value = await (store[method] as (...args: never[]) => Promise<unknown>)(...args)
  if (method !== 'lease' || value === undefined) return value
  const { fence } = value as Lease
  leases.set(`${world} ${args[0]} ${fence}`, value as Lease)
  return fence
}

export default {
  async fetch(request: Request, env: { SESSIONS: DurableObjectNamespace }): Promise<Response> {
    if (request.method === 'GET') return new Response('ready')
    try {
      return Response.json({ value: await answer((await request.json()) as Asked, env.SESSIONS) })
    } catch (error) {
      return Response.json({ error: String(error) })
    }
  },
}

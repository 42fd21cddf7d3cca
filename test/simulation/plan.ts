// What happens in a schedule, drawn from its seed and written down before it begins: so that it can be printed, told
// again, and made shorter.
import type { ServerFault } from './grants.ts'
import { createRandom, type Random } from './random.ts'
import type { StoreFault } from './store.ts'

/** The world of a schedule. Times in milliseconds where nothing else is said. */
export interface Setting {
  readonly instances: number
  readonly browsers: number
  readonly storage: 'cookie' | 'store'
  readonly rotate: boolean
  readonly idTokenOnRefresh: boolean
  /** Lifetime of access tokens, in seconds. */
  readonly expiresIn: number
  readonly replayWindow: string
  readonly timeout: string
  /** How far the clock of each instance is ahead. */
  readonly skews: readonly number[]
  readonly storeLatency: number
  readonly upstreamLatency: number
  /** Longest way to the authorization server, and between browser and instance. */
  readonly distance: number
}

/** What becomes of an answer on its way to the browser. */
export interface Fate {
  readonly delay: number
  readonly isLost: boolean
}

/** `place` is that of an instance, `at` counts from the moment everybody is signed in. */
export type Action = { readonly at: number } & (
  | { do: 'call'; browser: number; place: number; fate: Fate; isPost: boolean }
  | { do: 'look' | 'extend' | 'logout' | 'end everywhere'; browser: number; place: number; fate: Fate }
  | { do: 'sign in'; browser: number; place: number; other: number; fate: Fate; twice: boolean; user: number }
  | { do: 'back-channel logout'; browser: number; place: number; by: 'sid' | 'sub'; twice: boolean }
  | { do: 'repeat back-channel logout'; place: number }
  | { do: 'withdraw grant'; browser: number }
  | { do: 'break server'; fault: ServerFault; milliseconds: number }
  | { do: 'break store'; fault: StoreFault; places: readonly number[]; share: number; milliseconds: number }
  | { do: 'refuse tokens'; milliseconds: number }
  | { do: 'restart' | 'kill'; place: number }
)

export interface Plan {
  readonly seed: number
  readonly setting: Setting
  readonly actions: readonly Action[]
}

export function planOf(seed: number): Plan {
  const random = createRandom(seed).fork('plan')
  const setting = drawSetting(random)
  const actions: Action[] = []
  const count = random.between(8, 26)
  for (let at = 0; actions.length < count; at += gap(random, setting)) actions.push(...draw(random, setting, at))
  return { seed, setting, actions }
}

function drawSetting(random: Random): Setting {
  const instances = random.pick([1, 2, 2, 2, 3])
  return {
    instances,
    browsers: random.pick([1, 1, 2]),
    storage: random.pick(['cookie', 'cookie', 'store']),
    rotate: random.chance(0.8),
    idTokenOnRefresh: random.chance(0.5),
    expiresIn: random.pick([5, 20, 60, 300]),
    replayWindow: random.pick(['120s', '120s', '20s']),
    timeout: random.pick(['10s', '10s', '3s']),
    skews: Array.from({ length: instances }, () => random.pick([0, 0, 0, 300, -300, 3_000, -3_000, 15_000])),
    storeLatency: random.pick([2, 2, 30, 200]),
    upstreamLatency: random.pick([5, 100, 3_000]),
    distance: random.pick([2, 20, 300]),
  }
}

/** Time until the next action: mostly none, often about the lifetime of a token, now and then a long silence. */
function gap(random: Random, { expiresIn }: Setting): number {
  switch (random.weighted({ none: 40, short: 25, some: 12, expiry: 18, long: 5 })) {
    case 'none':
      return random.between(0, 20)
    case 'short':
      return random.between(20, 800)
    case 'some':
      return random.between(800, 6_000)
    case 'expiry':
      return Math.round(expiresIn * 1_000 * (0.7 + random.next() * 0.35))
    default:
      return random.between(60_000, 400_000)
  }
}

const weights = {
  call: 50,
  burst: 12,
  look: 4,
  extend: 3,
  logout: 5,
  'end everywhere': 1,
  'sign in': 4,
  'back-channel logout': 3,
  'repeat back-channel logout': 1,
  'withdraw grant': 1,
  'break server': 12,
  'break store': 8,
  'refuse tokens': 3,
  restart: 2,
  kill: 1.5,
}

const serverFaults: Record<ServerFault, number> = {
  slow: 5,
  'error-500': 3,
  'error-429': 1,
  'reset-before': 2,
  'reset-after': 2,
  hang: 2,
  nonsense: 1,
  impostor: 1,
  'no-keys': 1,
}

function draw(random: Random, { browsers, instances }: Setting, at: number): Action[] {
  const kind = random.weighted(weights)
  const browser = random.between(0, browsers - 1)
  const place = random.between(0, instances - 1)
  const someTime = () =>
    random.pick([random.between(5, 100), random.between(100, 3_000), random.between(3_000, 25_000)])
  switch (kind) {
    case 'burst':
      return Array.from({ length: random.between(2, 5) }, () => ({
        ...{ do: 'call', browser, place: random.between(0, instances - 1), fate: fate(random), isPost: false },
        at: at + random.between(0, 30),
      }))
    case 'call':
      return [{ at, do: kind, browser, place, fate: fate(random), isPost: random.chance(0.1) }]
    case 'look':
    case 'extend':
    case 'logout':
    case 'end everywhere':
      return [{ at, do: kind, browser, place, fate: fate(random) }]
    case 'sign in': {
      const [other, twice] = [random.between(0, instances - 1), random.chance(0.3)]
      return [{ at, do: kind, browser, place, other, fate: fate(random), twice, user: random.between(0, 1) }]
    }
    case 'back-channel logout':
      return [{ at, do: kind, browser, place, by: random.pick(['sid', 'sub']), twice: random.chance(0.3) }]
    case 'repeat back-channel logout':
      return [{ at, do: kind, place }]
    case 'withdraw grant':
      return [{ at, do: kind, browser }]
    case 'break server':
      return [{ at, do: kind, fault: random.weighted(serverFaults), milliseconds: someTime() }]
    case 'break store': {
      const places = random.chance(0.5) ? [place] : Array.from({ length: instances }, (_, index) => index)
      const fault = random.pick<StoreFault>(['refuses', 'refuses', 'loses', 'hangs'])
      return [{ at, do: kind, fault, places, share: random.pick([1, 0.5, 0.2]), milliseconds: someTime() }]
    }
    case 'refuse tokens':
      return [{ at, do: kind, milliseconds: random.between(5, 3_000) }]
    case 'restart':
    case 'kill':
      return [{ at, do: kind, place }]
  }
}

/** Most answers arrive soon; some are lost, some come when nobody expects them any more. */
function fate(random: Random): Fate {
  const kind = random.weighted({ soon: 70, late: 15, lost: 15 })
  const delay = kind === 'late' ? random.between(500, 20_000) : random.between(0, 50)
  return { delay, isLost: kind === 'lost' }
}

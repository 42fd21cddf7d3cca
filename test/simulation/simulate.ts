// Runs one schedule from its beginning to its end, and then asks whether everybody is where they should be.
import { createActors } from './act.ts'
import { countRequestsAnew, fromPage, openBrowser, send } from './browser.ts'
import { createClock } from './clock.ts'
import { installCrypto } from './crypto.ts'
import type { Violation } from './model.ts'
import type { Plan } from './plan.ts'
import { createRandom } from './random.ts'
import { asItIs, type Seams } from './seams.ts'
import { createWorld } from './world.ts'

export interface Told {
  readonly violations: readonly Violation[]
  readonly trace: readonly string[]
}

/** A round number of milliseconds, so that times in messages can be read. */
const beginning = 2_000_000_000_000
/** After all faults are mended: until the last lease, pause and retry is over. Milliseconds. */
const convalescence = 70_000

export async function simulate({ seed, setting, actions }: Plan, seams: Seams = asItIs): Promise<Told> {
  const clock = createClock(beginning)
  const random = createRandom(seed)
  const uninstall = [clock.install(), installCrypto(random.fork('crypto'))]
  countRequestsAnew()
  try {
    const world = createWorld(setting, { clock, random, seams })
    const { judge, note, server, store, model, trace } = world
    const browsers = Array.from({ length: setting.browsers }, (_, number) => openBrowser(number))
    const { perform, signIn } = createActors(world, browsers)
    for (const { number } of browsers) {
      const calm = { delay: 1, isLost: false }
      const login = {
        at: 0,
        do: 'sign in',
        browser: number,
        place: 0,
        other: 0,
        fate: calm,
        twice: false,
        user: number,
      } as const
      if (!(await clock.runUntilDone(signIn(login), 30_000)))
        throw new Error('Nobody could sign in, and nothing is wrong')
    }

    note('everybody is signed in')
    const start = clock.now()
    let underWay = 0
    for (const action of actions) {
      clock.after(action.at, () => {
        underWay++
        const over = () => {
          underWay--
        }
        perform(action).then(over, (error: unknown) => {
          over()
          judge.blame('noDefect', `Thrown: ${error instanceof Error ? error.stack : String(error)}`)
        })
      })
    }
    await clock.runUntil(start + (actions.at(-1)?.at ?? 0) + 1)

    note('all faults are mended')
    server.heal()
    store.heal()
    model.refusingUntil = 0
    await clock.runUntil(clock.now() + convalescence)
    if (underWay > 0 && model.diedAt.size === 0) judge.blame('noDefect', `${underWay} requests were never answered`)
    for (const browser of browsers) {
      for (const place of [0, 1]) {
        const message = { path: '/api/last', headers: fromPage }
        const sent = send(world, browser, place, message, { delay: 0, isLost: false })
        await clock.runUntilDone(sent, 90_000)
      }
    }
    await clock.runUntil(clock.now() + 30_000)
    judge.finish()
    return { violations: judge.violations, trace }
  } finally {
    for (const back of uninstall.reverse()) back()
  }
}

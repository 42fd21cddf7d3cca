// Runs many schedules, and tells of the first that went wrong all it takes to understand it and to see it again.
import type { Plan } from './plan.ts'
import { planOf } from './plan.ts'
import type { Seams } from './seams.ts'
import { simulate, type Told } from './simulate.ts'

/** A schedule in which an invariant did not hold. */
export interface Found {
  readonly plan: Plan
  readonly told: Told
}

/** The first of these schedules that goes wrong, if one does. */
export async function firstViolation(from: number, count: number, seams?: Seams): Promise<Found | undefined> {
  for (let seed = from; seed < from + count; seed++) {
    const plan = planOf(seed)
    const told = await simulate(plan, seams)
    if (told.violations.length > 0) return { plan, told }
  }
  return undefined
}

/** Leaves out of a schedule whatever it takes not to go wrong in the same way. */
export async function shortened(found: Found, seams?: Seams): Promise<Found> {
  let shortest = found
  const invariant = found.told.violations[0]?.invariant
  for (let isShorter = true; isShorter; ) {
    isShorter = false
    for (let index = shortest.plan.actions.length - 1; index >= 0; index--) {
      const plan = { ...shortest.plan, actions: shortest.plan.actions.filter((_, at) => at !== index) }
      const told = await simulate(plan, seams)
      if (told.violations[0]?.invariant !== invariant) continue
      shortest = { plan, told }
      isShorter = true
    }
  }
  return shortest
}

/** Everything about a schedule, for a person. */
export function report({ plan, told }: Found): string {
  const { seed, setting, actions } = plan
  return [
    ...told.violations.map(({ invariant, message }) => `${invariant}\n  ${message}`),
    '',
    `Seed ${seed}. The whole of it: SIMULATION_SEED=${seed} npx vitest run test/simulation/schedules-1 --project node`,
    `Setting: ${JSON.stringify(setting)}`,
    ...actions.map((action) => `  ${JSON.stringify(action)}`),
    '',
    ...told.trace,
  ].join('\n')
}

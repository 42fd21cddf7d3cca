// Browsers: a cookie jar each, and any number of tabs that send at once. Answers arrive late, out of order, or never.

import { codeOf } from './judge.ts'
import type { Outcome, RequestRecord } from './model.ts'
import type { Fate } from './plan.ts'
import { hashOf } from './random.ts'
import { publicUrl, type World } from './world.ts'

export interface Browser {
  readonly number: number
  readonly cookies: Map<string, string>
  /** Grows with every sign-in whose answer arrived. */
  epoch: number
}

export interface Message {
  readonly method?: string
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

/** What a page of the application sends with everything. */
export const fromPage = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' }
export const navigation = {
  'sec-fetch-site': 'same-origin',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
}

/** Told at the moment a request reaches its instance, and at the moment its answer leaves it. */
export interface Hooks {
  reached?(request: RequestRecord): void
  left?(request: RequestRecord, outcome: Outcome, answer: Response): Promise<void> | void
}

export const openBrowser = (number: number): Browser => ({ number, cookies: new Map(), epoch: 0 })

const cookieHeader = ({ cookies }: Browser) => [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

let numbers = 0
/** Requests are counted from the beginning of a schedule. */
export const countRequestsAnew = () => {
  numbers = 0
}

/** Sends a request to an instance. `undefined`: nothing came back. */
export async function send(
  world: World,
  browser: Browser,
  place: number,
  { method = 'GET', path, headers = {}, body }: Message,
  fate: Fate,
  hooks: Hooks = {},
): Promise<{ outcome: Outcome; answer: Response } | undefined> {
  const { clock, model, judge, note } = world
  const number = ++numbers
  const cookie = cookieHeader(browser)
  const { epoch } = browser
  // The way there has a length of its own, so that requests overtake each other too.
  await clock.sleep(hashOf(`${number} ${path} ${world.setting.distance}`) % (world.setting.distance + 1))
  const instance = world.instanceAt(place)
  const brought = await model.oracle.read(cookie)
  const session = model.sessions.find(({ id }) => id === brought.ticket?.id)
  const request: RequestRecord = {
    ...{ number, browser: browser.number, instance: instance.number, method, path, brought, session },
    ...{ startedAt: clock.now(), calls: [] },
  }
  const about = `${session?.name ?? 'nobody'} generation ${brought.holding?.generation ?? '-'}`
  note(`#${number} B${browser.number} -> I${instance.number} ${method} ${path.slice(0, 40)} (${about})`)
  hooks.reached?.(request)
  const init = { method, headers: { ...headers, ...(cookie === '' ? {} : { cookie }) }, ...(body && { body }) }
  const sent = new Request(publicUrl + path, init)
  world.requests.set(sent, request)
  const answer = await instance.app.fetch(sent)
  if (!instance.isAlive) return undefined
  const lines = answer.headers.getSetCookie()
  const outcome = await outcomeOf(world, request, answer, lines)
  await hooks.left?.(request, outcome, answer)
  judge.answered(request, outcome)
  note(`#${number} I${instance.number} answers ${outcome.status} ${outcome.code ?? ''} ${described(outcome)}`)
  await clock.sleep(fate.delay)
  if (fate.isLost) {
    note(`#${number} is lost on the way back`)
    return undefined
  }
  if (lines.length > 0) keep(world, browser, lines, epoch)
  note(`#${number} arrives at B${browser.number}`)
  return { outcome, answer }
}

async function outcomeOf(
  { model, clock }: World,
  { brought, path }: RequestRecord,
  answer: Response,
  lines: readonly string[],
): Promise<Outcome> {
  const given = lines.filter((line) => !isDeletion(line)).map((line) => line.slice(0, line.indexOf(';')))
  const setsTicket = given.some((pair) => nameOf(pair) === ticketName)
  const setsHolding = given.some((pair) => nameOf(pair).startsWith(`${ticketName}.`))
  const sets = await model.oracle.read(given.join('; '))
  const { ticket } = setsTicket ? sets : brought
  const holdingSeal = given.find((pair) => nameOf(pair) === `${ticketName}.1`)
  const seal = holdingSeal?.slice(holdingSeal.indexOf('=') + 3)
  const holding = ticket && (await model.oracle.openHolding(seal, ticket.half))
  return {
    ...{ at: clock.now(), status: answer.status, code: codeOf(answer) },
    ...{ sets: { ticket, holding }, setsTicket, setsHolding },
    clears: lines.some((line) => isDeletion(line) && nameOf(line) === ticketName),
    body: path === '/auth/session' && answer.status === 200 ? await answer.clone().json() : undefined,
  }
}

const ticketName = '__Host-Http-coatcheck'
const nameOf = (line: string) => line.slice(0, line.indexOf('='))
const isDeletion = (line: string) => line.includes('; Max-Age=0')

function described({ setsTicket, setsHolding, clears, sets }: Outcome): string {
  const said = [setsTicket && 'ticket', setsHolding && `generation ${sets.holding?.generation}`, clears && 'deletes']
  return said.filter(Boolean).join(', ')
}

/** Puts cookies into the jar, as they come. */
function keep({ model, note }: World, browser: Browser, lines: readonly string[], epoch: number): void {
  for (const line of lines) {
    const name = nameOf(line)
    const isLogin = name === `${ticketName}-login`
    if (!isLogin && epoch < browser.epoch && !model.overtaken.has(browser.number)) {
      // It left before the instance could know of the later sign-in, or the judge would have said so.
      model.overtaken.add(browser.number)
      note(`B${browser.number}: a late answer takes the place of a later sign-in`)
    }
    if (isDeletion(line)) browser.cookies.delete(name)
    else browser.cookies.set(name, line.slice(name.length + 1, line.indexOf(';')))
  }
}

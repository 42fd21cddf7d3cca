// The world of one schedule: instances of the real code, one store, one authorization server, one API.
import { type Coatcheck, createCoatcheck } from '../../src/app.ts'
import type { ConfigInput } from '../../src/config.ts'
import { readConfig } from '../../src/config-reader.ts'
import type { LogEvent } from '../../src/observability.ts'
import type { Platform, UpstreamCall } from '../../src/platform.ts'
import { webExchange } from '../../src/web-platform.ts'
import { createServer } from './authorization-server.ts'
import type { Clock } from './clock.ts'
import { createJudge } from './judge.ts'
import type { Model, RequestRecord } from './model.ts'
import { createOracle } from './oracle.ts'
import type { Setting } from './plan.ts'
import { clientId, issuer } from './published.ts'
import type { Random } from './random.ts'
import type { Seams } from './seams.ts'
import { createStore } from './store.ts'

export const publicUrl = 'https://app.example'

/** One process, from its start to its end. */
export interface Instance extends Process {
  readonly app: Coatcheck
}

interface Process {
  /** Unlike the place it stands in, this is never used again. */
  readonly number: number
  isAlive: boolean
}

export type World = ReturnType<typeof createWorld>

/** Instances of one place differ by this. */
const lives = 100
const placeOf = (instance: number) => instance % lives

export function createWorld(
  setting: Setting,
  { clock, random, seams }: { clock: Clock; random: Random; seams: Seams },
) {
  const trace: string[] = []
  const startedAt = clock.now()
  const note = (line: string) => {
    trace.push(`${((clock.now() - startedAt) / 1_000).toFixed(3).padStart(9)}  ${line}`)
  }
  const document: ConfigInput = {
    publicUrl,
    session: { keys: [`1:3nQf0yVUKcJk2vOZ4w9mXh7sTgRb1LpEoiDAu5Wl8Yc`], storage: setting.storage, claims: ['sub'] },
    refresh: { replayWindow: setting.replayWindow, timeout: setting.timeout },
    providers: [
      {
        id: 'main',
        issuer,
        clientId,
        clientAuth: { method: 'client_secret_basic', secret: 'a secret of the simulation' },
      },
    ],
    routes: [{ path: '/api', upstream: 'https://api.example', token: 'user' }],
  }
  const config = readConfig(document)
  const server = createServer({
    ...{ clock, note, random: random.fork('server'), rotate: setting.rotate, expiresIn: setting.expiresIn },
    ...{ idTokenOnRefresh: setting.idTokenOnRefresh, distance: setting.distance },
    onPresented: (presentation) => judge.presented(presentation),
  })
  const store = createStore({
    ...{ clock, note, random: random.fork('store'), latency: setting.storeLatency },
    onPut: (key, value) => judge.put(key, value),
    onEnding: (entry, instance) => judge.told(entry, instance),
  })
  const model: Model = {
    clocksDisagree: new Set(setting.skews).size > 1,
    ...{ config, clock, server, store, rotate: setting.rotate, oracle: createOracle(config), sessions: [] },
    ...{
      diedAt: new Map(),
      leaseOf: new Map(),
      successorAt: new Map(),
      overtaken: new Set(),
      refusingUntil: 0,
      endings: [],
    },
    skewOf: (instance) => setting.skews[placeOf(instance)] ?? 0,
  }
  const judge = createJudge(model, note)
  const requests = new WeakMap<Request, RequestRecord>()
  const upstreamChance = random.fork('upstream')

  /** What the dead hear is nothing. */
  async function whileAlive<T>(instance: Process, work: Promise<T>): Promise<T> {
    const outcome = await work.then(
      (value) => () => value,
      (error: unknown) => () => {
        throw error
      },
    )
    return instance.isAlive ? outcome() : new Promise<T>(() => {})
  }

  async function answerCall(call: UpstreamCall, request: RequestRecord): Promise<Response | undefined> {
    const { headers } = call
    const sent = headers[headers.findIndex((name, at) => at % 2 === 0 && name.toLowerCase() === 'authorization') + 1]
    const text = (sent ?? '').replace(/^Bearer /, '')
    const token = server.accessTokens.get(text)
    request.calls.push({ at: clock.now(), token })
    note(`#${request.number} reaches the API with ${text}`)
    judge.reachedUpstream(request)
    await clock.sleep(upstreamChance.between(0, setting.upstreamLatency))
    const isRefused = token === undefined || clock.now() >= token.expiresAt || clock.now() < model.refusingUntil
    const challenge = { 'www-authenticate': 'Bearer error="invalid_token"' }
    const out = call.receive(isRefused ? 401 : 200, isRefused ? challenge : {})
    if (out === undefined) return undefined
    const answer = new Headers()
    for (let at = 0; at < out.length; at += 2) answer.append(out[at] ?? '', out[at + 1] ?? '')
    return new Response(null, { status: isRefused ? 401 : 200, headers: answer })
  }

  function log(number: number, event: LogEvent): void {
    const { event: name, ...rest } = event
    note(`I${number} log: ${name} ${JSON.stringify(rest)}`)
    if (event.event === 'session.ended' && event.reason === 'logged_out') judge.signedOut(event.session)
    if (name === 'internal.error') judge.blame('noDefect', `I${number} met a defect: ${JSON.stringify(rest)}`)
  }

  function platformOf(self: Process): Platform {
    const { number } = self
    const skew = model.skewOf(number)
    return {
      now: () => clock.now() + skew,
      fetch: (url, init) => whileAlive(self, server.fetch(number, url, init)),
      async transport(call, exchange) {
        const request = requests.get(exchange.source as Request)
        if (!request) throw new Error('A call from nowhere')
        return whileAlive(self, answerCall(call, request))
      },
      store: seams.store(store.asSeenBy(self)),
      log: (event) => log(number, event),
      waitUntil: () => {},
      // Of both kinds, as Node and Workers are.
      sharesPromises: placeOf(number) % 2 === 0,
      exchange: webExchange,
    }
  }

  function start(number: number): Instance {
    const self = { number, isAlive: true }
    return Object.assign(self, { app: createCoatcheck(document, { platform: () => platformOf(self) }) })
  }

  const instances = Array.from({ length: setting.instances }, (_, place) => start(place))

  return {
    ...{ model, judge, note, trace, server, store, clock, requests, setting },
    instanceAt(place: number): Instance {
      const found = instances[place % instances.length]
      if (!found) throw new RangeError('There is always an instance')
      return found
    },
    /** Begins anew in one place, without anything that was only in memory. */
    restart(place: number, kill: boolean): void {
      const old = this.instanceAt(place)
      if (kill) {
        old.isAlive = false
        model.diedAt.set(old.number, clock.now())
      }
      instances[placeOf(old.number)] = start(old.number + lives)
      note(
        kill
          ? `I${old.number} dies, I${old.number + lives} starts`
          : `I${old.number} is replaced by I${old.number + lives}`,
      )
    },
    placeOf,
  }
}

// Time as a list of what is to happen. Nothing waits: when all code has come to rest, time jumps to the next entry.

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Calls `run` after a time. Returns what takes that back. */
  after(milliseconds: number, run: () => void): () => void
  sleep(milliseconds: number): Promise<void>
  /** Lets everything happen that happens until a moment; then it is that moment. */
  runUntil(time: number): Promise<void>
  /** Lets time pass until `work` is done. @throws Error when it is not done within `limit` milliseconds */
  runUntilDone<T>(work: Promise<T>, limit: number): Promise<T>
  /** Puts this clock in the place of the timers and of `Date`. Returns what puts them back. */
  install(): () => void
}

interface Entry {
  readonly time: number
  /** Entries of one moment happen in the order they were made. */
  readonly order: number
  readonly run: () => void
}

const realImmediate = globalThis.setImmediate
/** Resolves when nothing is left to do without time passing: all promises that could settle have. */
const settled = () => new Promise<void>((resolve) => realImmediate(resolve))

export function createClock(start: number): Clock {
  let time = start
  let orders = 0
  /** Soonest last. */
  const entries: Entry[] = []

  function isSooner(one: Entry, other: Entry): boolean {
    return one.time < other.time || (one.time === other.time && one.order < other.order)
  }

  function add(entry: Entry): void {
    let low = 0
    let high = entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const there = entries[middle]
      if (there && isSooner(entry, there)) low = middle + 1
      else high = middle
    }
    entries.splice(low, 0, entry)
  }

  function after(milliseconds: number, run: () => void): () => void {
    // Clocks count whole milliseconds.
    const wait = Number.isFinite(milliseconds) ? Math.max(0, Math.round(milliseconds)) : 0
    const entry = { time: time + wait, order: ++orders, run }
    add(entry)
    return () => {
      const index = entries.indexOf(entry)
      if (index !== -1) entries.splice(index, 1)
    }
  }

  /** Whether something happened. */
  async function step(until: number): Promise<boolean> {
    await settled()
    const next = entries.at(-1)
    if (next === undefined || next.time > until) return false
    entries.pop()
    time = Math.max(time, next.time)
    next.run()
    return true
  }

  return {
    now: () => time,
    after,
    sleep: (milliseconds) => new Promise((resolve) => void after(milliseconds, resolve)),
    async runUntil(until) {
      while (await step(until));
      time = Math.max(time, until)
    },
    async runUntilDone(work, limit) {
      let isDone = false
      const over = () => {
        isDone = true
      }
      work.then(over, over)
      const until = time + limit
      for (;;) {
        await settled()
        if (isDone) return work
        if (!(await step(until))) throw new Error(`Still not done after ${limit} ms of simulated time`)
      }
    },
    install: () => installed(() => time, after),
  }
}

/** What the code under test calls. The names are those of the platform, and so are the types it is taken for. */
function installed(now: () => number, after: Clock['after']): () => void {
  const before = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    setInterval: globalThis.setInterval,
    clearInterval: globalThis.clearInterval,
    Date: globalThis.Date,
  }
  const beforeTimeout = AbortSignal.timeout
  const timers = new Map<number, () => void>()
  let ids = 0

  function once(run: () => void, milliseconds = 0): number {
    const id = ++ids
    const cancel = after(milliseconds, () => {
      timers.delete(id)
      run()
    })
    timers.set(id, cancel)
    return id
  }

  function again(run: () => void, milliseconds = 0): number {
    const id = ++ids
    const next = () => {
      timers.set(
        id,
        after(Math.max(1, milliseconds), () => {
          next()
          run()
        }),
      )
    }
    next()
    return id
  }

  function clear(id?: number): void {
    if (id === undefined) return
    timers.get(id)?.()
    timers.delete(id)
  }

  class SimulatedDate extends before.Date {
    constructor(...given: [] | [number | string]) {
      super(given.length === 0 ? now() : given[0])
    }
    static override now = now
  }

  Object.assign(globalThis, {
    setTimeout: once,
    clearTimeout: clear,
    setInterval: again,
    clearInterval: clear,
    Date: SimulatedDate,
  })
  AbortSignal.timeout = (milliseconds) => {
    const controller = new AbortController()
    after(milliseconds, () => controller.abort(new DOMException('The operation timed out', 'TimeoutError')))
    return controller.signal
  }
  return () => {
    Object.assign(globalThis, before)
    AbortSignal.timeout = beforeTimeout
  }
}

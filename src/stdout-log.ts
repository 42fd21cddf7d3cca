// Events as JSON lines on stdout, without making a request wait for it, and at next to no cost for the one that every call writes.
import pino from 'pino'
import type { Config } from './config.ts'
import { type Log, type LogEvent, levels, logLine } from './observability.ts'

/** Lines are handed over together: a write for each call would cost as much as the call. Bytes; milliseconds. */
const handedOver = { bytes: 16_384, after: 100 }

/** Writes events of this level and above, in the order in which they happened. What is left is written when the process ends. */
export function stdoutLog(level: Config['log']['level']): Log {
  const calls = gatheredCalls((lines) => output.write(lines))
  // Before pino's own, which writes what it has.
  process.once('exit', calls.handOver)
  const { bytes, after } = handedOver
  const output = pino.destination({ dest: 1, sync: false, minLength: bytes / 2, maxWrite: bytes, periodicFlush: after })
  const logger = pino(
    { level, base: null, timestamp: false, formatters: { level: (label) => ({ level: label }) } },
    output,
  )
  const tellsCalls = logger.isLevelEnabled(levels['request.forwarded'])
  return (event) => {
    if (event.event === 'request.forwarded') {
      if (tellsCalls) calls.add(event, Date.now())
      return
    }
    const { level: severity, ...line } = logLine(event, Date.now())
    calls.handOver()
    if (event.event === 'server.listening') process.stdout.write(`${JSON.stringify({ level: severity, ...line })}\n`)
    else if (logger.isLevelEnabled(severity)) logger[severity](line)
  }
}

type CallEvent = Extract<LogEvent, { event: 'request.forwarded' }>

/**
 * Gathers the lines of calls as bytes. As objects that are serialized they would cost ten times as much, and as strings that
 * wait to be written still several times. All of it is ASCII, and nothing in it is foreign.
 */
function gatheredCalls(write: (lines: string) => void): { add(event: CallEvent, now: number): void; handOver(): void } {
  const bytes = Buffer.allocUnsafeSlow(handedOver.bytes)
  /** The part of a line that depends on route and method alone. They come from the configuration, and are few. */
  const beginnings = new Map<string, Map<string, string>>()
  let length = 0
  let timer: NodeJS.Timeout | undefined
  let last = { at: -1, text: '' }

  function handOver(): void {
    clearTimeout(timer)
    timer = undefined
    if (length > 0) write(bytes.toString('latin1', 0, length))
    length = 0
  }

  function beginningOf({ route, method }: CallEvent): string {
    const byMethod = beginnings.get(route) ?? new Map<string, string>()
    beginnings.set(route, byMethod)
    const known = byMethod.get(method)
    if (known !== undefined) return known
    const text = `","event":"request.forwarded","route":${ascii(route)},"method":${ascii(method)},"status":`
    // In one piece: what is put together stays in pieces until somebody looks at it.
    const whole = Buffer.from(text, 'latin1').toString('latin1')
    byMethod.set(method, whole)
    return whole
  }

  return {
    add(event, now) {
      const { status, milliseconds, upstreamMilliseconds, tokenMilliseconds, requestBytes, responseBytes, session } =
        event
      const beginning = beginningOf(event)
      if (length + beginning.length + longestRest > bytes.length) handOver()
      if (last.at !== now) last = { at: now, text: `{"level":"info","time":"${new Date(now).toISOString()}` }
      const sent = requestBytes === undefined ? '' : `,"requestBytes":${requestBytes}`
      const received = responseBytes === undefined ? '' : `,"responseBytes":${responseBytes}`
      const user = session === undefined ? '' : `,"session":"${session}"`
      const times = `,"milliseconds":${milliseconds},"upstreamMilliseconds":${upstreamMilliseconds},"tokenMilliseconds":${tokenMilliseconds}`
      length += bytes.write(`${last.text}${beginning}${status}${times}${sent}${received}${user}}\n`, length, 'latin1')
      timer ??= setTimeout(handOver, handedOver.after)
    },
    handOver,
  }
}

/** All of a line but its beginning: names, five numbers of at most 24 characters, a time, an id of 24. Bytes. */
const longestRest = 400

const ascii = (text: string) =>
  JSON.stringify(text).replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)

// Events as JSON lines on stdout, without making a request wait for it, and at next to no cost for the one that every call writes.
import pino from 'pino'
import type { Config } from './config.ts'
import { type Log, type LogEvent, levels, logLine } from './observability.ts'

/** Lines are handed over together: a write for each call would cost as much as the call. Bytes; milliseconds. */
const handedOver = { bytes: 32_768, after: 100 }

/** What may wait for a reader of the log that stands still; beyond this lines are lost rather than memory. Bytes. */
const mostWaiting = 4_194_304

/** Writes events of this level and above, in the order in which they happened. What is left is written when the process ends. */
export function stdoutLog(level: Config['log']['level']): Log {
  const logger = pino(
    { level, base: null, timestamp: false, formatters: { level: (label) => ({ level: label }) } },
    { write: (line) => lines.add(line, 'utf8') },
  )
  const tell = (event: LogEvent) => {
    const { level: severity, ...line } = logLine(event, Date.now())
    if (logger.isLevelEnabled(severity)) logger[severity](line)
  }
  const lines = gatheredLines((lost) => tell({ event: 'log.incomplete', lines: lost }))
  process.once('exit', lines.handOver)
  const callLine = callLines()
  const tellsCalls = logger.isLevelEnabled(levels['request.forwarded'])
  return (event) => {
    if (event.event === 'request.forwarded') {
      if (tellsCalls) lines.add(callLine(event, Date.now()), 'latin1')
    } else if (event.event === 'server.listening') {
      lines.add(`${JSON.stringify(logLine(event, Date.now()))}\n`, 'utf8')
      lines.handOver()
    } else tell(event)
  }
}

/**
 * Gathers lines as bytes: strings that wait to be written cost several times as much. They go out by way of `process.stdout`,
 * which hands them to a pipe in one call of the system, and without a thread.
 *
 * @param tellLost is told how many lines were lost, once lines are taken again: behind a reader that stood still or a disk that was full.
 */
function gatheredLines(tellLost: (lines: number) => void) {
  const { stdout } = process
  let bytes = Buffer.allocUnsafeSlow(handedOver.bytes)
  let length = 0
  let gathered = 0
  let lost = 0
  let timer: NodeJS.Timeout | undefined
  // Who reads the log may go away; that is no reason to stop serving.
  stdout.on('error', () => {})

  function handOver(): void {
    clearTimeout(timer)
    timer = undefined
    if (length === 0) return
    // What was not taken at once is still in these bytes.
    const isTaken = write(bytes.subarray(0, length), gathered)
    if (isTaken && stdout.writableLength > 0) bytes = Buffer.allocUnsafeSlow(handedOver.bytes)
    length = 0
    gathered = 0
  }

  function write(whole: Buffer | string, count: number): boolean {
    if (stdout.writableLength > mostWaiting) {
      lost += count
      return false
    }
    stdout.write(whole, (error) => {
      if (error) lost += count
      else if (lost > 0) {
        const told = lost
        lost = 0
        tellLost(told)
      }
    })
    return true
  }

  return {
    handOver,
    /** @param encoding `latin1` for what is nothing but ASCII */
    add(line: string, encoding: 'utf8' | 'latin1'): void {
      const most = encoding === 'latin1' ? line.length : line.length * 3
      if (length + most > bytes.length) handOver()
      if (most > bytes.length) return void write(line, 1)
      length += bytes.write(line, length, encoding)
      gathered++
      timer ??= setTimeout(handOver, handedOver.after)
    },
  }
}

type CallEvent = Extract<LogEvent, { event: 'request.forwarded' }>

/** Makes the lines of calls. As objects that are serialized they would cost ten times as much. All of it is ASCII, and nothing in it is foreign. */
function callLines(): (event: CallEvent, now: number) => string {
  /** The part of a line that depends on route and method alone. They come from the configuration, and are few. */
  const beginnings = new Map<string, Map<string, string>>()
  let last = { at: -1, text: '' }

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

  return (event, now) => {
    const { status, milliseconds, upstreamMilliseconds, tokenMilliseconds, requestBytes, responseBytes, session } =
      event
    if (last.at !== now) last = { at: now, text: `{"level":"info","time":"${new Date(now).toISOString()}` }
    const sent = requestBytes === undefined ? '' : `,"requestBytes":${requestBytes}`
    const received = responseBytes === undefined ? '' : `,"responseBytes":${responseBytes}`
    const user = session === undefined ? '' : `,"session":"${session}"`
    const times = `,"milliseconds":${milliseconds},"upstreamMilliseconds":${upstreamMilliseconds},"tokenMilliseconds":${tokenMilliseconds}`
    return `${last.text}${beginningOf(event)}${status}${times}${sent}${received}${user}}\n`
  }
}

const ascii = (text: string) =>
  JSON.stringify(text).replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)

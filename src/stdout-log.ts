// Events as JSON lines on stdout, at next to no cost for the one that every call writes.
import { type Log, type LogEvent, logLine } from './observability.ts'
import { type Lines, stdoutLines } from './stdout-lines.ts'

/** There is one stdout, however many servers a process has. */
let lines: Lines | undefined
const counting = new Set<Log>()

/**
 * Writes events in the order in which they happened, and what is left when the process ends.
 * @param count is told what happens to the log itself, which is written whatever the level: `log.incomplete`.
 */
export function stdoutLog(count: Log): Log {
  counting.add(count)
  lines ??= stdoutLines((lost) => {
    const event = { event: 'log.incomplete', lines: lost } as const
    for (const one of counting) one(event)
    return lineOf(event)
  })
  const { add, handOver } = lines
  const callLine = callLines()
  return (event) => {
    if (event.event === 'request.forwarded') return add(callLine(event, Date.now()), 'latin1')
    add(lineOf(event), 'utf8')
    // Supervisors wait for it.
    if (event.event === 'server.listening') handOver()
  }
}

const lineOf = (event: LogEvent) => `${JSON.stringify(logLine(event, Date.now()))}\n`

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

// Lines on stdout, gathered as bytes and written when it takes them. Nobody waits for whoever reads them, and memory is bounded.
import { constants, fstatSync, openSync, write as writeLater, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { isatty } from 'node:tty'

/** Lines are handed over together: a write for each would cost as much as a call. Bytes; milliseconds. */
const handedOver = { bytes: 32_768, after: 100 }

/** Full buffers that wait for a reader who stands still. Beyond them lines are lost rather than memory. */
const mostWaiting = 128

/** How soon a full pipe is tried again, and for how long when the process ends. Milliseconds. */
const again = { after: 20, atEnd: 1_000 }

const stdout = 1
const newline = 10

export interface Lines {
  /** Adds a line, with its end. @param encoding `latin1` for what is nothing but ASCII, which is cheaper */
  add(line: string, encoding: 'utf8' | 'latin1'): void
  /** Waits for no more lines. */
  handOver(): void
}

interface Chunk {
  bytes: Buffer
  length: number
  written: number
  /** Whether it begins with the end of another line. */
  mends: boolean
  /** How many missing lines it speaks of, and up to where: if that is lost, they must be told again. */
  told: number
  toldUntil: number
}

/** Takes bytes of a chunk, at once or later. What is full takes none, with the error `EAGAIN`. */
type Write = (chunk: Chunk, done: (error: NodeJS.ErrnoException | null, taken: number) => void) => void

/** Descriptor to write to, and whether it takes at once what there is room for. For files and the rest a thread has to wait. */
function openStdout(): { descriptor: number; isImmediate: boolean } {
  const stats = fstatSync(stdout)
  const isTerminal = isatty(stdout)
  if (process.platform === 'linux' && (stats.isFIFO() || isTerminal)) {
    try {
      // Opened anew, the mode is ours alone: others who have this pipe or terminal, too, neither suffer from it nor change it.
      const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY
      return { descriptor: openSync(`/proc/self/fd/${stdout}`, flags), isImmediate: true }
    } catch {
      // It may belong to another user.
    }
  }
  // Node itself switches pipes and stream sockets to that mode, and waits for terminals.
  const isStream = !isTerminal && process.platform !== 'win32' && process.stdout instanceof Socket
  return { descriptor: stdout, isImmediate: isStream }
}

/**
 * The lines of this process on its stdout.
 *
 * @param incomplete makes the line that stands where so many are missing, behind a reader that stood still or a disk that was full.
 */
export function stdoutLines(incomplete: (lines: number) => string): Lines {
  const { descriptor, isImmediate } = openStdout()
  const takeAtOnce = ({ bytes, written, length }: Chunk) => writeSync(descriptor, bytes, written, length - written)
  const write: Write = (one, done) => {
    const { bytes, written, length } = one
    if (!isImmediate) return writeLater(descriptor, bytes, written, length - written, null, done)
    let taken = 0
    try {
      taken = takeAtOnce(one)
    } catch (error) {
      return done(error as NodeJS.ErrnoException, 0)
    }
    done(null, taken)
  }
  /** What is to be written, oldest first. */
  const waiting: Chunk[] = []
  let chunk = chunkOf(newBuffer())
  let spare: Buffer | undefined
  let lost = 0
  let lastByte: number | undefined = newline
  let isWriting = false
  let isGone = false
  let clock: NodeJS.Timeout | undefined
  let retry: NodeJS.Timeout | undefined

  function pump(): void {
    let isNow = true
    while (!isWriting && !retry && !isGone) {
      const [next] = waiting
      if (!next) break
      if (next.written === 0 && lastByte !== newline && !next.mends) mend(next)
      isWriting = true
      write(next, (error, taken) => {
        isWriting = false
        settle(next, error, taken)
        if (!isNow) pump()
      })
    }
    isNow = false
  }

  /** A line that broke off where a disk was full is not to spoil the next one. */
  function mend(next: Chunk): void {
    next.bytes = Buffer.concat([Buffer.from([newline]), next.bytes.subarray(0, next.length)])
    next.length++
    next.toldUntil++
    next.mends = true
  }

  function settle(next: Chunk, error: NodeJS.ErrnoException | null, taken: number): void {
    if (taken > 0) {
      next.written += taken
      lastByte = next.bytes[next.written - 1]
    }
    if (error?.code === 'EAGAIN' || (!error && taken === 0)) {
      retry = setTimeout(() => {
        retry = undefined
        pump()
      }, again.after).unref()
    } else if (error?.code === 'EPIPE') {
      // Nobody reads any more, and nobody ever will.
      isGone = true
      waiting.length = 0
    } else if (error || next.written === next.length) {
      if (error) lose(next)
      waiting.shift()
      if (!next.mends && next.bytes.length === handedOver.bytes) spare = next.bytes
      if (!error && waiting.length === 0) tell()
    }
  }

  function lose(one: Chunk): void {
    const isUntouched = one.mends && one.written === 0
    for (let at = one.written + (isUntouched ? 1 : 0); at < one.length; at++) if (one.bytes[at] === newline) lost++
    if (one.written < one.toldUntil) lost += one.told
  }

  /** Says in the next line how many are missing before it. */
  function tell(): void {
    if (lost === 0) return
    const line = incomplete(lost)
    if (chunk.length + line.length > chunk.bytes.length) return
    // If this line is lost, it is counted as one by itself.
    chunk.told += lost - 1
    chunk.length += chunk.bytes.write(line, chunk.length, 'utf8')
    chunk.toldUntil = chunk.length
    lost = 0
    startClock()
  }

  /** Begins another chunk. */
  function queueUp(): void {
    const full = chunk
    if (waiting.length >= mostWaiting) {
      lose(full)
      chunk = chunkOf(full.bytes)
      tell()
      return
    }
    waiting.push(full)
    chunk = chunkOf(spare ?? newBuffer())
    spare = undefined
    pump()
  }

  /** For a line that is longer than most. */
  function makeRoom(length: number): void {
    chunk.bytes = Buffer.concat([chunk.bytes.subarray(0, chunk.length), Buffer.alloc(length)])
  }

  function handOver(): void {
    if (chunk.length > 0 && waiting.length === 0) queueUp()
  }

  function onTime(): void {
    clock = undefined
    handOver()
    // Behind others it can as well wait until it is full.
    if (chunk.length > 0) startClock()
  }
  function startClock(): void {
    if (!clock) clock = setTimeout(onTime, handedOver.after).unref()
  }

  /** Writes what is left, as far as it is taken in a bounded time. */
  function end(): void {
    if (isGone) return
    tell()
    if (chunk.length > 0) waiting.push(chunk)
    // What a thread is writing at this moment comes to its end by itself.
    if (isWriting) waiting.shift()
    const deadline = performance.now() + again.atEnd
    for (const one of waiting) {
      if (one.written === 0 && lastByte !== newline) mend(one)
      while (one.written < one.length) {
        try {
          one.written += takeAtOnce(one)
          lastByte = one.bytes[one.written - 1]
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() > deadline) return
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, again.after)
        }
      }
    }
  }
  process.once('exit', end)

  return {
    handOver,
    add(line, encoding) {
      if (isGone) return
      const most = encoding === 'latin1' ? line.length : line.length * 3
      if (chunk.length + most > chunk.bytes.length && chunk.length > 0) queueUp()
      if (chunk.length + most > chunk.bytes.length) makeRoom(most)
      chunk.length += chunk.bytes.write(line, chunk.length, encoding)
      startClock()
    },
  }
}

const newBuffer = () => Buffer.allocUnsafeSlow(handedOver.bytes)
const chunkOf = (bytes: Buffer): Chunk => ({ bytes, length: 0, written: 0, mends: false, told: 0, toldUntil: 0 })

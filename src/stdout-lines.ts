// Lines on stdout, gathered as bytes and written when it takes them. Nobody waits for whoever reads them, and memory is bounded.
import { fstatSync, write as writeLater, writeSync } from 'node:fs'

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
  /** How many missing lines it speaks of: if it is lost, they must be told again. */
  told: number
}

type Written = (error: NodeJS.ErrnoException | null, taken: number) => void
type Write = (chunk: Chunk, done: Written) => void

/** Only pipes can be asked for what they take at once. For files and terminals a thread has to wait. */
function writeToStdout(): Write {
  const stats = fstatSync(stdout)
  if (process.platform === 'win32' || !(stats.isFIFO() || stats.isSocket())) {
    return ({ bytes, written, length }, done) => writeLater(stdout, bytes, written, length - written, null, done)
  }
  // Looking at it makes Node switch the pipe to the mode in which a write takes what there is room for.
  void process.stdout
  return (chunk, done) => {
    let taken = 0
    try {
      taken = writeAtOnce(chunk)
    } catch (error) {
      return done(error as NodeJS.ErrnoException, 0)
    }
    done(null, taken)
  }
}

const writeAtOnce = ({ bytes, written, length }: Chunk) => writeSync(stdout, bytes, written, length - written)

/**
 * The lines of this process on its stdout.
 *
 * @param tellLost is told how many lines are missing once lines are taken again, behind a reader that stood still or a disk that was
 * full; what it adds comes next.
 */
export function stdoutLines(tellLost: (lines: number) => void): Lines {
  const write = writeToStdout()
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
      if (!error && waiting.length === 0 && lost > 0) tell()
    }
  }

  function lose(one: Chunk): void {
    const isUntouched = one.mends && one.written === 0
    for (let at = one.written + (isUntouched ? 1 : 0); at < one.length; at++) if (one.bytes[at] === newline) lost++
    lost += one.told
  }

  function tell(): void {
    const count = lost
    lost = 0
    tellLost(count)
    chunk.told += count
  }

  /** Begins another chunk. */
  function queueUp(): void {
    const full = chunk
    if (waiting.length >= mostWaiting) {
      lose(full)
      chunk = chunkOf(full.bytes)
      return
    }
    waiting.push(full)
    chunk = chunkOf(spare ?? newBuffer())
    spare = undefined
    pump()
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
    if (chunk.length > 0) waiting.push(chunk)
    // What a thread is writing at this moment comes to its end by itself.
    if (isWriting) waiting.shift()
    const deadline = performance.now() + again.atEnd
    for (const one of waiting) {
      while (one.written < one.length) {
        try {
          one.written += writeAtOnce(one)
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
      if (most > chunk.bytes.length) chunk = chunkOf(Buffer.allocUnsafeSlow(most))
      chunk.length += chunk.bytes.write(line, chunk.length, encoding)
      startClock()
    },
  }
}

const newBuffer = () => Buffer.allocUnsafeSlow(handedOver.bytes)
const chunkOf = (bytes: Buffer): Chunk => ({ bytes, length: 0, written: 0, mends: false, told: 0 })

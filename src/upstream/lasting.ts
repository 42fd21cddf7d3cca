// Answers that take longer than most, found by looking around once a second: all others need no timer of their own.

/** How often is looked. Milliseconds. */
const lookEvery = 1_000

const waiting = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined

/**
 * Begins to watch something once it has lasted for up to a second.
 *
 * @param watch begins; returns how to stop.
 * @returns how to stop, whether or not it has begun.
 */
export function watchIfItLasts(watch: () => () => void): () => void {
  const begin = () => {
    stop = watch()
  }
  let stop = () => {
    waiting.delete(begin)
  }
  waiting.add(begin)
  timer ??= setInterval(look, lookEvery).unref()
  return () => stop()
}

function look(): void {
  if (waiting.size === 0) {
    clearInterval(timer)
    timer = undefined
    return
  }
  const all = [...waiting]
  waiting.clear()
  for (const begin of all) begin()
}

// How long stores take: their callers are told within this time, whatever happens.

/** Longest wait for an answer. Milliseconds. */
export const answerTime = 2_000

/** Entries of a log that are given at once. */
export const pageSize = 1_000

/** A lifetime as stores count it: whole milliseconds, one at least. */
export function lifetime(ttl: number): number {
  return Math.max(1, Math.ceil(ttl))
}

/** What `work` comes to. @throws Error once `time` is over; what comes of `work` later is nobody's business. */
export async function inTime<T>(work: Promise<T>, time = answerTime): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('The store did not answer in time')), time)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The same, for what must not be left to nobody: should `work` come to something after its caller was told that it did not,
 * that is undone.
 */
export async function inTimeOrUndone<T>(
  work: Promise<T>,
  undo: (late: T) => Promise<unknown>,
  waitUntil: (work: Promise<unknown>) => void = () => {},
): Promise<T> {
  try {
    return await inTime(work)
  } catch (error) {
    waitUntil(work.then(undo).catch(() => {}))
    throw error
  }
}

// What takes longer than most, found by looking around once a second: all the rest needs no timer of its own.

/** How often is looked. Milliseconds. */
export const lookEvery = 1_000

/** Something that may last. From `begins` to `ends` it is an element of the list. */
export interface Lasting {
  /** Called when it has lasted for up to `lookEvery`: it is no longer in the list then, and may begin again. */
  lasts(this: Lasting): void
  before: Lasting | undefined
  after: Lasting | undefined
}

/**
 * The list, with itself as both its ends. No `Set`: where much comes and goes it leaves behind tables that hold on to what was in
 * them, until the next major garbage collection.
 */
const list: Lasting = { lasts() {}, before: undefined, after: undefined }
let timer: ReturnType<typeof setInterval> | undefined

/** Says that something has begun, unless that is known. */
export function begins(one: Lasting): void {
  if (one.after) return
  const last = list.before ?? list
  last.after = one
  one.before = last
  one.after = list
  list.before = one
  timer ??= setInterval(look, lookEvery).unref()
}

/** Says that it is over, or need not be looked at any more. */
export function ends(one: Lasting): void {
  const { before, after } = one
  if (!before || !after) return
  before.after = after
  after.before = before
  one.before = undefined
  one.after = undefined
}

function look(): void {
  const all: Lasting[] = []
  for (let one = list.after; one && one !== list; one = one.after) all.push(one)
  if (all.length === 0) {
    clearInterval(timer)
    timer = undefined
  }
  for (const one of all) {
    // What became of another may have ended it.
    if (!one.after) continue
    ends(one)
    one.lasts()
  }
}

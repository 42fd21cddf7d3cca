// Who waits in this process for a change of which key, and how they are woken.

export interface Waiting {
  /** Resolves when `key` is woken, or after `timeout` milliseconds. */
  wait(key: string, timeout: number): Promise<void>
  wake(key: string): void
  wakeAll(): void
  /** What somebody waits for. */
  keys(): string[]
  has(key: string): boolean
}

export function createWaiting(): Waiting {
  const waiting = new Map<string, Set<() => void>>()

  function wake(key: string): void {
    const woken = waiting.get(key)
    waiting.delete(key)
    for (const resume of woken ?? []) resume()
  }

  return {
    wait(key, timeout) {
      return new Promise((resolve) => {
        const all = waiting.get(key) ?? new Set()
        waiting.set(key, all)
        const resume = () => {
          clearTimeout(timer)
          all.delete(resume)
          if (all.size === 0 && waiting.get(key) === all) waiting.delete(key)
          resolve()
        }
        const timer = setTimeout(resume, timeout)
        all.add(resume)
      })
    },
    wake,
    wakeAll() {
      for (const key of [...waiting.keys()]) wake(key)
    },
    keys: () => [...waiting.keys()],
    has: (key) => waiting.has(key),
  }
}

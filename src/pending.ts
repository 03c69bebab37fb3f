// What was called and is not answered yet, so that a client does not close over it: a settle that nobody awaits is no less meant.

/** Calls under way. */
export type Pending = {
  /** Counts a call in until it is answered, and gives it back. */
  tracked<T>(answer: Promise<T>): Promise<T>
  /** Waits until everything called so far is answered, at most until the deadline by `performance.now()`. */
  flush(deadline: number): Promise<void>
}

/** Makes a list of nothing. */
export function createPending(): Pending {
  const pending = new Set<Promise<unknown>>()
  return {
    tracked(answer) {
      const done = (): void => void pending.delete(entry)
      const entry: Promise<void> = answer.then(done, done)
      pending.add(entry)
      return answer
    },
    async flush(deadline) {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.max(0, deadline - performance.now()))
      })
      await Promise.race([Promise.all(pending), late])
      clearTimeout(timer)
    },
  }
}

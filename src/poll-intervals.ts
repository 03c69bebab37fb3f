// The shortest of the poll intervals of those who wait.

/** Poll intervals, in ms, as often as they are there. */
export type PollIntervals = {
  add(pollMs: number): void
  remove(pollMs: number): void
  /** Infinity: there is none. */
  readonly shortest: number
}

/** Makes an empty collection. */
export function createPollIntervals(): PollIntervals {
  const counts = new Map<number, number>()
  return {
    add: (pollMs) => void counts.set(pollMs, (counts.get(pollMs) ?? 0) + 1),
    remove(pollMs) {
      const count = counts.get(pollMs)! - 1
      if (count > 0) counts.set(pollMs, count)
      else counts.delete(pollMs)
    },
    get shortest() {
      return Math.min(...counts.keys())
    },
  }
}

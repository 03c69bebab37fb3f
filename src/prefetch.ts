// How far to claim ahead of the handlers. Ahead means throughput for fast handlers; for slow ones it means messages that
// wait here while another process is idle, and leases to keep. So: as many as the handlers take in a tenth of a second,
// and never more than a few megabytes of payload.

const aheadMs = 100
const maxChars = 16_000_000
const weight = 0.05

/** Measures handlers and payloads, and says how many messages to claim ahead. */
export type Prefetch = {
  handled(runMs: number): void
  claimed(count: number, payloadChars: number): void
  /**
   * How many messages to claim now, with so many asked for that are still to come: 0 where all hands are full, or where so
   * few are free that waiting makes a better batch.
   */
  room(hands: Hands, asked: number): number
}

/** What a consumer has in hand. */
export type Hands = {
  readonly concurrency: number
  readonly running: number
  readonly waiting: number
  readonly settling: number
  readonly hasLapsed: boolean
  readonly hasSuspect: boolean
}

/** The most messages of one claim. */
const maxBatch = 1000

/** Makes the measure; `max` bounds its answer. Before the first handler is done nothing is claimed ahead. */
export function createPrefetch(max: number): Prefetch {
  let meanRunMs: number | undefined
  let meanChars = 0

  const ahead = (concurrency: number): number => {
    if (meanRunMs === undefined) return 0
    const byTime = (concurrency * aheadMs) / Math.max(meanRunMs, 0.01)
    const byMemory = maxChars / Math.max(meanChars, 1)
    return Math.floor(Math.min(max, byTime, byMemory))
  }

  return {
    handled(runMs) {
      meanRunMs = meanRunMs === undefined ? runMs : meanRunMs + weight * (runMs - meanRunMs)
    },
    claimed(count, payloadChars) {
      if (count > 0) meanChars = Math.max(meanChars * 0.9, payloadChars / count)
    },
    room(hands, asked) {
      const { concurrency, running, waiting, settling } = hands
      // What may take this process down takes nothing along that waits, and in the end nothing at all.
      if (hands.hasSuspect) return 0
      const target = concurrency + (hands.hasLapsed ? 0 : ahead(concurrency))
      if (settling > 2 * target) return 0
      const free = Math.min(target - running - waiting - asked, maxBatch)
      if (waiting === 0 && asked === 0 && running < concurrency) return Math.max(free, 0)
      return free >= Math.min(target / 2, maxBatch) ? free : 0
    },
  }
}

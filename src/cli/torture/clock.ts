/**
 * The clock of the database as another process can know it: between two bounds, that of the last answer and how long it
 * took. It is read past the faults, so the bounds stay within a few milliseconds of each other.
 *
 * Invariant: `from` is not after, and `to` is not before, what the database's `clock_timestamp()` would say now; by the
 * monotonic clock of this process, so that a Date which is an hour off changes nothing. Two clocks are taken to differ
 * in rate by a thousandth at most.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { openControl, serverMicros } from './sql.js'

export type DatabaseClock = {
  /** Instant that is not after now. With a delay in ms: that much later, as a lower bound. */
  notBefore(afterMs?: number): string
  /** Instant that is not before now. */
  notAfter(): string
  close(): Promise<void>
}

const readEveryMs = 1000
const rateError = 0.001

/** Reads the clock, again and again. Resolves with the first answer. */
export async function readDatabaseClock(url: string): Promise<DatabaseClock> {
  const pool = openControl(url)
  let last: { readonly micros: number; readonly sentAt: number; readonly heardAt: number } | undefined
  let isClosed = false
  const read = async (): Promise<void> => {
    const sentAt = performance.now()
    const micros = await serverMicros(pool.query)
    last = { micros, sentAt, heardAt: performance.now() }
  }
  const keepReading = async (): Promise<void> => {
    while (!isClosed) {
      await delay(readEveryMs, undefined, { ref: false })
      if (!isClosed) await read().catch(() => {}) // the server is down: the old bounds hold, a little wider
    }
  }
  while (!last) await read().catch(() => delay(100))
  void keepReading()
  const micros = (since: number, rate: number): number => last!.micros + (performance.now() - since) * 1000 * rate
  return {
    notBefore: (afterMs = 0) => microsText(Math.floor(micros(last!.heardAt, 1 - rateError) + afterMs * 1000)),
    notAfter: () => microsText(Math.ceil(micros(last!.sentAt, 1 + rateError))),
    async close() {
      isClosed = true
      await pool.close()
    },
  }
}

/** An instant of microseconds since 1970, as ISO text. */
export function microsText(micros: number): string {
  const iso = new Date(Math.floor(micros / 1000)).toISOString()
  return `${iso.slice(0, -1)}${String(micros % 1000).padStart(3, '0')}Z`
}

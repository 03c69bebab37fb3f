// A progress bar on stderr, for people: nothing is drawn where stderr is no terminal.
import { formatDuration } from './table.js'

/** Shows how far a piece of work is. */
export type Progress = {
  /** `done` of the total given, and `lines` done in all. */
  update(done: number, lines: number): void
  /** Removes the bar, before anything else is written. */
  clear(): void
}

const redrawEveryMs = 100
const width = 30

/** A progress bar. Without a total it only counts. */
export function createProgress(total: number | undefined): Progress {
  const start = performance.now()
  let drawnAt = Number.NEGATIVE_INFINITY
  if (!process.stderr.isTTY) return { update() {}, clear() {} }
  return {
    update(done, lines) {
      const now = performance.now()
      if (now - drawnAt < redrawEveryMs) return
      drawnAt = now
      const share = total ? Math.min(done / total, 1) : undefined
      const leftMs = share ? ((now - start) * (1 - share)) / share : Number.NaN
      const bar = share === undefined ? '' : `${'█'.repeat(Math.round(share * width)).padEnd(width, '░')} `
      const rate = Math.round(lines / Math.max((now - start) / 1000, 0.001))
      const left = share === undefined ? '' : `, ${formatDuration(leftMs)} left`
      process.stderr.write(`\r\x1b[K${bar}${lines} lines, ${rate}/s${left}`)
    },
    clear() {
      if (drawnAt > Number.NEGATIVE_INFINITY) process.stderr.write('\r\x1b[K')
    },
  }
}

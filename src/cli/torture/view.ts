/**
 * How a torture run shows itself while it goes on: a line that is redrawn on a terminal, a line every few seconds elsewhere.
 */
import type { Screen } from '../screen.js'
import type { TortureOptions, TortureProgress, TortureView } from './run.js'

const lineEveryMs = 5000

/** Makes the view; without a screen it is silent. */
export function createTortureView(
  screen: Screen | undefined,
  { seed, forMs }: Pick<TortureOptions, 'seed' | 'forMs'>,
): TortureView & { clear(): void } {
  let toldAt = Number.NEGATIVE_INFINITY
  const line = ({ elapsedMs, counts, faults }: TortureProgress): string => {
    const { enqueued, acked, leasesLost, refused } = counts
    const seconds = `${Math.round(elapsedMs / 1000)} of ${forMs / 1000} s`
    const under = faults.length === 0 ? 'no fault' : faults.join(', ')
    return `  ${seconds}  seed ${seed}  ${enqueued} enqueued  ${acked} acked  ${leasesLost} leases lost  ${refused} refused  ${under}`
  }
  return {
    note: (text) => screen?.print(screen.paint.dim(text)),
    progress(progress) {
      if (!screen) return
      if (screen.isLive) return screen.frame([line(progress)])
      if (progress.elapsedMs - toldAt < lineEveryMs) return
      toldAt = progress.elapsedMs
      screen.print(line(progress))
    },
    clear: () => screen?.frame([]),
  }
}

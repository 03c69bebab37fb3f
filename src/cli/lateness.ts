/**
 * Lateness statistics: every value is kept, so percentiles are exact (nearest rank) and never an estimate between
 * two buckets. One number of 8 bytes per message: 10 million messages are 80 MB.
 */

export interface LatenessSummary {
  readonly count: number
  /** Milliseconds, like all below; NaN (null in JSON) when nothing was recorded. */
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
  readonly mean: number
}

export interface LatenessRecorder {
  /** Adds one lateness in milliseconds; a negative one means early. Throws a RangeError unless it is finite. */
  record(ms: number): void
  /** What was recorded, in order of recording. */
  values(): readonly number[]
  summary(): LatenessSummary
}

export function createLatenessRecorder(): LatenessRecorder {
  const recorded: number[] = []
  return {
    record: (ms) => {
      if (!Number.isFinite(ms)) throw new RangeError(`Expected a lateness in milliseconds, got ${ms}`)
      recorded.push(ms)
    },
    values: () => recorded,
    summary: () => summarize(recorded),
  }
}

/**
 * Draws values (milliseconds) as a histogram for a terminal: one line per bucket from the first to the last one in
 * use, with its count and a bar. The fullest bucket's bar is `width` columns long (default 40); a bucket that is not
 * empty always shows something. Negative values get a line of their own, for they mean early.
 */
export function histogram(values: Iterable<number>, { width = 40 }: { readonly width?: number } = {}): string {
  const counts = BUCKETS.map(() => 0)
  for (const value of values) {
    const bucket = BUCKETS.findIndex(({ belowMs }) => value < belowMs)
    counts[bucket] = (counts[bucket] ?? 0) + 1
  }
  const first = counts.findIndex((count) => count > 0)
  if (first === -1) return '(no values)'
  const last = counts.findLastIndex((count) => count > 0)
  const fullest = counts.reduce((most, count) => Math.max(most, count))
  const countColumns = String(fullest).length
  return BUCKETS.slice(first, last + 1)
    .map(({ label }, index) => {
      const count = counts[first + index] ?? 0
      const line = `${label.padStart(LABEL_COLUMNS)}  ${String(count).padStart(countColumns)}  ${bar(count / fullest, width)}`
      return line.trimEnd()
    })
    .join('\n')
}

function summarize(recorded: readonly number[]): LatenessSummary {
  const sorted = Float64Array.from(recorded).sort()
  // Whole numbers before the division: 0.95 * n can land just above a whole rank, and ceil would take the next one.
  const percentile = (percent: number): number => sorted[Math.ceil((percent * sorted.length) / 100) - 1] ?? Number.NaN
  return {
    count: sorted.length,
    p50: percentile(50),
    p95: percentile(95),
    p99: percentile(99),
    max: sorted.at(-1) ?? Number.NaN,
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
  }
}

/** Draws in eighths of a column. */
function bar(share: number, width: number): string {
  const eighths = share === 0 ? 0 : Math.max(1, Math.round(share * width * 8))
  return '█'.repeat(Math.floor(eighths / 8)) + ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8]
}

const BUCKETS: readonly { readonly label: string; readonly belowMs: number }[] = [
  { label: 'early', belowMs: 0 },
  { label: '< 1 ms', belowMs: 1 },
  { label: '1-2 ms', belowMs: 2 },
  { label: '2-5 ms', belowMs: 5 },
  { label: '5-10 ms', belowMs: 10 },
  { label: '10-20 ms', belowMs: 20 },
  { label: '20-50 ms', belowMs: 50 },
  { label: '50-100 ms', belowMs: 100 },
  { label: '100-200 ms', belowMs: 200 },
  { label: '200-500 ms', belowMs: 500 },
  { label: '0.5-1 s', belowMs: 1000 },
  { label: '> 1 s', belowMs: Number.POSITIVE_INFINITY },
]

const LABEL_COLUMNS = BUCKETS.reduce((columns, { label }) => Math.max(columns, label.length), 0)

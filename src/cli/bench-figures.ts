/**
 * What `dueq bench` makes of its samples: one figure for each thing measured, over all rounds, the bare statement beside
 * it, and what bounds it.
 *
 * Invariant: a ratio is of two samples of the same round, taken one right after the other. Machines are busy with other
 * things as well; what both met at the same time cancels out.
 */

export type Unit = 'per second' | 'ms'

/** One thing measured once. */
export type Sample = {
  readonly id: string
  readonly label: string
  readonly unit: Unit
  readonly value: number
  /** The same by bare SQL; for a latency, the least that any way through this database takes. */
  readonly bare?: number | undefined
  /** How long a caller waited for each answer, in ms, where callers wait. */
  readonly answerMs?: number
  /** The processor time of the measured process, as a share of one core. */
  readonly cpuShare?: number
}

export type Spread = { readonly median: number; readonly min: number; readonly max: number }

export type Bound = 'commit' | 'round trip' | 'client CPU' | 'server'

export type Figure = Spread & {
  readonly id: string
  readonly label: string
  readonly unit: Unit
  /** The value of each round. */
  readonly rounds: readonly number[]
  readonly bare: Spread | null
  /** dueq by bare: of rates, more is better; of latencies, less. */
  readonly ratio: Spread | null
  /** What most of the time goes into, as far as it can be told from here; null where it cannot. */
  readonly boundBy: Bound | null
}

/** What the way to the server and its disk take, without dueq; in ms. */
export type Baseline = { readonly roundTripMs: Spread; readonly commitMs: Spread | null }

/** From here on the processor of a single-threaded process is what it waits for: the rest is the kernel's share. */
const busyShare = 0.8

/** Sums up the samples of all rounds, in the order of their first appearance. */
export function figuresOf(samples: readonly Sample[], baseline: Baseline): readonly Figure[] {
  const byId = new Map<string, Sample[]>()
  for (const sample of samples) byId.set(sample.id, [...(byId.get(sample.id) ?? []), sample])
  return [...byId.values()].map((same) => {
    const { id, label, unit } = same[0]!
    const rounds = same.map(({ value }) => value)
    const compared = same.filter(({ bare }) => bare !== undefined)
    return {
      id,
      label,
      unit,
      ...spreadOf(rounds),
      rounds,
      bare: compared.length === 0 ? null : spreadOf(compared.map(({ bare }) => bare!)),
      ratio: compared.length === 0 ? null : spreadOf(compared.map(({ value, bare }) => value / bare!)),
      boundBy: boundOf(same, baseline),
    }
  })
}

/** Median, least and most. Of an even number the lower median: a value that was measured. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  return {
    median: sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN,
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
  }
}

// --- internal ---

/** A caller that waits little longer than a commit, or than the way there and back, waits for that. */
function boundOf(samples: readonly Sample[], { roundTripMs, commitMs }: Baseline): Bound | null {
  const middle = (pick: (sample: Sample) => number | undefined): number | undefined => {
    const values = samples.map(pick).filter((value) => value !== undefined)
    return values.length === 0 ? undefined : spreadOf(values).median
  }
  const answerMs = middle(({ answerMs }) => answerMs)
  const cpuShare = middle(({ cpuShare }) => cpuShare)
  if (cpuShare !== undefined && cpuShare >= busyShare) return 'client CPU'
  if (answerMs === undefined) return null
  if (answerMs < 2 * roundTripMs.median) return 'round trip'
  const onDiskMs = (commitMs?.median ?? 0) - roundTripMs.median
  if (onDiskMs > roundTripMs.median && answerMs < 2.5 * commitMs!.median) return 'commit'
  return 'server'
}

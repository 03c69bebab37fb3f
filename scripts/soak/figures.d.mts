export type Database = {
  readonly micros: number
  readonly tables: Readonly<Record<string, number>>
  readonly indexes: Readonly<Record<string, number>>
  readonly total: number
  readonly connections: { readonly producers: number; readonly consumers: number; readonly others: number }
  readonly deadTuples: number
  readonly autovacuums: number
  readonly ready: number
  readonly delayed: number
  readonly leased: number
}
export type Sample = {
  readonly seconds: number
  readonly processes: readonly { readonly name: string; readonly isSpared: boolean; readonly bytes: number | null }[]
  readonly enqueued: number | null
  readonly delivered: number | null
  readonly faults: { readonly underWay: number; readonly over: number }
  readonly database: Database | null
  readonly lateness?: { readonly count: number; readonly p50: number; readonly p99: number } | null
}
export function judge(result: { readonly samples: readonly Sample[]; readonly seconds: number }): {
  readonly rows: readonly { readonly figure: string; readonly verdict?: { readonly isFlat: boolean } }[]
  readonly isJudged: boolean
  readonly isFlat: boolean | null
}
export function withLateness(
  samples: readonly Sample[],
  lateness: Iterable<readonly [micros: number, ms: number]>,
): readonly Sample[]

/**
 * The account of a run: the journals of all its processes held against the rules and against what the database holds at
 * the end, and how late what was late came while nothing was being done to the run.
 */
import type { Query } from '../../driver.js'
import type { Statements } from '../../statements.js'
import { type CheckReport, checkJournals } from '../checker.js'
import { parseInstant } from '../instant.js'
import { type ClaimedRecord, type JournalRecord, readJournals } from '../journal.js'

/** A fault, by the clock of the database. */
export type FaultSpan = {
  readonly kind: string
  readonly whom: string
  readonly fromMicros: number
  readonly toMicros: number
  readonly effect: number
}

export type Account = {
  readonly report: CheckReport
  /** Messages in the queue, and among its dead letters. */
  readonly liveCount: number
  readonly deadCount: number
  /** Of first deliveries with no fault around them; beyond the poll interval is late. Informative: consumers may be busy. */
  readonly quiet: { readonly count: number; readonly lateCount: number; readonly worstMs: number }
}

/** Above every number of messages that a run can have. */
const all = 1_000_000_000
/** What a fault leaves behind has to be worked off before a delivery counts as undisturbed. */
const aftermathMicros = 4_000_000

/** Judges a run whose processes have ended. */
export async function accountFor(
  journals: readonly string[],
  queue: string,
  database: { readonly query: Query; readonly statements: Statements },
  {
    spans,
    pollMs,
    heard,
  }: {
    readonly spans: readonly FaultSpan[]
    readonly pollMs: number
    /** Is shown every record. */
    readonly heard?: ((record: JournalRecord) => void) | undefined
  },
): Promise<Account> {
  const { query, statements } = database
  const live = new Set((await statements.peek(query, queue, all)).map(({ id }) => id))
  const dead = new Set((await statements.dead(query, queue, all)).map(({ id }) => id))
  const answeredAt = new Map<string, number>()
  const firsts: ClaimedRecord[] = []
  const listening = async function* (): AsyncGenerator<JournalRecord, void, undefined> {
    for await (const record of readJournals(journals)) {
      heard?.(record)
      if (record.type === 'claimed' && record.attempt === 1) firsts.push(record)
      else if (record.type === 'enqueued' && record.outcome === 'committed' && record.at && record.id)
        answeredAt.set(record.id, parseInstant(record.at))
      yield record
    }
  }
  const report = await checkJournals(listening(), { live, dead })
  return {
    report,
    liveCount: live.size,
    deadCount: dead.size,
    quiet: latenessInQuiet(firsts, answeredAt, spans, pollMs),
  }
}

// --- internal ---

function latenessInQuiet(
  firsts: readonly ClaimedRecord[],
  answeredAt: ReadonlyMap<string, number>,
  spans: readonly FaultSpan[],
  pollMs: number,
): Account['quiet'] {
  let count = 0
  let lateCount = 0
  let worstMs = 0
  for (const { id, dueAt, at } of firsts) {
    const answered = answeredAt.get(id)
    if (answered === undefined) continue
    const readyAt = Math.max(parseInstant(dueAt), answered)
    const claimedAt = parseInstant(at)
    const isDisturbed = spans.some(
      ({ fromMicros, toMicros }) => fromMicros <= claimedAt && toMicros + aftermathMicros >= readyAt,
    )
    if (isDisturbed) continue
    const lateMs = Math.max(0, (claimedAt - readyAt) / 1000)
    count++
    worstMs = Math.max(worstMs, lateMs)
    if (lateMs > pollMs) lateCount++
  }
  return { count, lateCount, worstMs }
}

/**
 * What became of a run's messages: its journals, held by the log checker against what the database says at the end.
 */
import type { Query } from '../driver.js'
import type { Statements } from '../statements.js'
import { type CheckReport, checkJournals } from './checker.js'
import { type ClaimedRecord, type JournalRecord, readJournals } from './journal.js'
import { createLatenessRecorder, type LatenessRecorder } from './lateness.js'

export type Verdict = {
  readonly report: CheckReport
  /** Of first deliveries. What is delivered again was late because somebody failed, and says nothing about timing. */
  readonly lateness: LatenessRecorder
  /** Claims after the first attempt, in no particular order. */
  readonly redeliveries: readonly ClaimedRecord[]
  /** Messages that were still in the queue or among its dead letters. */
  readonly leftOver: number
}

/** Above every number of messages that a run can have. */
const all = 1_000_000_000

/** Judges a run whose consumers have stopped. The queue was used by this run only. */
export async function judge(
  journals: readonly string[],
  queue: string,
  { query, statements }: { readonly query: Query; readonly statements: Statements },
): Promise<Verdict> {
  const live = new Set((await statements.peek(query, queue, all)).map(({ id }) => id))
  const dead = new Set((await statements.dead(query, queue, all)).map(({ id }) => id))
  const lateness = createLatenessRecorder()
  const redeliveries: ClaimedRecord[] = []
  const listening = async function* (): AsyncGenerator<JournalRecord, void, undefined> {
    for await (const record of readJournals(journals)) {
      if (record.type === 'claimed' && record.attempt > 1) redeliveries.push(record)
      else if (record.type === 'claimed') lateness.record(record.latenessMs)
      yield record
    }
  }
  const report = await checkJournals(listening(), { live, dead })
  return { report, lateness, redeliveries, leftOver: live.size + dead.size }
}

/**
 * The log checker: holds the journals of a run, and where its messages ended, against the promises. Each promise is a
 * rule in a list: those of claims and settles are in rules.ts, those of where messages are in places.ts.
 *
 * The model is the total-queue checker of Jepsen: what went in must come out, nothing else may, and whoever does not
 * know what became of an operation says so before it.
 */
import { createFindings, type Problem, type Rule } from './findings.js'
import type { JournalRecord } from './journal.js'
import { type FinalState, placeRules, presumedAcked } from './places.js'
import { type CheckedRun, type CheckRule, claimRules, repeatsOf } from './rules.js'
import { ackedAttempt, collectStories } from './story.js'

export type { FinalState, Problem, Rule }

/** All rules. */
export const checkRules: readonly CheckRule[] = [...placeRules, ...claimRules]

/** One count per rule (violations), and: */
export interface CheckReport extends Readonly<Record<Rule, number>> {
  readonly ok: boolean
  /** Distinct `ref`s. */
  readonly enqueued: number
  /** Distinct ids known to be committed. */
  readonly committed: number
  /** Enqueues whose outcome nobody learned; each may or may not exist. */
  readonly unknown: number
  /** Distinct ids claimed. */
  readonly delivered: number
  readonly claims: number
  /** Distinct ids acked, as recorded. */
  readonly acked: number
  /** Distinct ids that were being acked when their process ended, and that are gone. */
  readonly presumedAcked: number
  /** Claims beyond the first of an id. */
  readonly duplicates: number
  /** Those that follow a retry, a release or the end of the lease. */
  readonly explainedDuplicates: number
  /** The same by their reason. */
  readonly duplicatesAfter: { readonly retried: number; readonly released: number; readonly lapsed: number }
  /** Settles that were refused, as recorded. */
  readonly refused: number
  /** The first 20. */
  readonly problems: readonly Problem[]
}

/** Checks a run. Holds all records in memory, about 1 kB a message. */
export async function checkJournals(
  records: AsyncIterable<JournalRecord> | Iterable<JournalRecord>,
  final: FinalState,
): Promise<CheckReport> {
  const run: CheckedRun = { ...(await collectStories(records)), final }
  const findings = createFindings()
  for (const { check } of checkRules) check(run, findings)

  const totals = { committed: 0, delivered: 0, claims: 0, acked: 0, duplicates: 0, refused: 0 }
  const duplicatesAfter = { retried: 0, released: 0, lapsed: 0 }
  for (const story of run.stories.values()) {
    if (story.existence === 'committed') totals.committed += 1
    if (story.claims.length > 0) totals.delivered += 1
    totals.claims += story.claims.length
    totals.duplicates += Math.max(0, story.claims.length - 1)
    if (ackedAttempt(story) !== null) totals.acked += 1
    for (const record of story.records) if (record.type === 'settled' && record.how === 'refused') totals.refused += 1
    if (story.claims.length < 2) continue
    for (const repeat of repeatsOf(story)) {
      if (repeat === 'retried' || repeat === 'released' || repeat === 'lapsed') duplicatesAfter[repeat] += 1
    }
  }
  const { outcomes } = run
  return {
    ...findings.counts,
    ...totals,
    duplicatesAfter,
    explainedDuplicates: duplicatesAfter.retried + duplicatesAfter.released + duplicatesAfter.lapsed,
    ok: Object.values(findings.counts).every((count) => count === 0),
    enqueued: outcomes.size,
    unknown: [...outcomes.values()].filter((outcome) => outcome === 'unknown').length,
    presumedAcked: presumedAcked(run),
    problems: findings.problems,
  }
}

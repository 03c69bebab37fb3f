/**
 * The log checker: holds the journals of a run, and where its messages ended, against the promises.
 *
 *   early          claimed before it was due, or before it was ready again
 *   shared         claimed again while the previous attempt's lease ran unsettled, or after its ack or death
 *   attemptReused  one (id, attempt) claimed twice
 *   attemptFell    a later claim with a smaller attempt
 *   settledTwice   one (id, attempt) settled twice, or anything settled by a later attempt than the acked one
 *   lost           enqueued, and now neither acked nor live, dead or cancelled
 *   countedTwice   in more than one of these four
 *   phantom        claimed, settled or found, but never enqueued (or its enqueue had failed)
 *
 * Claims are put in order by the database's clock, so the order of the journals does not matter. The instant of a
 * settle is its process's own and is believed by no rule: a retry that should have been refused, because the next
 * claim was already there, passes as that claim's explanation. Only an ack of that kind is caught.
 */
import { createFindings, type Findings, type Problem, type Rule } from './findings.js'
import { parseInstant } from './instant.js'
import type { ClaimedRecord, JournalRecord } from './journal.js'
import { ackedAttempt, collectStories, leaseEnd, mayHaveSettled, type Story, wasBeingAcked } from './story.js'

export type { Problem, Rule }

/** Where the messages were when everything had stopped. */
export interface FinalState {
  /** Ids still in the queue, or only how many there are; then a lost message is counted but not named. */
  readonly live: ReadonlySet<string> | number
  readonly dead: ReadonlySet<string>
  readonly cancelled?: ReadonlySet<string>
}

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
  /** The first 20. */
  readonly problems: readonly Problem[]
}

/** Checks a run. Holds all records in memory, about 1 kB a message. */
export async function checkJournals(
  records: AsyncIterable<JournalRecord> | Iterable<JournalRecord>,
  final: FinalState,
): Promise<CheckReport> {
  const { stories, outcomes, unmatched } = await collectStories(records)
  const findings = createFindings()
  const totals = { committed: 0, delivered: 0, claims: 0, acked: 0, duplicates: 0, explainedDuplicates: 0 }
  const unfinished: Unfinished = { sure: [], acking: 0, possible: unmatched, strays: 0 }

  for (const story of stories.values()) {
    const { existence } = story
    if (existence === 'committed') totals.committed += 1
    if (story.claims.length > 0) totals.delivered += 1
    totals.claims += story.claims.length
    totals.duplicates += Math.max(0, story.claims.length - 1)
    if (ackedAttempt(story) !== null) totals.acked += 1
    if (existence === 'never' && (story.claims.length > 0 || story.settles.length > 0)) {
      findings.add('phantom', story, 'was claimed or settled, but never enqueued')
    }
    checkInstants(story, findings)
    totals.explainedDuplicates += checkClaims(story, findings)
    checkSettles(story, findings)
    checkPlace(story, final, unfinished, findings)
  }

  for (const ids of [final.live, final.dead, final.cancelled ?? new Set<string>()]) {
    if (typeof ids !== 'number') for (const id of ids) if (!stories.has(id)) unfinished.strays += 1
  }
  const presumedAcked = checkTotals(final, unfinished, unmatched, findings)

  return {
    ...findings.counts,
    ...totals,
    ok: Object.values(findings.counts).every((count) => count === 0),
    enqueued: outcomes.size,
    unknown: [...outcomes.values()].filter((outcome) => outcome === 'unknown').length,
    presumedAcked,
    problems: findings.problems,
  }
}

// --- The rules, one message at a time ---

function checkInstants(story: Story, findings: Findings): void {
  for (const claim of story.claims) {
    const bounds = [claim.dueAt, claim.readyAt ?? claim.dueAt].map(parseInstant)
    const earlyMicros = Math.max(...bounds, story.dueMicros ?? Number.NEGATIVE_INFINITY) - parseInstant(claim.at)
    if (earlyMicros > 0) findings.add('early', story, `attempt ${claim.attempt} was claimed ${earlyMicros} µs early`)
  }
}

/** Answers how many claims beyond the first are explained. */
function checkClaims(story: Story, findings: Findings): number {
  const attempts = new Set<number>()
  let highest = 0
  let explained = 0
  for (const [index, claim] of story.claims.entries()) {
    const previous = story.claims[index - 1]
    if (attempts.has(claim.attempt)) {
      findings.add('attemptReused', story, `attempt ${claim.attempt} was claimed twice`)
    } else if (claim.attempt < highest) {
      findings.add('attemptFell', story, `attempt ${claim.attempt} was claimed after attempt ${highest}`)
    } else if (previous !== undefined) {
      if (isExplained(story, previous, claim)) explained += 1
      else
        findings.add('shared', story, `attempt ${claim.attempt} was claimed while attempt ${previous.attempt} held it`)
    }
    attempts.add(claim.attempt)
    highest = Math.max(highest, claim.attempt)
  }
  return explained
}

function isExplained(story: Story, previous: ClaimedRecord, claim: ClaimedRecord): boolean {
  // A message that was acked or dead-lettered has no row to claim, however long ago its lease ended.
  const isGone = story.settles.some(
    ({ how, attempt }) => (how === 'acked' || how === 'dead') && attempt < claim.attempt,
  )
  if (isGone) return false
  const gaveBack =
    mayHaveSettled(story, previous.attempt, 'retried') || mayHaveSettled(story, previous.attempt, 'released')
  return gaveBack || leaseEnd(story, previous) <= parseInstant(claim.at)
}

function checkSettles(story: Story, findings: Findings): void {
  const acked = ackedAttempt(story)
  const seen = new Set<number>()
  for (const { attempt, how } of story.settles) {
    if (seen.has(attempt)) findings.add('settledTwice', story, `attempt ${attempt} was settled twice`)
    else if (acked !== null && attempt > acked) {
      findings.add('settledTwice', story, `attempt ${attempt} was ${how} although attempt ${acked} had been acked`)
    }
    seen.add(attempt)
  }
}

function checkPlace(story: Story, final: FinalState, unfinished: Unfinished, findings: Findings): void {
  const { id, existence } = story
  const places = [
    ...(ackedAttempt(story) !== null ? ['acked'] : []),
    ...(typeof final.live !== 'number' && final.live.has(id) ? ['live'] : []),
    ...(final.dead.has(id) ? ['dead'] : []),
    ...(final.cancelled?.has(id) || story.settles.some(({ how }) => how === 'cancelled') ? ['cancelled'] : []),
  ]
  if (places.length > 1) findings.add('countedTwice', story, `is ${places.join(' and ')}`)
  if (places.length === 1 && existence === 'never' && story.claims.length + story.settles.length === 0) {
    findings.add('phantom', story, `is ${places[0]}, but its enqueue had failed`)
  }
  if (places.length > 0 || existence === 'never') return
  if (wasBeingAcked(story)) unfinished.acking += 1
  else if (existence === 'committed' || story.claims.length > 0) unfinished.sure.push(story)
  else unfinished.possible += 1
}

// --- The rules over all messages ---

/** Messages that their records leave open. */
interface Unfinished {
  /** They exist, so they must be somewhere. */
  readonly sure: Story[]
  /** Their ack may have come through. */
  acking: number
  /** They may never have existed. */
  possible: number
  /** Ids found at the end that no record names. */
  strays: number
}

/** Answers how many messages were acked by a process that did not live to record it. */
function checkTotals(final: FinalState, unfinished: Unfinished, unmatched: number, findings: Findings): number {
  const { sure, acking, possible, strays } = unfinished
  if (strays > unmatched) {
    findings.addCount('phantom', strays - unmatched, `${strays} ids found, ${unmatched} enqueues they could come from`)
  }
  if (typeof final.live !== 'number') {
    for (const story of sure) findings.add('lost', story, 'is neither acked nor live, dead or cancelled')
    return acking
  }
  const { live } = final
  if (live < sure.length) {
    findings.addCount('lost', sure.length - live, `${sure.length} unfinished messages, ${live} live`)
  }
  // Unknown enqueues that already stand for a dead or cancelled stray cannot be live as well.
  const most = sure.length + acking + possible - Math.min(strays, unmatched)
  if (live > most)
    findings.addCount('phantom', live - most, `${live} live, at most ${most} were enqueued and unfinished`)
  return Math.min(acking, Math.max(0, sure.length + acking - live))
}

/**
 * The rules over what consumers did: when they were given messages, and what they could settle. A rule has a name, says
 * what it promises, and goes over a whole run, so that one for the order per key, a limit or expiry is one more of them.
 *
 * Claims are put in order by the database's clock. An instant that a process gives by itself is a bound, of which side
 * is said where it is recorded; a rule uses it only on that side.
 */
import type { Findings, Rule } from './findings.js'
import { parseInstant } from './instant.js'
import type { ClaimedRecord } from './journal.js'
import type { FinalState } from './places.js'
import { ackedAttempt, leaseEnd, mayHaveSettled, type Stories, type Story } from './story.js'

/** What is held against the rules. */
export interface CheckedRun extends Stories {
  readonly final: FinalState
}

export interface CheckRule {
  readonly name: Rule
  /** The promise, in a sentence that is true where the rule finds nothing. */
  readonly says: string
  readonly check: (run: CheckedRun, findings: Findings) => void
}

/** Why a message was claimed again: `gone` and `held` are no reasons. */
export type Repeat = 'reused' | 'fell' | 'gone' | 'held' | 'retried' | 'released' | 'lapsed'

export const claimRules: readonly CheckRule[] = [
  {
    name: 'early',
    says: 'No message is delivered before it is due, or before it is ready again.',
    check: ({ stories }, findings) => {
      for (const story of stories.values())
        for (const claim of story.claims) {
          const early = earlyMicros(story, claim)
          if (early > 0) findings.add('early', story, `attempt ${claim.attempt} was claimed ${early} µs early`)
        }
    },
  },
  repeats('shared', 'No two consumers hold a message at once.', 'held', (claim, previous) => {
    return `attempt ${claim.attempt} was claimed while attempt ${previous.attempt} held it`
  }),
  repeats('unexplained', 'Nothing is delivered again after its ack or its death.', 'gone', ({ attempt }) => {
    return `attempt ${attempt} was claimed although an attempt before it had ended the message`
  }),
  repeats('attemptReused', 'No attempt is given to two consumers.', 'reused', ({ attempt }) => {
    return `attempt ${attempt} was claimed twice`
  }),
  repeats('attemptFell', 'Attempts never decrease.', 'fell', ({ attempt }) => {
    return `attempt ${attempt} was claimed after a later one`
  }),
  {
    name: 'settledTwice',
    says: 'Each attempt settles once, and nothing settles after the ack.',
    check: ({ stories }, findings) => {
      for (const story of stories.values()) {
        const acked = ackedAttempt(story)
        const seen = new Set<number>()
        for (const { attempt, how } of story.settles) {
          if (seen.has(attempt)) findings.add('settledTwice', story, `attempt ${attempt} was settled twice`)
          else if (acked !== null && attempt > acked) {
            const what = `attempt ${attempt} was ${how} although attempt ${acked} had been acked`
            findings.add('settledTwice', story, what)
          }
          seen.add(attempt)
        }
      }
    },
  },
  {
    name: 'unfenced',
    says: 'Whoever settles after the next claim is refused.',
    check: ({ stories }, findings) => {
      for (const story of stories.values())
        for (const what of unfencedSettles(story)) findings.add('unfenced', story, what)
    },
  },
]

/** Why each claim after the first was made, by its place among the claims. */
export function repeatsOf(story: Story): readonly Repeat[] {
  const attempts = new Set<number>()
  let highest = 0
  const repeats: Repeat[] = []
  for (const [index, claim] of story.claims.entries()) {
    const previous = story.claims[index - 1]
    if (attempts.has(claim.attempt)) repeats.push('reused')
    else if (claim.attempt < highest) repeats.push('fell')
    else if (previous !== undefined) repeats.push(repeatOf(story, previous, claim))
    attempts.add(claim.attempt)
    highest = Math.max(highest, claim.attempt)
  }
  return repeats
}

// --- internal ---

function repeats(
  name: Rule,
  says: string,
  kind: Repeat,
  tell: (claim: ClaimedRecord, previous: ClaimedRecord) => string,
): CheckRule {
  return {
    name,
    says,
    check: ({ stories }, findings) => {
      for (const story of stories.values()) {
        if (story.claims.length < 2) continue
        for (const [index, repeat] of repeatsOf(story).entries()) {
          if (repeat === kind) findings.add(name, story, tell(story.claims[index + 1]!, story.claims[index]!))
        }
      }
    },
  }
}

function repeatOf(story: Story, previous: ClaimedRecord, claim: ClaimedRecord): Repeat {
  // A message that was acked or dead-lettered has no row to claim, however long ago its lease ended.
  const isGone = story.settles.some(
    ({ how, attempt }) => (how === 'acked' || how === 'dead') && attempt < claim.attempt,
  )
  if (isGone) return 'gone'
  if (mayHaveSettled(story, previous.attempt, 'retried')) return 'retried'
  if (mayHaveSettled(story, previous.attempt, 'released')) return 'released'
  return leaseEnd(story, previous) <= parseInstant(claim.at) ? 'lapsed' : 'held'
}

/** By how much a claim was early, by the clock of the engine or by the one that it is compared with. */
function earlyMicros(story: Story, { at, heardBy, dueAt, readyAt }: ClaimedRecord): number {
  const due = Math.max(parseInstant(dueAt), parseInstant(readyAt ?? dueAt), story.dueMicros ?? Number.NEGATIVE_INFINITY)
  return due - Math.min(parseInstant(at), heardBy === undefined ? Number.POSITIVE_INFINITY : parseInstant(heardBy))
}

/** A claim's instant is cut to the millisecond, so a settle within the same one is believed to be before it. */
const cutMicros = 1000

function* unfencedSettles({ settles, records, claims }: Story): Generator<string> {
  for (const { attempt, how } of settles) {
    const sent = records.filter(
      (record) => record.type === 'settling' && record.attempt === attempt && record.how === how,
    )
    const sentAt = Math.min(
      ...sent.map((record) => ('at' in record && record.at ? parseInstant(record.at) : -Infinity)),
    )
    const next = claims.find((claim) => claim.attempt > attempt && parseInstant(claim.at) + cutMicros < sentAt)
    if (next && sent.length > 0) {
      yield `attempt ${attempt} was ${how} although attempt ${next.attempt} had been claimed before that was asked for`
    }
  }
}

/**
 * What the log checker found: every violation is counted, the first 20 are kept with the story of their message, so
 * that a run in which everything went wrong still makes a readable report.
 */
import type { JournalRecord } from './journal.js'
import type { Story } from './story.js'

/** In the order in which they are reported. What each says is in rules.ts and rules-places.ts. */
export const ruleNames = [
  'lost',
  'phantom',
  'copied',
  'twins',
  'early',
  'shared',
  'unexplained',
  'attemptReused',
  'attemptFell',
  'settledTwice',
  'unfenced',
  'countedTwice',
] as const

export type Rule = (typeof ruleNames)[number]

export interface Problem {
  readonly rule: Rule
  /** Null where only a number was wrong. */
  readonly id: string | null
  readonly message: string
  /** The message's records in order; of the extensions of an attempt, only the last. */
  readonly story: readonly JournalRecord[]
}

export interface Findings {
  readonly counts: Readonly<Record<Rule, number>>
  readonly problems: readonly Problem[]
  add(rule: Rule, story: Story, what: string): void
  /** For violations that are known by their number only. */
  addCount(rule: Rule, count: number, what: string): void
}

export function createFindings(): Findings {
  const counts = Object.fromEntries(ruleNames.map((name) => [name, 0])) as Record<Rule, number>
  const problems: Problem[] = []
  return {
    counts,
    problems,
    add(rule, story, what) {
      counts[rule] += 1
      if (problems.length < MAX_PROBLEMS) {
        problems.push({ rule, id: story.id, message: `message ${story.id} ${what}`, story: retell(story) })
      }
    },
    addCount(rule, count, what) {
      counts[rule] += count
      if (problems.length < MAX_PROBLEMS) problems.push({ rule, id: null, message: what, story: [] })
    },
  }
}

const MAX_PROBLEMS = 20

/** Puts the records in order: the enqueue, then attempt by attempt as claimed, each with its lease's end and its settle. */
function retell({ records, claims }: Story): readonly JournalRecord[] {
  const turns = new Map<number, number>()
  for (const [turn, { attempt }] of claims.entries()) if (!turns.has(attempt)) turns.set(attempt, turn)
  const turnOf = (record: JournalRecord): number =>
    record.type === 'enqueued'
      ? -1
      : record.type === 'noted'
        ? Number.POSITIVE_INFINITY
        : (turns.get(record.attempt) ?? Number.POSITIVE_INFINITY)
  const lastExtensions = new Map<number, JournalRecord>()
  for (const record of records) if (record.type === 'extended') lastExtensions.set(record.attempt, record)
  return records
    .filter((record) => record.type !== 'extended' || lastExtensions.get(record.attempt) === record)
    .map((record) => ({ record, turn: turnOf(record), step: STEPS.indexOf(record.type) }))
    .sort((a, b) => (a.turn === b.turn ? a.step - b.step : a.turn < b.turn ? -1 : 1))
    .map(({ record }) => record)
}

const STEPS: readonly JournalRecord['type'][] = ['enqueued', 'claimed', 'extended', 'settling', 'settled', 'noted']

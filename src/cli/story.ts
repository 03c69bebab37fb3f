/**
 * The story of one message: everything all journals say about its id, and what follows from that alone. Whether it
 * exists is decided here, because a producer may die between its enqueue and the record of it: then the claim's `ref`
 * connects the id with the enqueue that was announced.
 */
import { parseInstant } from './instant.js'
import type { ClaimedRecord, EnqueuedRecord, JournalRecord, SettledRecord } from './journal.js'

export interface Story {
  readonly id: string
  /** `unknown`: its enqueue was announced, and nobody learned the outcome. `never`: no enqueue, or a failed one. */
  readonly existence: 'committed' | 'unknown' | 'never'
  /** What its producers call it; more than one where an enqueue was repeated with its dedup key. */
  readonly refs: ReadonlySet<string>
  readonly dedupKey: string | null
  /** Earliest instant that the enqueue asked for, in microseconds since 1970; null if no record says it. */
  readonly dueMicros: number | null
  readonly records: readonly JournalRecord[]
  /** In order of the database's clock. */
  readonly claims: readonly ClaimedRecord[]
  /** Without the refused ones. */
  readonly settles: readonly SettledRecord[]
}

export interface Stories {
  readonly stories: ReadonlyMap<string, Story>
  /** Of each enqueue, by its `ref`. */
  readonly outcomes: ReadonlyMap<string, EnqueuedRecord['outcome']>
  /** How many enqueues of unknown outcome no id is known for. */
  readonly unmatched: number
}

export async function collectStories(
  records: AsyncIterable<JournalRecord> | Iterable<JournalRecord>,
): Promise<Stories> {
  const byId = new Map<string, JournalRecord[]>()
  const enqueues = new Map<string, EnqueuedRecord>()
  const matched = new Set<string>()
  for await (const record of records) {
    if (record.type === 'enqueued') {
      // A commit that was seen stands, whichever record is read last.
      if (enqueues.get(record.ref)?.outcome !== 'committed') enqueues.set(record.ref, record)
    }
    if (record.id === null) continue
    if ('ref' in record && record.ref !== undefined) matched.add(record.ref)
    const known = byId.get(record.id)
    if (known === undefined) byId.set(record.id, [record])
    else known.push(record)
  }
  const outcomes = new Map([...enqueues].map(([ref, { outcome }]) => [ref, outcome] as const))
  const unmatched = [...outcomes].filter(([ref, outcome]) => outcome === 'unknown' && !matched.has(ref)).length
  const stories = new Map([...byId].map(([id, records]) => [id, tell(id, records, enqueues)] as const))
  return { stories, outcomes, unmatched }
}

/** The attempt that acked the message, the first if there were several. */
export function ackedAttempt(story: Story): number | null {
  return story.settles.find(({ how }) => how === 'acked')?.attempt ?? null
}

/** Is the attempt recorded as settled like this, or was it about to be when the records of it end? */
export function mayHaveSettled(story: Story, attempt: number, how: SettledRecord['how']): boolean {
  if (story.settles.some((settle) => settle.attempt === attempt && settle.how === how)) return true
  const ofAttempt = story.records.filter((record) => 'attempt' in record && record.attempt === attempt)
  return (
    ofAttempt.some((record) => record.type === 'settling' && record.how === how) &&
    !ofAttempt.some((record) => record.type === 'settled')
  )
}

/** Was the last attempt about to ack when the records of it end? */
export function wasBeingAcked(story: Story): boolean {
  const last = story.claims.at(-1)
  return last !== undefined && ackedAttempt(story) === null && mayHaveSettled(story, last.attempt, 'acked')
}

/** When the lease of a claim ended, extensions included, in microseconds since 1970. */
export function leaseEnd(story: Story, claim: ClaimedRecord): number {
  const extensions = story.records.filter((record) => record.type === 'extended' && record.attempt === claim.attempt)
  return [claim, ...extensions].reduce(
    (end, record) => ('leaseEndsAt' in record ? Math.max(end, parseInstant(record.leaseEndsAt)) : end),
    Number.NEGATIVE_INFINITY,
  )
}

// --- internal ---

function tell(id: string, records: readonly JournalRecord[], enqueues: ReadonlyMap<string, EnqueuedRecord>): Story {
  const refs = new Set(records.flatMap((record) => ('ref' in record && record.ref !== undefined ? [record.ref] : [])))
  const outcomes = [...refs].map((ref) => enqueues.get(ref)?.outcome)
  const dues = records.flatMap((record) => (record.type === 'enqueued' ? [parseInstant(record.dueAt)] : []))
  const announced = [...refs].flatMap((ref) => enqueues.get(ref) ?? []).map(({ dueAt }) => parseInstant(dueAt))
  return {
    id,
    records,
    refs,
    dedupKey: [...refs].map((ref) => enqueues.get(ref)?.dedupKey).find((key) => key !== undefined) ?? null,
    existence: outcomes.includes('committed') ? 'committed' : outcomes.includes('unknown') ? 'unknown' : 'never',
    dueMicros: [...dues, ...announced].reduce<number | null>((a, b) => Math.min(a ?? b, b), null),
    claims: records
      .filter((record) => record.type === 'claimed')
      .sort((a, b) => parseInstant(a.at) - parseInstant(b.at) || a.attempt - b.attempt),
    settles: records.filter((record) => record.type === 'settled').filter(({ how }) => how !== 'refused'),
  }
}

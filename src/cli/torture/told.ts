/**
 * The shortest story of a message that broke a rule: everything that is known about it in the order of the database's
 * clock, with the faults that those who had it, or the server, suffered meanwhile.
 *
 * Instants that a process gave by itself are bounds: what it announced happened at that instant or later (`≥`), what it
 * had an answer to at that instant or before (`≤`).
 */
import type { Problem } from '../checker.js'
import { parseInstant } from '../instant.js'
import type { JournalRecord } from '../journal.js'
import type { FaultSpan } from './account.js'

/** For so long a fault that is over counts as one of the story. */
const aftermathMicros = 1_000_000

/** Tells a problem, a line for each event; instants in ms from the first. */
export function tellStory({ rule, message, story }: Problem, spans: readonly FaultSpan[]): string {
  const events = story.flatMap(eventsOf)
  const known = events.map(({ micros }) => micros).filter(Number.isFinite)
  if (known.length === 0) return `${rule}: ${message}`
  const who = new Set(story.flatMap(whoOf))
  const first = Math.min(...known)
  const last = Math.max(...known)
  const faults = spans
    .filter(({ fromMicros, toMicros }) => fromMicros <= last && toMicros >= first - aftermathMicros)
    .filter(({ whom }) => whom === 'server' || who.has(whom))
    .flatMap(({ kind, whom, fromMicros, toMicros }) => [
      { micros: fromMicros, bound: '', text: `  fault: ${kind} on ${whom} begins` },
      { micros: toMicros, bound: '', text: `  fault: ${kind} on ${whom} ends` },
    ])
  const lines = [...events, ...faults].sort((a, b) => a.micros - b.micros)
  return [
    `${rule}: ${message}`,
    ...lines.map(({ micros, bound, text }) => `  ${bound.padStart(1)}${msText(micros - first)}  ${text}`),
  ].join('\n')
}

// --- internal ---

/** The processes that had a hand in it. */
function whoOf(record: JournalRecord): readonly string[] {
  if (record.type === 'claimed') return [record.consumer]
  // A producer's own name for a message begins with its own.
  return record.type === 'enqueued' ? [record.ref.split('/')[0]!] : []
}

type Event = { readonly micros: number; readonly bound: '' | '≥' | '≤'; readonly text: string }

function eventsOf(record: JournalRecord): readonly Event[] {
  switch (record.type) {
    case 'enqueued': {
      const bound = record.outcome === 'unknown' ? '≥' : '≤'
      const key = record.dedupKey === undefined ? '' : `, dedup key ${record.dedupKey}`
      const micros = record.at === undefined ? Number.NEGATIVE_INFINITY : parseInstant(record.at)
      return [{ micros, bound, text: `enqueue ${record.outcome}: ${record.ref}, due at ${record.dueAt}${key}` }]
    }
    case 'claimed': {
      const text = `attempt ${record.attempt} claimed by ${record.consumer}, lease to ${record.leaseEndsAt}`
      return [{ micros: parseInstant(record.at), bound: '', text }]
    }
    case 'extended':
      return [
        { micros: parseInstant(record.leaseEndsAt), bound: '', text: `end of the extended lease of ${record.attempt}` },
      ]
    case 'settling': {
      const micros = record.at === undefined ? Number.POSITIVE_INFINITY : parseInstant(record.at)
      return [{ micros, bound: '≥', text: `attempt ${record.attempt} is to be ${record.how}` }]
    }
    case 'settled':
      return [{ micros: parseInstant(record.at), bound: '≤', text: `attempt ${record.attempt} ${record.how}` }]
    case 'noted':
      return [{ micros: parseInstant(record.at), bound: '', text: `${record.by}: ${record.what}` }]
  }
}

function msText(micros: number): string {
  return Number.isFinite(micros) ? `${(micros / 1000).toFixed(1)} ms`.padStart(12) : '?'.padStart(12)
}

/**
 * The journal: what one process saw happen to its messages, as NDJSON in a file of its own.
 *
 * Invariant: a record reaches the operating system in one write before `write` returns, so `kill -9` tears at most
 * the last line, and only that line is forgiven by the reader. (The file is not synced: it survives the process, not
 * a power cut.)
 *
 * A kill between a statement and its record would leave a gap that looks like a bug of the queue. So a process says
 * first what it is about to do wherever the answer could be lost: `enqueued` with outcome `unknown` before the
 * enqueue, and `settling` before the settle; the later record, if the process lives to write it, decides.
 */
import { appendFileSync, closeSync, createReadStream, openSync } from 'node:fs'
import { splitLines } from './lines.js'

export type JournalRecord =
  | EnqueuedRecord
  | ClaimedRecord
  | ExtendedRecord
  | SettlingRecord
  | SettledRecord
  | NotedRecord

/** A message was, may have been, or was not enqueued. Of several records with one `ref`, the last decides. */
export interface EnqueuedRecord {
  readonly type: 'enqueued'
  /** Null where the enqueue did not answer. */
  readonly id: string | null
  /** The producer's own name for the message, unique over the run; it travels in the payload. */
  readonly ref: string
  /**
   * Instant before which nobody may have the message, by the database's clock. Where only a delay is known, a lower
   * bound. A message rescheduled to sooner gets another record: the earliest counts.
   */
  readonly dueAt: string
  readonly outcome: 'committed' | 'failed' | 'unknown'
  /** Not before this, by the clock of the database, was the enqueue sent (`unknown`) or its answer there. */
  readonly at?: string
  /** No two messages with one key are live at once. */
  readonly dedupKey?: string
  /** False: another message with its dedup key was live, and `id` is that one's. */
  readonly isNew?: boolean
}

/** A consumer was given the message. */
export interface ClaimedRecord {
  readonly type: 'claimed'
  readonly id: string
  readonly attempt: number
  readonly consumer: string
  /** Instant of the claim by the database's clock. */
  readonly at: string
  readonly dueAt: string
  /** Instant at which a retried or released message was ready again. */
  readonly readyAt?: string
  readonly leaseEndsAt: string
  /** Not after this was it heard of, by a clock that is compared with the database's and is not the engine's own. */
  readonly heardBy?: string
  /** Start of the handler minus `dueAt`, by the database's clock. */
  readonly latenessMs: number
  /** The producer's `ref` out of the payload: vouches for a message whose producer died before it learned the id. */
  readonly ref?: string
}

export interface ExtendedRecord {
  readonly type: 'extended'
  readonly id: string
  readonly attempt: number
  readonly leaseEndsAt: string
}

/** The attempt is about to be settled; without a later `settled`, both outcomes are possible. */
export interface SettlingRecord {
  readonly type: 'settling'
  readonly id: string
  readonly attempt: number
  readonly how: 'acked' | 'retried' | 'dead' | 'released' | 'cancelled'
  /** Not before this, by the clock of the database, is it sent. */
  readonly at?: string
}

/** The attempt was settled, or (`refused`) the settle was refused because the lease was lost. */
export interface SettledRecord {
  readonly type: 'settled'
  readonly id: string
  readonly attempt: number
  readonly how: SettlingRecord['how'] | 'refused'
  readonly at: string
}

/** Something that is no part of a message's life and may explain one: a fault, a lost connection. */
export interface NotedRecord {
  readonly type: 'noted'
  /** Of the message concerned, if it is about one. */
  readonly id: string | null
  readonly what: string
  readonly by: string
  readonly at: string
}

export interface Journal {
  write(record: JournalRecord): void
  /** The same for several, in one write. */
  writeAll(records: readonly JournalRecord[]): void
  close(): void
}

/** Creates a journal. A file that exists is an error (`EEXIST`): to continue one could bury a torn line in its middle. */
export function openJournal(path: string): Journal {
  const file = openSync(path, 'ax')
  return {
    write: (record) => appendFileSync(file, `${JSON.stringify(record)}\n`),
    writeAll: (records) => appendFileSync(file, records.map((record) => `${JSON.stringify(record)}\n`).join('')),
    close: () => closeSync(file),
  }
}

/** Reads journals one after the other. Throws for a line that is no record, unless it is the torn last one of its file. */
export async function* readJournals(paths: Iterable<string>): AsyncGenerator<JournalRecord, void, undefined> {
  for (const path of paths) yield* readJournal(path)
}

async function* readJournal(path: string): AsyncGenerator<JournalRecord, void, undefined> {
  for await (const { line, text, isTerminated } of splitLines(createReadStream(path, 'utf8'))) {
    const record = parseRecord(text)
    if (record !== null) yield record
    else if (isTerminated) {
      throw new Error(`${path}:${line}: expected a journal record, got ${JSON.stringify(text.slice(0, 80))}`)
    }
  }
}

function parseRecord(text: string): JournalRecord | null {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : null
  } catch {
    return null
  }
}

/** Looks at the discriminant only: journals are written by {@link openJournal}, and read to check the queue, not them. */
function isRecord(value: unknown): value is JournalRecord {
  return typeof value === 'object' && value !== null && 'type' in value && TYPES.has(value.type)
}

const TYPES: ReadonlySet<unknown> = new Set<JournalRecord['type']>([
  'enqueued',
  'claimed',
  'extended',
  'settling',
  'settled',
  'noted',
])

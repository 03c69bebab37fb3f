// The one SQL statement of a consumer: it acks what was handled, claims, and says when to look again; see statements.ts for
// the rules. It is the one statement with many rows, so its columns are as few and as short as can be: instants come as
// microseconds since 1970, what most messages have in common (attempt 1, priority 0, due at once, no failure) as null, what all
// have in common in the last row alone. Of 11 columns of text in each row the reading took the client 3.6 µs a message, so 1.4.
import type { Query, Row } from './driver.js'
import { compareIds, type Outcome } from './statements-settle.js'
import { given, interval } from './text-form.js'

/** A claimed message as it comes from the database. Instants are in ms since 1970, with microseconds as a fraction. */
export type Delivery = {
  readonly id: string
  readonly attempt: number
  readonly payload: unknown
  readonly headers: string | null
  readonly priority: number
  readonly dueAtMs: number
  readonly enqueuedAtMs: number
  /** When it became ready: with priority and id the order of a claim. */
  readonly readySinceMs: number
  readonly failures: number
  readonly lapses: number
  /** It has lapsed for half of its budget: to be handled alone. */
  readonly isSuspect: boolean
}

/** What a poll asks for. `leaseMs` undefined: the lease of the queue. `handlers`: how many messages start at once. */
export type Poll = {
  readonly max: number
  readonly leaseMs: number | undefined
  readonly consumer: string
  readonly handlers: number
  /** What the last poll of this queue gave; without it everything is looked at. */
  readonly hint?: string | null
  /** The earliest instant that notifications have named since the last poll was sent, in seconds since 1970. */
  readonly wokenFromSeconds?: number | null
  /** Whoever polls listens, wants to be woken, and obeys `nextReadyAtMs`. */
  readonly isListening?: boolean
  /** What was handled, acked in the same transaction before the claim. */
  readonly acks?: Acks
}

/** Leases to ack: an attempt for each id. Sorted by id they cost the least. */
export type Acks = { readonly ids: readonly string[]; readonly attempts: readonly number[] }

/** What a poll gives: the messages in order, the time of the database, and when to look again. Instants in ms since 1970. */
export type Polled = {
  readonly deliveries: readonly Delivery[]
  /** JSON text of all payloads, for bounding memory. */
  readonly payloadChars: number
  /** The time of the database at the claim. */
  readonly polledAtMs: number
  /** The end of the leases claimed. */
  readonly leaseEndsAtMs: number
  /** The next instant at which there may be something, null where nothing is known. */
  readonly nextReadyAtMs: number | null
  /** The longest time to sleep, in ms. */
  readonly pollIntervalMs: number
  /** For the next poll of this queue; opaque. */
  readonly hint: string | null
  /** The acks that did not count: `lost`, or `busy` (another transaction holds the row: try again, alone). */
  readonly refusedAcks: readonly Outcome[]
}

/** The poll of a schema. Its name must be checked before: it becomes part of the text. */
export function pollStatement(schema: string) {
  // `extract` is exact for all times, and takes four times as long as the double, which is for those of today.
  const micros = (instant: string): string =>
    `(case when ${instant} between '1971-01-01 00:00Z' and '2100-01-01 00:00Z' then (pg_catalog.date_part('epoch', ${instant}) * 1000000)::bigint else (extract(epoch from ${instant}) * 1000000)::bigint end)::text`
  const pollText = `select p.id::text, nullif(p.attempt, 1)::text as attempt, p.payload::text, p.headers::text, nullif(p.priority, 0)::text as priority, ${micros('p.due_at')} as due_at, ${micros('nullif(p.enqueued_at, p.due_at)')} as enqueued_at, nullif(p.failures, 0)::text as failures, nullif(p.lapses, 0)::text as lapses, nullif(p.is_suspect, false)::text as is_suspect, ${micros('case when p.id is null then p.lease_ends_at end')} as lease_ends_at, ${micros('p.polled_at')} as polled_at, ${micros('p.next_ready_at')} as next_ready_at, extract(epoch from p.poll_interval)::text as poll_interval, p.next_hint, pg_catalog.array_to_string(p.refused_acks, ',') as refused_acks, ${micros('nullif(p.ready_since, p.due_at)')} as ready_since from "${schema}".poll(queue => $1::text, max => $2::text::integer, lease => $3::text::interval, consumer => $4::text, handlers => $5::text::integer, hint => $6::text, woken_from => pg_catalog.to_timestamp($7::text::double precision), listening => $8::text::boolean, ack_ids => $9::text::bigint[], ack_attempts => $10::text::integer[]) as p`
  return {
    /** `onLate` gets what came after the deadline, when nobody waits for it any more. */
    async poll(query: Query, queue: string, poll: Poll, onLate: (late: Polled) => void): Promise<Polled> {
      const { max, leaseMs, consumer, handlers, hint, wokenFromSeconds, isListening, acks } = poll
      const params = [
        queue,
        String(max),
        interval(leaseMs),
        consumer,
        String(handlers),
        hint ?? null,
        wokenFromSeconds === undefined || wokenFromSeconds === null ? null : String(wokenFromSeconds),
        String(isListening ?? false),
        acks ? `{${acks.ids.join()}}` : null,
        acks ? `{${acks.attempts.join()}}` : null,
      ]
      return polled(await query(pollText, params, (rows) => onLate(polled(rows))))
    },
  }
}

// --- internal ---

function polled(rows: readonly Row[]): Polled {
  const last = given(rows[rows.length - 1])
  const deliveries: Delivery[] = []
  let payloadChars = 0
  for (let i = 0; i < rows.length - 1; i++) {
    const row = rows[i]!
    deliveries.push(delivery(row))
    payloadChars += row[2]!.length
  }
  return {
    deliveries: inOrder(deliveries),
    payloadChars,
    leaseEndsAtMs: Number(last[10]) / 1000,
    polledAtMs: Number(last[11]) / 1000,
    nextReadyAtMs: last[12]! === null ? null : Number(last[12]) / 1000,
    pollIntervalMs: Number(last[13]) * 1000,
    hint: last[14]!,
    refusedAcks: last[15] ? last[15].split(',').map(refusedAck) : [],
  }
}

function delivery(row: Row): Delivery {
  const dueAtMs = millis(row[5]!)
  return {
    id: row[0]!,
    attempt: Number(row[1] ?? 1),
    payload: JSON.parse(row[2]!),
    headers: row[3]!,
    priority: Number(row[4]), // null is 0
    dueAtMs,
    enqueuedAtMs: row[6] === null ? dueAtMs : millis(row[6]!),
    readySinceMs: row[16] === null ? dueAtMs : millis(row[16]!),
    failures: Number(row[7]),
    lapses: Number(row[8]),
    isSuspect: row[9] !== null,
  }
}

/** Before 1684 the microseconds are beyond what a number holds: the millisecond they belong to, then. */
function millis(micros: string): number {
  const number = Number(micros)
  return Number.isSafeInteger(number) ? number / 1000 : Number((BigInt(micros) - 999n) / 1000n)
}

/**
 * Puts a claim in order. It comes by id, level by level, which mostly is the order; sorting it in SQL took the server a fifteenth
 * of what it spends on a message.
 */
function inOrder(deliveries: Delivery[]): Delivery[] {
  const compare = (a: Delivery, b: Delivery): number =>
    a.priority - b.priority || a.readySinceMs - b.readySinceMs || compareIds(a, b)
  const isSorted = deliveries.every((delivery, i) => i === 0 || compare(deliveries[i - 1]!, delivery) < 0)
  return isSorted ? deliveries : deliveries.sort(compare)
}

function refusedAck(text: string): Outcome {
  const [id, attempt, outcome] = text.split(' ')
  return { id: id!, attempt: Number(attempt), outcome: outcome as Outcome['outcome'] }
}

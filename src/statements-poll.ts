// The one SQL statement of a consumer: it acks what was handled, claims, and says when to look again; see statements.ts for
// the rules. It is the one statement with many rows, so its columns are as few and as short as can be: instants come as
// microseconds since 1970, what most messages have in common (attempt 1, priority 0, due at once, no failure) as null, what all
// have in common in the last row alone. Of 11 columns of text in each row the reading took the client 3.6 µs a message.
import type { Query, Row } from './driver.js'
import { compareIds, type Outcome } from './statements-settle.js'
import { given, interval } from './text-form.js'

/**
 * A claimed message as it comes from the database. Instants are in ms since 1970, with microseconds as a fraction; they are read
 * from their texts when they are asked for, which few handlers do.
 */
export class Delivery {
  readonly id: string
  readonly attempt: number
  readonly payload: unknown
  readonly headers: string | null
  readonly priority: number
  readonly failures: number
  readonly lapses: number
  /** It has lapsed for half of its budget: to be handled alone. */
  readonly isSuspect: boolean
  readonly #dueAt: string
  readonly #enqueuedAt: string | null
  readonly #readySince: string | undefined

  constructor([id, payload, dueAt, enqueuedAt, headers, rest]: Row) {
    this.id = id!
    this.payload = JSON.parse(payload!)
    this.headers = headers!
    const [attempt, priority, failures, lapses, isSuspect, readySince] = rest ? rest.split(' ') : common
    this.attempt = Number(attempt)
    this.priority = Number(priority)
    this.failures = Number(failures)
    this.lapses = Number(lapses)
    this.isSuspect = isSuspect === '1'
    this.#dueAt = dueAt!
    this.#enqueuedAt = enqueuedAt!
    this.#readySince = readySince
  }
  get dueAtMs(): number {
    return millis(this.#dueAt)
  }
  get enqueuedAtMs(): number {
    return millis(this.#enqueuedAt ?? this.#dueAt)
  }
  /** When it became ready: with priority and id the order of a claim. */
  get readySinceMs(): number {
    return millis(this.#readySince ?? this.#dueAt)
  }
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
  /** Whoever polls sleeps no longer than that, less than the poll interval of the queue. */
  readonly sleepMs?: number | undefined
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
  /** Messages in front of those claimed were being claimed by somebody else; false where that was not asked. */
  readonly isCrowded: boolean
}

/** The poll of a schema. Its name must be checked before: it becomes part of the text. */
export function pollStatement(schema: string) {
  // `extract` is exact for all times, and takes four times as long as the double, which is for those of today.
  const micros = (instant: string): string =>
    `(case when ${instant} between '1971-01-01 00:00Z' and '2100-01-01 00:00Z' then (pg_catalog.date_part('epoch', ${instant}) operator(pg_catalog.*) 1000000)::bigint else (extract(epoch from ${instant}) operator(pg_catalog.*) 1000000)::bigint end)::text`
  // The fields of `fewHave` and `lastRow`, in their order.
  const fewHave = `pg_catalog.concat_ws(' ', p.attempt, p.priority, p.failures, p.lapses, p.is_suspect::integer, ${micros('p.ready_since')})`
  const lastRow = `pg_catalog.json_build_array(${micros('p.lease_ends_at')}, ${micros('p.polled_at')}, ${micros('p.next_ready_at')}, extract(epoch from p.poll_interval), p.next_hint, p.refused_acks, p.is_crowded)::text`
  const rest = `case when p.id is null then ${lastRow} when p.attempt <> 1 or p.priority <> 0 or p.failures <> 0 or p.ready_since <> p.due_at then ${fewHave} end`
  const pollText = `select p.id::text, p.payload::text, ${micros('p.due_at')} as due_at, ${micros('nullif(p.enqueued_at, p.due_at)')} as enqueued_at, p.headers::text, ${rest} as rest from "${schema}".poll(queue => $1::text, max => $2::text::integer, lease => $3::text::interval, consumer => $4::text, handlers => $5::text::integer, hint => $6::text, woken_from => pg_catalog.to_timestamp($7::text::double precision), listening => $8::text::boolean, ack_ids => $9::text::bigint[], ack_attempts => $10::text::integer[], sleep => $11::text::interval) as p`
  return {
    /** `onLate` gets what came after the deadline, when nobody waits for it any more. */
    async poll(query: Query, queue: string, poll: Poll, onLate: (late: Polled) => void): Promise<Polled> {
      const { max, leaseMs, consumer, handlers, hint, wokenFromSeconds, isListening, sleepMs, acks } = poll
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
        interval(sleepMs),
      ]
      return polled(await query(pollText, params, (rows) => onLate(polled(rows))))
    },
  }
}

// --- internal ---

/** What most messages have in the place of `rest`. */
const common = ['1', '0', '0', '0', '0']

function polled(rows: readonly Row[]): Polled {
  const [leaseEndsAt, polledAt, nextReadyAt, pollSeconds, hint, refused, isCrowded]: LastRow = JSON.parse(
    given(rows[rows.length - 1])[5]!,
  )
  const deliveries: Delivery[] = []
  let payloadChars = 0
  for (let i = 0; i < rows.length - 1; i++) {
    const row = rows[i]!
    deliveries.push(new Delivery(row))
    payloadChars += row[1]!.length
  }
  return {
    deliveries: inOrder(deliveries),
    payloadChars,
    leaseEndsAtMs: Number(leaseEndsAt) / 1000,
    polledAtMs: Number(polledAt) / 1000,
    nextReadyAtMs: nextReadyAt === null ? null : Number(nextReadyAt) / 1000,
    pollIntervalMs: pollSeconds * 1000,
    hint,
    refusedAcks: refused ? refused.map(refusedAck) : [],
    isCrowded: isCrowded ?? false,
  }
}

type LastRow = [string, string, string | null, number, string | null, string[] | null, boolean | null]

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
  for (let i = 1, before = deliveries[0]?.readySinceMs; i < deliveries.length; i++) {
    const { readySinceMs } = deliveries[i]!
    if (compare(deliveries[i - 1]!, before!, deliveries[i]!, readySinceMs) > 0)
      return deliveries.sort((a, b) => compare(a, a.readySinceMs, b, b.readySinceMs))
    before = readySinceMs
  }
  return deliveries
}

function compare(a: Delivery, aReadySinceMs: number, b: Delivery, bReadySinceMs: number): number {
  return a.priority - b.priority || aReadySinceMs - bReadySinceMs || compareIds(a, b)
}

function refusedAck(text: string): Outcome {
  const [id, attempt, outcome] = text.split(' ')
  return { id: id!, attempt: Number(attempt), outcome: outcome as Outcome['outcome'] }
}

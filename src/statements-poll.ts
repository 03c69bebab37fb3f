// The one SQL statement of a consumer: it claims, and says when to look again; see statements.ts for the rules.
import type { Query, Row } from './driver.js'
import { given, instant, interval } from './text-form.js'

/** A claimed message as it comes from the database. Instants are ISO text with microseconds. */
export type Delivery = {
  readonly id: string
  readonly attempt: number
  readonly payload: string
  readonly headers: string | null
  readonly priority: number
  readonly dueAt: string
  readonly enqueuedAt: string
  readonly leaseEndsAt: string
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
}

/** What a poll gives: the messages, the time of the database, and when to look again. */
export type Polled = {
  readonly deliveries: readonly Delivery[]
  /** The time of the database at the claim. */
  readonly polledAt: string
  /** The next instant at which there may be something, null where nothing is known. */
  readonly nextReadyAt: string | null
  /** The longest time to sleep, in ms. */
  readonly pollIntervalMs: number
}

/** The poll of a schema. Its name must be checked before: it becomes part of the text. */
export function pollStatement(schema: string) {
  const pollText = `select p.id::text, p.attempt::text, p.payload::text, p.headers::text, p.priority::text, pg_catalog.to_json(p.due_at)::text as due_at, pg_catalog.to_json(p.enqueued_at)::text as enqueued_at, pg_catalog.to_json(p.lease_ends_at)::text as lease_ends_at, p.failures::text, p.lapses::text, p.is_suspect::text, pg_catalog.to_json(p.polled_at)::text as polled_at, pg_catalog.to_json(p.next_ready_at)::text as next_ready_at, extract(epoch from p.poll_interval)::text as poll_interval from "${schema}".poll(queue => $1::text, max => $2::text::integer, lease => $3::text::interval, consumer => $4::text, handlers => $5::text::integer) as p`
  return {
    /** `onLate` gets what came after the deadline, when nobody waits for it any more. */
    async poll(query: Query, queue: string, poll: Poll, onLate: (late: Polled) => void): Promise<Polled> {
      const { max, leaseMs, consumer, handlers } = poll
      const params = [queue, String(max), interval(leaseMs), consumer, String(handlers)]
      return polled(await query(pollText, params, (rows) => onLate(polled(rows))))
    },
  }
}

// --- internal ---

function polled(rows: readonly Row[]): Polled {
  const last = given(rows[rows.length - 1])
  return {
    deliveries: rows.slice(0, -1).map(delivery),
    polledAt: instant(last[11]!)!,
    nextReadyAt: instant(last[12]!),
    pollIntervalMs: Number(last[13]) * 1000,
  }
}

function delivery(row: Row): Delivery {
  return {
    id: row[0]!,
    attempt: Number(row[1]),
    payload: row[2]!,
    headers: row[3]!,
    priority: Number(row[4]),
    dueAt: instant(row[5]!)!,
    enqueuedAt: instant(row[6]!)!,
    leaseEndsAt: instant(row[7]!)!,
    failures: Number(row[8]),
    lapses: Number(row[9]),
    isSuspect: row[10] === 'true',
  }
}

// The SQL statements for those who operate queues. Calls of functions and reads of views; see statements.ts for the rules.
import type { Query } from './driver.js'
import { firstColumn, instant, interval, number } from './text-form.js'

/** The stored settings of a queue; durations in ms. */
export type StoredSettings = {
  readonly queue: string
  readonly leaseMs: number
  readonly maxAttempts: number
  readonly backoffBaseMs: number
  readonly backoffMaxMs: number
  readonly pollIntervalMs: number
  readonly pausedAt: string | null
  /** null: no limit. */
  readonly maxDepth: number | null
  readonly maxPayloadBytes: number
}

/** The settings that create_queue takes; undefined leaves a setting as it is. */
export type GivenSettings = {
  readonly leaseMs?: number
  readonly maxAttempts?: number
  readonly backoffBaseMs?: number
  readonly backoffMaxMs?: number
  readonly pollIntervalMs?: number
  readonly maxDepth?: number | null
  readonly maxPayloadBytes?: number
}

/** One row of queue_stats. `readyForMs`: for how long the oldest ready message has been waiting. */
export type QueueStats = {
  readonly queue: string
  readonly delayed: number
  readonly ready: number
  readonly leased: number
  readonly lapsed: number
  readonly dead: number
  readonly readyForMs: number | null
  readonly nextReadyAt: string | null
  readonly pausedAt: string | null
  readonly maxDepth: number | null
}

/** A live message as `message_states` shows it. */
export type MessageState = {
  readonly id: string
  readonly state: 'delayed' | 'ready' | 'leased' | 'lapsed'
  readonly priority: number
  readonly dueAt: string
  readonly readyAt: string
  readonly attempt: number
  readonly failures: number
  readonly leasedBy: string | null
  readonly payload: unknown
  readonly headers: unknown
  readonly lastError: string | null
}

/** A dead letter as `dead_messages` shows it. */
export type DeadMessage = {
  readonly id: string
  readonly queue: string
  readonly reason: string
  readonly diedAt: string
  readonly attempt: number
  readonly failures: number
  readonly lapses: number
  readonly dueAt: string
  readonly payload: unknown
  readonly headers: unknown
  readonly lastError: string | null
}

/** The statements for operators. The name of the schema must be checked before: it becomes part of the text. */
export function operatorStatements(schema: string) {
  const f = `"${schema}".`
  return {
    async schemaVersion(query: Query): Promise<number> {
      return Number(await firstColumn(query, `select ${f}schema_version()::text`, []))
    },

    async createQueue(query: Query, queue: string, given: GivenSettings): Promise<'created' | 'changed' | 'unchanged'> {
      return (await firstColumn(
        query,
        `select ${f}create_queue(queue => $1::text, lease => $2::text::interval, max_attempts => $3::text::integer, backoff_base => $4::text::interval, backoff_max => $5::text::interval, poll_interval => $6::text::interval, max_depth => $7::text::integer, max_payload_bytes => $8::text::integer)`,
        [
          queue,
          interval(given.leaseMs),
          number(given.maxAttempts),
          interval(given.backoffBaseMs),
          interval(given.backoffMaxMs),
          interval(given.pollIntervalMs),
          given.maxDepth === null ? '0' : number(given.maxDepth),
          number(given.maxPayloadBytes),
        ],
      )) as 'created' | 'changed' | 'unchanged'
    },

    async redrive(
      query: Query,
      queue: string,
      ids: readonly string[] | undefined,
      max: number,
    ): Promise<{ deadId: string; id: string }[]> {
      const rows = await query(
        `select r.dead_id::text, r.id::text from ${f}redrive(queue => $1::text, ids => $2::text::bigint[], max => $3::text::integer) as r`,
        [queue, ids ? `{${ids.join()}}` : null, String(max)],
      )
      return rows.map((row) => ({ deadId: row[0]!, id: row[1]! }))
    },

    async purge(query: Query, queue: string, max: number, includeLeased: boolean): Promise<number> {
      const text = `select ${f}purge(queue => $1::text, max => $2::text::integer, include_leased => $3::text::boolean)::text`
      return Number(await firstColumn(query, text, [queue, String(max), String(includeLeased)]))
    },

    async purgeDead(query: Query, queue: string, ids: readonly string[] | undefined, max: number): Promise<number> {
      const text = `select ${f}purge_dead(queue => $1::text, ids => $2::text::bigint[], max => $3::text::integer)::text`
      return Number(await firstColumn(query, text, [queue, ids ? `{${ids.join()}}` : null, String(max)]))
    },

    async pauseQueue(query: Query, queue: string): Promise<boolean> {
      return (await firstColumn(query, `select ${f}pause_queue(queue => $1::text)::text`, [queue])) === 'true'
    },

    async resumeQueue(query: Query, queue: string): Promise<boolean> {
      return (await firstColumn(query, `select ${f}resume_queue(queue => $1::text)::text`, [queue])) === 'true'
    },

    async dropQueue(query: Query, queue: string): Promise<void> {
      await query(`select ${f}drop_queue(queue => $1::text)::text`, [queue])
    },

    async nextReadyAt(query: Query, queue: string): Promise<string | null> {
      const text = `select pg_catalog.to_json(${f}next_ready_at(queue => $1::text))::text`
      return instant(await firstColumn(query, text, [queue]))
    },

    async serverTime(query: Query): Promise<string> {
      return instant(await firstColumn(query, `select pg_catalog.to_json(${f}clock())::text`, []))!
    },

    async settings(query: Query, queue?: string): Promise<StoredSettings[]> {
      const rows = await query(
        `select s.queue, extract(epoch from s.lease)::text as lease, s.max_attempts::text, extract(epoch from s.backoff_base)::text as backoff_base, extract(epoch from s.backoff_max)::text as backoff_max, extract(epoch from s.poll_interval)::text as poll_interval, pg_catalog.to_json(s.paused_at)::text as paused_at, s.max_depth::text, s.max_payload_bytes::text from ${f}queue_settings as s where $1::text is null or s.queue = $1::text order by s.queue`,
        [queue ?? null],
      )
      return rows.map((row) => ({
        queue: row[0]!,
        leaseMs: Number(row[1]) * 1000,
        maxAttempts: Number(row[2]),
        backoffBaseMs: Number(row[3]) * 1000,
        backoffMaxMs: Number(row[4]) * 1000,
        pollIntervalMs: Number(row[5]) * 1000,
        pausedAt: instant(row[6]!),
        maxDepth: wholeOrNull(row[7]!),
        maxPayloadBytes: Number(row[8]),
      }))
    },

    async stats(query: Query, queue?: string): Promise<QueueStats[]> {
      const rows = await query(
        `select s.queue, s.delayed::text, s.ready::text, s.leased::text, s.lapsed::text, s.dead::text, extract(epoch from s.ready_for)::text as ready_for, pg_catalog.to_json(s.next_ready_at)::text as next_ready_at, pg_catalog.to_json(s.paused_at)::text as paused_at, s.max_depth::text from ${f}queue_stats as s where $1::text is null or s.queue = $1::text order by s.queue`,
        [queue ?? null],
      )
      return rows.map((row) => ({
        queue: row[0]!,
        delayed: Number(row[1]),
        ready: Number(row[2]),
        leased: Number(row[3]),
        lapsed: Number(row[4]),
        dead: Number(row[5]),
        readyForMs: row[6] === null ? null : Number(row[6]) * 1000,
        nextReadyAt: instant(row[7]!),
        pausedAt: instant(row[8]!),
        maxDepth: wholeOrNull(row[9]!),
      }))
    },

    async peek(query: Query, queue: string, max: number, id?: string): Promise<MessageState[]> {
      const rows = await query(
        `select m.id::text, m.state, m.priority::text, pg_catalog.to_json(m.due_at)::text as due_at, pg_catalog.to_json(m.ready_at)::text as ready_at, m.attempt::text, m.failures::text, m.leased_by, m.payload::text, m.headers::text, m.last_error from ${f}message_states as m where m.queue = $1::text and ($3::text is null or m.id = $3::text::bigint) order by m.priority, m.ready_at, m.id limit $2::text::integer`,
        [queue, String(max), id ?? null],
      )
      return rows.map((row) => ({
        id: row[0]!,
        state: row[1] as MessageState['state'],
        priority: Number(row[2]),
        dueAt: instant(row[3]!)!,
        readyAt: instant(row[4]!)!,
        attempt: Number(row[5]),
        failures: Number(row[6]),
        leasedBy: row[7]!,
        payload: JSON.parse(row[8]!),
        headers: row[9] == null ? null : JSON.parse(row[9]),
        lastError: row[10]!,
      }))
    },

    async dead(query: Query, queue: string | undefined, max: number, id?: string): Promise<DeadMessage[]> {
      const rows = await query(
        `select d.id::text, d.queue, d.reason, pg_catalog.to_json(d.died_at)::text as died_at, d.attempt::text, d.failures::text, d.lapses::text, pg_catalog.to_json(d.due_at)::text as due_at, d.payload::text, d.headers::text, d.last_error from ${f}dead_messages as d where ($1::text is null or d.queue = $1::text) and ($3::text is null or d.id = $3::text::bigint) order by d.id limit $2::text::integer`,
        [queue ?? null, String(max), id ?? null],
      )
      return rows.map((row) => ({
        id: row[0]!,
        queue: row[1]!,
        reason: row[2]!,
        diedAt: instant(row[3]!)!,
        attempt: Number(row[4]),
        failures: Number(row[5]),
        lapses: Number(row[6]),
        dueAt: instant(row[7]!)!,
        payload: JSON.parse(row[8]!),
        headers: row[9] == null ? null : JSON.parse(row[9]),
        lastError: row[10]!,
      }))
    },
  }
}

// --- internal ---

function wholeOrNull(text: string | null): number | null {
  return text === null ? null : Number(text)
}

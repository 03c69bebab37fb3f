// Every SQL statement in the life of a message: calls of the functions of the schema, nothing else. Those of a
// producer are in statements-produce.ts, the one of a consumer is in statements-poll.ts, those that settle in statements-settle.ts,
// those of operators in statements-operate.ts and statements-doctor.ts; there is no SQL anywhere else in the library.
//
// Arguments are named and columns are listed, so that a later schema can add some. Parameters are text with a cast behind
// them, arrays are array literals in text: no driver has to guess a type. Columns come back as text, instants as the JSON
// form of PostgreSQL (ISO 8601 whatever DateStyle and TimeZone say), with its microseconds. Each column of a statement has a
// name of its own, or a driver that gives rows as objects would lose some. Functions of PostgreSQL are called as pg_catalog's:
// a `public.to_json(timestamptz)` fits better than the one for any type, wherever it is on the search path; and so are operators on
// values of different types, for which PostgreSQL has to convert one.
import type { Query } from './driver.js'
import { doctorStatements } from './statements-doctor.js'
import { operatorStatements } from './statements-operate.js'
import { pollStatement } from './statements-poll.js'
import { produceStatements } from './statements-produce.js'
import { settleStatements } from './statements-settle.js'
import { firstColumn, interval } from './text-form.js'

export type Statements = ReturnType<typeof statements>

/** The statements of a schema. The name must be checked before: it becomes part of the text. */
export function statements(schema: string) {
  const f = `"${schema}".`
  return {
    ...produceStatements(schema),
    ...pollStatement(schema),
    ...settleStatements(schema),
    ...operatorStatements(schema),
    ...doctorStatements(schema),

    async cancel(query: Query, id: string): Promise<'cancelled' | 'leased' | null> {
      return (await firstColumn(query, `select ${f}cancel(id => $1::text::bigint)`, [id])) as
        | 'cancelled'
        | 'leased'
        | null
    },

    async reschedule(
      query: Query,
      id: string,
      delayMs: number | undefined,
      at: string | undefined,
    ): Promise<'rescheduled' | 'leased' | null> {
      const text = `select ${f}reschedule(id => $1::text::bigint, delay => $2::text::interval, at => $3::text::timestamptz)`
      return (await firstColumn(query, text, [id, interval(delayMs), at ?? null])) as 'rescheduled' | 'leased' | null
    },

    /** `doctor` knows the sessions that listen by these texts: that of the schema comes first. */
    listen: (query: Query, channels: readonly string[]) =>
      query(channels.map((channel) => `listen ${quoted(channel)}`).join('; '), []),

    /** On the connection that listens. `payload`: letters and digits. */
    heartbeat: (query: Query, channel: string, payload: string) => query(`notify ${quoted(channel)}, '${payload}'`, []),

    async notify(query: Query, channel: string, payload: string): Promise<void> {
      await query('select pg_catalog.pg_notify($1::text, $2::text)::text', [channel, payload])
    },
  }
}

// --- internal ---

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

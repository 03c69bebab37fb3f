// The SQL statements that settle messages or extend their leases, alone and in batches; see statements.ts for the rules.
// Those of one message wait up to a second for a transaction that holds its row; those of many never do.
import type { Query, Row } from './driver.js'
import { arrayLiteral, firstColumn, instant, interval, sparse } from './text-form.js'

/** What a batch says of an attempt that it did not settle or extend. `busy`: another transaction holds the row. */
export type Outcome<Said = never> = {
  readonly id: string
  readonly attempt: number
  readonly outcome: Said | 'lost' | 'busy'
}

/** A nack in the terms of SQL. An empty error says nothing, and is stored as none. */
export type Nacking = Returning & { readonly error: string | null }

/** A release in the terms of SQL. */
export type Returning = { readonly id: string; readonly attempt: number; readonly delayMs: number | undefined }

/** The statements of a schema. The name must be checked before: it becomes part of the text. */
export function settleStatements(schema: string) {
  const f = `"${schema}".`
  const delays = (items: readonly Returning[]): Promise<string> | null =>
    items.some(({ delayMs }) => delayMs !== undefined) ? arrayLiteral(items, ({ delayMs }) => interval(delayMs)) : null
  return {
    async ack(query: Query, id: string, attempt: number): Promise<boolean> {
      return (
        (await firstColumn(query, `select ${f}ack(id => $1::text::bigint, attempt => $2::text::integer)::text`, [
          id,
          String(attempt),
        ])) === 'true'
      )
    },

    async ackMany(query: Query, ids: readonly string[], attempts: readonly number[]): Promise<Outcome[]> {
      const rows = await query(
        `select a.id::text, a.outcome, a.attempt::text from ${f}ack_many(ids => $1::text::bigint[], attempts => $2::text::integer[]) as a`,
        [`{${ids.join()}}`, `{${attempts.join()}}`],
      )
      return rows.map((row) => outcome(row))
    },

    async nack(
      query: Query,
      id: string,
      attempt: number,
      error: string | null,
      delayMs?: number,
    ): Promise<'retry' | 'dead' | null> {
      return (await firstColumn(
        query,
        `select ${f}nack(id => $1::text::bigint, attempt => $2::text::integer, error => $3::text, delay => $4::text::interval)`,
        [id, String(attempt), error || null, interval(delayMs)],
      )) as 'retry' | 'dead' | null
    },

    async nackMany(query: Query, items: readonly Nacking[]): Promise<Outcome<'retry' | 'dead'>[]> {
      const rows = await query(
        `select n.id::text, n.outcome, n.attempt::text from ${f}nack_many(ids => $1::text::bigint[], attempts => $2::text::integer[], errors => ${sparse(3)}, delays => ${sparse(4)}::interval[]) as n`,
        [...fences(items), await arrayLiteral(items, ({ error }) => error), await delays(items)],
      )
      return rows.map(outcome<'retry' | 'dead'>)
    },

    async release(query: Query, id: string, attempt: number, delayMs?: number): Promise<boolean> {
      const text = `select ${f}release(id => $1::text::bigint, attempt => $2::text::integer, delay => $3::text::interval)::text`
      return (await firstColumn(query, text, [id, String(attempt), interval(delayMs)])) === 'true'
    },

    async releaseMany(query: Query, items: readonly Returning[]): Promise<Outcome[]> {
      const rows = await query(
        `select r.id::text, r.outcome, r.attempt::text from ${f}release_many(ids => $1::text::bigint[], attempts => $2::text::integer[], delays => ${sparse(3)}::interval[]) as r`,
        [...fences(items), await delays(items)],
      )
      return rows.map((row) => outcome(row))
    },

    async deadLetter(
      query: Query,
      id: string,
      attempt: number,
      reason: string,
      error: string | null,
    ): Promise<boolean> {
      const text = `select ${f}dead_letter(id => $1::text::bigint, attempt => $2::text::integer, reason => $3::text, error => $4::text)::text`
      return (await firstColumn(query, text, [id, String(attempt), reason, error])) === 'true'
    },

    async extend(query: Query, id: string, attempt: number, leaseMs?: number): Promise<string | null> {
      const text = `select pg_catalog.to_json(${f}extend(id => $1::text::bigint, attempt => $2::text::integer, lease => $3::text::interval))::text`
      return instant(await firstColumn(query, text, [id, String(attempt), interval(leaseMs)]))
    },

    async extendMany(
      query: Query,
      ids: readonly string[],
      attempts: readonly number[],
      leaseMs: number,
    ): Promise<Outcome[]> {
      const rows = await query(
        `select e.id::text, e.outcome, e.attempt::text from ${f}extend_many(ids => $1::text::bigint[], attempts => $2::text::integer[], lease => $3::text::interval) as e`,
        [`{${ids.join()}}`, `{${attempts.join()}}`, interval(leaseMs)],
      )
      return rows.map((row) => outcome(row))
    },
  }
}

/** A batch sorted by id: for such input ack_many and extend_many have the least to do. Mostly it comes so. */
export function sortedById<T extends { readonly id: string }>(batch: readonly T[]): readonly T[] {
  for (let i = 1; i < batch.length; i++) if (compareIds(batch[i - 1]!, batch[i]!) > 0) return batch.toSorted(compareIds)
  return batch
}

/** The order of ids, which are numbers too large for JavaScript as text. */
export function compareIds(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id.length - b.id.length || (a.id < b.id ? -1 : 1)
}

/** Looks up what a batch statement said of an attempt; undefined where it was done. */
export function outcomeLookup<Said = never>(
  outcomes: readonly Outcome<Said>[],
): (of: Omit<Outcome, 'outcome'>) => Outcome<Said>['outcome'] | undefined {
  const found = new Map(outcomes.map(({ id, attempt, outcome }) => [`${id} ${attempt}`, outcome]))
  return ({ id, attempt }) => found.get(`${id} ${attempt}`)
}

// --- internal ---

/** The arrays `ids` and `attempts`. */
function fences(items: readonly { readonly id: string; readonly attempt: number }[]): [string, string] {
  return [`{${items.map(({ id }) => id).join()}}`, `{${items.map(({ attempt }) => attempt).join()}}`]
}

function outcome<Said = never>(row: Row): Outcome<Said> {
  return { id: row[0]!, outcome: row[1] as Outcome<Said>['outcome'], attempt: Number(row[2]) }
}

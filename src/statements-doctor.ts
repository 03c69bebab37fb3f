// The SQL statements of the doctor; see statements.ts for the rules.
import type { Query } from './driver.js'

/** One check of the doctor. `advice` is null where all is well. */
export type Check = {
  readonly check: string
  readonly ok: boolean
  /** What was found. */
  readonly detail: string
  /** What to do about it. */
  readonly advice: string | null
}

/** The statements of the doctor. The name of the schema must be checked before: it becomes part of the text. */
export function doctorStatements(schema: string) {
  return {
    async doctor(query: Query): Promise<Check[]> {
      const rows = await query(`select d."check", d.ok::text, d.detail, d.advice from "${schema}".doctor() as d`, [])
      return rows.map((row) => ({ check: row[0]!, ok: row[1] === 'true', detail: row[2]!, advice: row[3]! }))
    },

    /** The process of the server that answers, after keeping it busy for so long. One text, so one prepared statement. */
    async serverPid(query: Query, busyMs: number): Promise<string> {
      const rows = await query('select pg_backend_pid()::text from pg_sleep($1::text::float8)', [String(busyMs / 1000)])
      return rows[0]![0]!
    },
  }
}

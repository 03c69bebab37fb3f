// What dueq asks of a server before it knows whether that is the one to work on; see statements.ts for the rules.
import type { Query } from './driver.js'
import { firstColumn } from './text-form.js'

/** Whether the server is a standby, which takes no writes. */
export async function isStandby(query: Query): Promise<boolean> {
  return (await firstColumn(query, 'select pg_catalog.pg_is_in_recovery()::text', [])) === 'true'
}

/** Which data a primary holds, and how many promotions it has behind it. */
export type Timeline = { readonly system: string; readonly number: number }

/** The timeline that a primary writes: each promotion begins a new one, with a larger number. */
export async function timelineOf(query: Query): Promise<Timeline> {
  const text = `select system_identifier::text, left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8)
                  from pg_catalog.pg_control_system()`
  const [row] = await query(text, [])
  return { system: row![0]!, number: Number.parseInt(row![1]!, 16) }
}
